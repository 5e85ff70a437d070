package unixsock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Inherit takes over a listening socket that another process has opened with
// Listen at the same path: the one that executed us, or that had it kept by the
// service manager. Clients that have connected meanwhile are in its queue. It
// takes f, which it closes; the error says why the socket is not, or no longer,
// the one that clients reach at path, and wraps ErrInUse when somebody else
// answers there. A socket that is refused is shut down, so that it does not seem
// alive to clients and to Listen while the service manager still keeps it.
func Inherit(f *os.File, path string) (*Listener, error) {
	l, err := inherit(f, path)
	if err != nil {
		shutDown(f)
	}
	_ = f.Close()
	if err != nil {
		return nil, fmt.Errorf("take over the socket at %s: %w", path, err)
	}
	return l, nil
}

func inherit(f *os.File, path string) (*Listener, error) {
	owner, err := inheritable(f, path)
	if err != nil {
		return nil, err
	}
	file, err := os.Lstat(path)
	switch {
	case err != nil:
		return nil, err
	case file.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%w: remove it, or choose another path", ErrNotASocket)
	}
	if err := answers(path, owner); err != nil {
		return nil, err
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, cause(err)
	}
	return &Listener{UnixListener: l.(*net.UnixListener), path: path, file: file}, nil //nolint:forcetypeassert // inheritable has looked
}

// shutDown ends a listening socket for everybody who holds it.
func shutDown(f *os.File) {
	conn, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) {
		if on, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && on == 1 {
			_ = unix.Shutdown(int(fd), unix.SHUT_RDWR)
		}
	})
}

// inheritable proves that f is a listening Unix socket that was bound to path,
// and returns who made it listen.
func inheritable(f *os.File, path string) (owner *unix.Ucred, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	controlErr := conn.Control(func(fd uintptr) { owner, err = listening(int(fd), path) })
	if err == nil {
		err = controlErr
	}
	return owner, err
}

func listening(fd int, path string) (*unix.Ucred, error) {
	for _, want := range []struct{ option, value int }{
		{unix.SO_DOMAIN, unix.AF_UNIX}, {unix.SO_TYPE, unix.SOCK_STREAM}, {unix.SO_ACCEPTCONN, 1},
	} {
		got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, want.option)
		if err != nil {
			return nil, os.NewSyscallError("getsockopt", err)
		}
		if got != want.value {
			return nil, errors.New("what was handed over is no listening Unix socket")
		}
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	if name, ok := bound.(*unix.SockaddrUnix); !ok || name.Name != path {
		return nil, errors.New("what was handed over is the socket of another path")
	}
	return peerCredentials(fd)
}

// peerCredentials returns the process that made a socket listen, both of that
// socket and of a connection to it (unix(7)).
func peerCredentials(fd int) (*unix.Ucred, error) {
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	return peer, os.NewSyscallError("getsockopt", err)
}

// answers proves that whoever connects to path gets to a socket of that owner:
// somebody may have put another one there since. A full queue says nothing.
func answers(path string, owner *unix.Ucred) error {
	conn, err := dialOnce(context.Background(), path)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return nil
	case err != nil:
		return err
	}
	defer func() { _ = conn.Close() }()
	raw, err := conn.(*net.UnixConn).SyscallConn() //nolint:forcetypeassert // what "unix" yields
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	controlErr := raw.Control(func(fd uintptr) { peer, err = peerCredentials(int(fd)) })
	switch {
	case errors.Join(err, controlErr) != nil:
		return errors.Join(err, controlErr)
	case *peer != *owner:
		return fmt.Errorf("%w: stop it first", ErrInUse)
	}
	return nil
}
