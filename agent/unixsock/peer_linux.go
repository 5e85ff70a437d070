package unixsock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PeerOf returns who is at the other end of a Unix socket connection, from
// SO_PEERCRED, SO_PEERGROUPS and SO_PEERPIDFD (unix(7)). It never waits for the
// peer. The caller closes the peer. It is to be called right after Accept: where
// the kernel is older than 6.5, a process that ended and whose pid was given to
// another one of the same user and group before the call may be taken for the
// peer, which is then not Proven.
func PeerOf(c net.Conn) (Peer, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return Peer{}, fmt.Errorf("peer of a %T: not a Unix socket", c)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("peer credentials: %w", err)
	}
	p, err := peerOf(raw, func(fd int) (int, error) {
		return unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	})
	if err != nil {
		return Peer{}, fmt.Errorf("peer credentials: %w", err)
	}
	return p, nil
}

// peerOf asks about the other end of a socket. handleOf asks for the kernel's
// handle of the process there.
func peerOf(raw syscall.RawConn, handleOf func(fd int) (int, error)) (Peer, error) {
	var p Peer
	var optErr error
	accepted := bootClock()
	err := raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		cred, optErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if optErr != nil {
			optErr = os.NewSyscallError("getsockopt SO_PEERCRED", optErr)
			return
		}
		p = Peer{UID: cred.Uid, GID: cred.Gid, PID: cred.Pid}
		p.process, p.Proven = openProcess(cred, accepted, func() (int, error) { return handleOf(int(fd)) })
	})
	p.Groups = func(most int) (groups []uint32) {
		if err := raw.Control(func(fd uintptr) { groups = peerGroups(int(fd), most) }); err != nil {
			return nil
		}
		return groups
	}
	return p, errors.Join(err, optErr)
}

// peerGroups returns the supplementary groups of the process that connected, or
// nil when they are more than most or the kernel does not tell.
func peerGroups(fd, most int) []uint32 {
	const each = uint32(unsafe.Sizeof(uint32(0)))
	room := 32 * each
	limit := uint32(min(max(most, 0), MaxGroups)) * each
	for {
		groups, size := make([]uint32, room/each), room
		// x/sys has no call for an option that is a list of numbers.
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0) //nolint:gosec // the kernel writes size bytes at most
		switch {
		case errno == 0 && size <= min(room, limit):
			return groups[:size/each]
		case errno != unix.ERANGE || size <= room || size > limit:
			return nil
		}
		room = size // what it takes
	}
}
