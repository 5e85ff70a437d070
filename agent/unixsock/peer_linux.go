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
// SO_PEERCRED and SO_PEERGROUPS (unix(7)). It opens nothing, so that it costs
// little whoever comes, and never waits for the peer. It is to be called right
// after Accept, for OpenProcess's sake.
func PeerOf(c net.Conn) (Peer, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return Peer{}, fmt.Errorf("peer of a %T: not a Unix socket", c)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("peer credentials: %w", err)
	}
	accepted := bootClock()
	var cred *unix.Ucred
	var optErr error
	err = raw.Control(func(fd uintptr) {
		cred, optErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		optErr = os.NewSyscallError("getsockopt SO_PEERCRED", optErr)
	})
	if err := errors.Join(err, optErr); err != nil {
		return Peer{}, fmt.Errorf("peer credentials: %w", err)
	}
	p := Peer{UID: cred.Uid, GID: cred.Gid, PID: cred.Pid, socket: raw, accepted: accepted}
	p.Groups = func(most int) (groups []uint32) {
		if err := raw.Control(func(fd uintptr) { groups = peerGroups(int(fd), most) }); err != nil {
			return nil
		}
		return groups
	}
	return p, nil
}

// OpenProcess makes CommandLine and Process see the process that connected, by
// the kernel's handle of it (SO_PEERPIDFD), where that can be done at all. It is
// called once, of a Peer that PeerOf returned and while the connection is open;
// then the caller closes the peer. It never waits for the peer.
//
// A process that began after PeerOf was called is never taken for the peer.
// Where the kernel is older than 6.5, one of the same user and group may be that
// was given the peer's pid before; then the peer is not Proven.
func (p *Peer) OpenProcess() {
	p.openProcess(func(fd int) (int, error) { return unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD) })
}

// openProcess is OpenProcess where handleOf asks for the kernel's handle of the
// process at the other end of a socket.
func (p *Peer) openProcess(handleOf func(fd int) (int, error)) {
	if p.socket == nil {
		return
	}
	// The connection may have been closed by now: the process is not seen then.
	_ = p.socket.Control(func(fd uintptr) {
		p.process, p.Proven = openProcess(p, func() (int, error) { return handleOf(int(fd)) })
	})
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
