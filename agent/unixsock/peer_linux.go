package unixsock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxGroups is the kernel's own limit, NGROUPS_MAX.
const maxGroups = 65536

// PeerOf returns who is at the other end of a Unix socket connection, from
// SO_PEERCRED, SO_PEERGROUPS and SO_PEERPIDFD (unix(7)). The caller closes the
// peer. It is to be called right after Accept: where the kernel is older than
// 6.5, a process that ended and whose pid was given away before the call may be
// taken for the peer.
func PeerOf(c net.Conn) (Peer, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return Peer{}, fmt.Errorf("peer of a %T: not a Unix socket", c)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("peer credentials: %w", err)
	}
	var p Peer
	var optErr error
	err = raw.Control(func(fd uintptr) { p, optErr = peerOf(int(fd)) })
	if err = errors.Join(err, optErr); err != nil {
		return Peer{}, fmt.Errorf("peer credentials: %w", err)
	}
	return p, nil
}

func peerOf(fd int) (Peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, os.NewSyscallError("getsockopt SO_PEERCRED", err)
	}
	groups, err := peerGroups(fd)
	if err != nil {
		return Peer{}, os.NewSyscallError("getsockopt SO_PEERGROUPS", err)
	}
	return Peer{
		UID: cred.Uid, GID: cred.Gid, PID: cred.Pid, Groups: groups,
		process: openProcess(fd, cred.Pid),
	}, nil
}

// peerGroups asks with room for a few groups first, then for all of them.
func peerGroups(fd int) ([]uint32, error) {
	const word = 4
	groups := make([]uint32, 64)
	for {
		size := uint32(len(groups) * word) //nolint:gosec // G115: at most maxGroups words
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0) //nolint:gosec // G103: x/sys has no wrapper for this option
		switch {
		case errno == 0:
			return groups[:size/word], nil
		case errno == unix.ENOPROTOOPT: // older than 4.13
			return nil, nil
		case errno != unix.ERANGE || len(groups) == maxGroups:
			return nil, errno
		}
		groups = make([]uint32, maxGroups)
	}
}

// openProcess opens the folder of the process that connected, or returns nil.
// The kernel's handle of that process, if it gives one, tells whether the pid
// was still its own when the folder was opened; from then on the folder itself
// keeps to the process.
func openProcess(fd int, pid int32) *os.Root {
	if pid <= 0 {
		return nil
	}
	handle, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	switch {
	case err == nil:
		defer func() { _ = unix.Close(handle) }()
	case errors.Is(err, unix.ENOPROTOOPT), errors.Is(err, unix.EINVAL): // older than 6.5
		handle = -1
	default: // the process has gone
		return nil
	}
	process, err := os.OpenRoot("/proc/" + strconv.Itoa(int(pid)))
	if err != nil {
		return nil
	}
	if handle >= 0 && errors.Is(unix.PidfdSendSignal(handle, 0, nil, 0), unix.ESRCH) {
		_ = process.Close()
		return nil
	}
	return process
}
