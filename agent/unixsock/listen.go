package unixsock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// maxPath is the longest socket path in bytes: sun_path of unix(7) has 108, the
// last of them for a zero byte.
const maxPath = 107

// Errors in the chain of what Listen returns.
var (
	// ErrInUse means that a living process answers at the path.
	ErrInUse = errors.New("another process answers on this socket")
	// ErrNotASocket means that the path holds something that Listen must not remove.
	ErrNotASocket = errors.New("the path exists and is no socket")
)

// Listener is a net.Listener on a socket file. Close removes the file, unless
// somebody else has put another one in its place. To hand the socket over, pass
// on what File returns, a duplicate that the caller closes, and do not call
// Close: the file is the successor's then.
type Listener struct {
	*net.UnixListener
	path string
	file fs.FileInfo
}

// Listen opens a socket at path with the given permissions. It removes a socket
// file that nobody answers on, and nothing else: the error wraps ErrInUse when
// somebody does, and ErrNotASocket when the path is no socket. The directory
// must exist.
func Listen(path string, mode fs.FileMode) (*Listener, error) {
	l, err := listen(path, mode.Perm())
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

func listen(path string, mode fs.FileMode) (*Listener, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("the path has %d bytes and a socket's may have %d: choose a shorter one", len(path), maxPath)
	}
	if err := removeDead(path); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: presetMode(mode)}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, cause(err)
	}
	ul := l.(*net.UnixListener) //nolint:forcetypeassert // what "unix" yields
	ul.SetUnlinkOnClose(false)  // Close looks first whose file it is
	file, err := finalMode(path, mode)
	if err != nil {
		_ = ul.Close()
		return nil, err
	}
	return &Listener{UnixListener: ul, path: path, file: file}, nil
}

// removeDead removes the socket file that a process left behind.
func removeDead(path string) error {
	before, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if before.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%w: remove it, or choose another path", ErrNotASocket)
	}
	conn, err := dialOnce(context.Background(), path)
	switch {
	case err == nil:
		_ = conn.Close()
		return fmt.Errorf("%w: stop it first", ErrInUse)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case !errors.Is(err, syscall.ECONNREFUSED):
		// A full queue or a missing right says nothing about its death.
		return fmt.Errorf("%w, or seems to (%w): stop it first", ErrInUse, err)
	}
	// Somebody who started at the same moment may have taken the path by now.
	after, err := os.Lstat(path)
	if err != nil || !os.SameFile(before, after) {
		return fmt.Errorf("%w: it has just started", ErrInUse)
	}
	return os.Remove(path)
}

// Close stops listening and removes the socket file. Connections that were
// accepted stay open.
func (l *Listener) Close() error {
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(l.file, now) {
		_ = os.Remove(l.path)
	}
	return l.UnixListener.Close()
}

// tryAgain is how long Dial lets a full queue be.
const tryAgain = 10 * time.Millisecond

// Dial connects to the socket at path. While the socket's queue is full it tries
// again until ctx ends: whoever connects over and over fills the queue of a
// listener that is well. The error's chain has the system's reason, such as
// fs.ErrNotExist, syscall.ECONNREFUSED or, with that of ctx, syscall.EAGAIN.
func Dial(ctx context.Context, path string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	tick := time.NewTicker(tryAgain)
	defer tick.Stop()
	for {
		conn, err := dialOnce(ctx, path)
		if !errors.Is(err, syscall.EAGAIN) {
			return conn, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", err, ctx.Err())
		}
	}
}

// dialOnce is Dial, but a full queue is final. It waits for nothing, so that ctx
// does not end it: Go's sockets never block, and connect(2) leaves nothing to
// finish later for a Unix socket.
func dialOnce(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(context.WithoutCancel(ctx), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", path, cause(err))
	}
	return conn, nil
}

// cause takes off net's wrapping, which names the path a second time.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}
