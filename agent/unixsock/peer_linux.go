package unixsock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// PeerOf returns who is at the other end of a Unix socket connection, from
// SO_PEERCRED and SO_PEERPIDFD (unix(7)). It never waits for the peer. The
// caller closes the peer. It is to be called right after Accept: where the
// kernel is older than 6.5, a process that ended and whose pid was given away
// before the call may be taken for the peer, which is then not Proven.
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
	p := Peer{UID: cred.Uid, GID: cred.Gid, PID: cred.Pid}
	p.process, p.Proven = openProcess(cred.Pid, func() (int, error) {
		return unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	})
	return p, nil
}

// openProcess opens the folder of the process that connected, or returns nil.
// The kernel's handle of that process, if it gives one, tells whether the pid
// was still its own when the folder was opened; from then on the folder itself
// keeps to the process.
func openProcess(pid int32, handleOf func() (int, error)) (process *os.Root, proven bool) {
	if pid <= 0 {
		return nil, false
	}
	handle, err := handleOf()
	switch {
	case err == nil:
		defer func() { _ = unix.Close(handle) }()
	case errors.Is(err, unix.ENOPROTOOPT): // older than 6.5
		handle = -1
	default: // EINVAL or ESRCH, as the kernel has it: the process has gone
		return nil, false
	}
	process, err = os.OpenRoot("/proc/" + strconv.Itoa(int(pid)))
	if err != nil {
		return nil, false
	}
	if handle < 0 {
		return process, false
	}
	if errors.Is(unix.PidfdSendSignal(handle, 0, nil, 0), unix.ESRCH) {
		_ = process.Close()
		return nil, false
	}
	return process, true
}
