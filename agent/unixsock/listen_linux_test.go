package unixsock_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"deploykeyd/agent/unixsock"
)

// folder returns a folder whose path leaves room for a socket's name.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dkd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func listen(t *testing.T, path string) *unixsock.Listener {
	t.Helper()
	l, err := unixsock.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// dead leaves a socket file behind that nobody answers on.
func dead(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
}

func TestListenGivesTheMode(t *testing.T) {
	for _, mode := range []fs.FileMode{0o600, 0o660, 0o666} {
		path := filepath.Join(folder(t), "s")
		l, err := unixsock.Listen(path, mode)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if want := fs.ModeSocket | mode; info.Mode() != want {
			t.Errorf("mode %v, want %v", info.Mode(), want)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after Close: %v", err)
		}
	}
}

func TestListenTakesADeadSocketsPlace(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	dead(t, path)
	l := listen(t, path)
	c, err := unixsock.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	served, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = served.Close()
}

func TestListenRefuses(t *testing.T) {
	dir := folder(t)
	alive := filepath.Join(dir, "alive")
	listen(t, alive)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(dir, "gone")
	dead(t, gone)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(gone, link); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path string
		want error
		text string
	}{
		"living":    {alive, unixsock.ErrInUse, "stop it"},
		"file":      {file, unixsock.ErrNotASocket, "another path"},
		"symlink":   {link, unixsock.ErrNotASocket, "another path"},
		"folder":    {dir, unixsock.ErrNotASocket, "another path"},
		"no folder": {filepath.Join(dir, "no", "s"), fs.ErrNotExist, "no such file"},
		"too long":  {filepath.Join(dir, strings.Repeat("x", 108)), nil, "shorter"},
	} {
		_, err := unixsock.Listen(c.path, 0o600)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v, want %v with %q", name, err, c.want, c.text)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file in the way now has %q, %v", text, err)
	}
	c, err := unixsock.Dial(t.Context(), alive)
	if err != nil {
		t.Fatalf("the living listener was disturbed: %v", err)
	}
	_ = c.Close()
}

// busy has a socket at path whose queue is full, and returns what accepts one.
func busy(t *testing.T, path string) (accept func()) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	c, err := unixsock.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return func() {
		if served, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC); err != nil {
			t.Error(err)
		} else {
			t.Cleanup(func() { _ = unix.Close(served) })
		}
	}
}

// A process that is too busy to answer is not dead. Nobody waits for it.
func TestListenRefusesABusySocket(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	busy(t, path)
	began := time.Now()
	_, err := unixsock.Listen(path, 0o600)
	if !errors.Is(err, unixsock.ErrInUse) || !errors.Is(err, syscall.EAGAIN) || time.Since(began) > time.Second {
		t.Errorf("got %v after %v, want ErrInUse", err, time.Since(began))
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the busy process's socket is gone: %v", err)
	}
}

func TestDialWaitsForAPlaceInTheQueue(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	accept := busy(t, path)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := unixsock.Dial(ctx, path)
	if !errors.Is(err, syscall.EAGAIN) || !errors.Is(err, context.DeadlineExceeded) || strings.Count(err.Error(), path) != 1 {
		t.Errorf("without a place: %v", err)
	}
	if ctx.Err() == nil {
		t.Error("gave up at once")
	}
	time.AfterFunc(100*time.Millisecond, accept)
	c, err := unixsock.Dial(t.Context(), path)
	if err != nil {
		t.Fatalf("with a place after a while: %v", err)
	}
	_ = c.Close()
}

func TestCloseLeavesAnothersSocket(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	first := listen(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	listen(t, path)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := unixsock.Dial(t.Context(), path)
	if err != nil {
		t.Fatalf("the second listener's file was removed: %v", err)
	}
	_ = c.Close()
}

func TestDialTellsWhy(t *testing.T) {
	dir := folder(t)
	gone := filepath.Join(dir, "gone")
	dead(t, gone)
	for path, want := range map[string]error{
		filepath.Join(dir, "missing"): fs.ErrNotExist,
		gone:                          syscall.ECONNREFUSED,
	} {
		_, err := unixsock.Dial(t.Context(), path)
		if !errors.Is(err, want) || strings.Count(err.Error(), path) != 1 {
			t.Errorf("%s: got %v, want %v", path, err, want)
		}
	}
}
