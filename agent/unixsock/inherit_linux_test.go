package unixsock_test

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"deploykeyd/agent/unixsock"
)

// handedOver returns what a successor gets of a listener.
func handedOver(t *testing.T, l interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func wantClosed(t *testing.T, name string, f *os.File) {
	t.Helper()
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("%s: the file was left open", name)
	}
}

// wantServed proves that who connects to path gets to l.
func wantServed(t *testing.T, l net.Listener, path string) {
	t.Helper()
	c, err := unixsock.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	for { // Inherit's own look stands in the queue, closed
		served := acceptConn(t, l)
		text := make([]byte, 5)
		if _, err := io.ReadFull(served, text); err == nil && string(text) == "hello" {
			return
		}
	}
}

func TestInheritServesWhoWaits(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	first := listen(t, path)
	waiting, err := unixsock.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = waiting.Close() }()
	f := handedOver(t, first)
	if err := first.UnixListener.Close(); err != nil { // ends as a process does, without removing the file
		t.Fatal(err)
	}
	l, err := unixsock.Inherit(f, path)
	if err != nil {
		t.Fatal(err)
	}
	wantClosed(t, "inherited", f)
	if _, err := waiting.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := acceptConn(t, l).Read(make([]byte, 1)); err != nil {
		t.Errorf("who waited was not served: %v", err)
	}
	wantServed(t, l, path)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
}

// To hand a listener over does not disturb it, and no child gets the copy by
// accident.
func TestFileLeavesTheListenerAlone(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	l := listen(t, path)
	f := handedOver(t, l)
	conn, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Control(func(fd uintptr) {
		if flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("flags %d, %v", flags, err)
		}
	})
	_ = f.Close()
	wantServed(t, l, path)
	accepted := make(chan error)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept ends with %v", err)
	}
}

// listensElsewhere lets another process bind a socket of ours to path and make
// it listen, and returns the socket and what ends the process.
func listensElsewhere(t *testing.T, path string) (_ *os.File, stop func()) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	t.Cleanup(func() { _ = f.Close() })
	cmd := role{Listen: path}.command(t)
	cmd.ExtraFiles = []*os.File{f}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	_, stop = start(t, cmd)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(line, err)
	}
	return f, stop
}

// After a crash the service manager hands over the socket of a dead process.
func TestInheritFromTheDead(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	f, stop := listensElsewhere(t, path)
	stop()
	l, err := unixsock.Inherit(f, path)
	if err != nil {
		t.Fatal(err)
	}
	wantServed(t, l, path)
	_ = l.Close()
}

// A queue that is full at the moment says nothing against the socket.
func TestInheritWithAFullQueue(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	first, err := unixsock.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	l, err := unixsock.Inherit(os.NewFile(uintptr(fd), "socket"), path)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}

// While the service manager keeps a socket that was refused, another can take
// its place, and the manager sees that it is of no use (EPOLLHUP).
func TestARefusedSocketIsDead(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	first := listen(t, path)
	kept := handedOver(t, first)
	if _, err := unixsock.Inherit(handedOver(t, first), path+"x"); err == nil {
		t.Fatal("a socket of another path was taken over")
	}
	if _, err := unixsock.Dial(t.Context(), path); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a client gets %v", err)
	}
	wantServed(t, listen(t, path), path)
	conn, err := kept.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Control(func(fd uintptr) {
		polled := []unix.PollFd{{Fd: int32(fd)}}
		if _, err := unix.Poll(polled, 0); err != nil || polled[0].Revents&unix.POLLHUP == 0 {
			t.Errorf("poll gives %#x, %v", polled[0].Revents, err)
		}
	})
}

func TestInheritRefuses(t *testing.T) {
	dir := folder(t)
	bound := func(name string) (string, *os.File) {
		path := filepath.Join(dir, name)
		return path, handedOver(t, listen(t, path))
	}
	good, _ := bound("good")
	_, other := bound("other")
	gone, goneFile := bound("gone")
	replaced, replacedFile := bound("replaced")
	deadOne, deadFile := bound("dead")
	file, fileFile := bound("file")
	link, linkFile := bound("link")
	for _, path := range []string{gone, replaced, deadOne, file, link} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	listensElsewhere(t, replaced)
	dead(t, deadOne)
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink(good, link)); err != nil {
		t.Fatal(err)
	}
	raw := func(kind int, address unix.Sockaddr) *os.File {
		domain := unix.AF_UNIX
		if _, ok := address.(*unix.SockaddrInet4); ok {
			domain = unix.AF_INET
		}
		fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Bind(fd, address); err != nil {
			t.Fatal(err)
		}
		if kind == unix.SOCK_STREAM && domain == unix.AF_INET {
			if err := unix.Listen(fd, 1); err != nil {
				t.Fatal(err)
			}
		}
		return os.NewFile(uintptr(fd), "socket")
	}
	mute, datagram := filepath.Join(dir, "mute"), filepath.Join(dir, "datagram")
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file *os.File
		path string
		want error
		text string
	}{
		"another path":      {other, good, nil, "another path"},
		"no socket file":    {goneFile, gone, fs.ErrNotExist, "no such file"},
		"another's socket":  {replacedFile, replaced, unixsock.ErrInUse, "stop it"},
		"a dead socket":     {deadFile, deadOne, syscall.ECONNREFUSED, "refused"},
		"a file":            {fileFile, file, unixsock.ErrNotASocket, "another path"},
		"a link":            {linkFile, link, unixsock.ErrNotASocket, "another path"},
		"not listening":     {raw(unix.SOCK_STREAM, &unix.SockaddrUnix{Name: mute}), mute, nil, "no listening"},
		"a datagram socket": {raw(unix.SOCK_DGRAM, &unix.SockaddrUnix{Name: datagram}), datagram, nil, "no listening"},
		"a TCP socket":      {raw(unix.SOCK_STREAM, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), good, nil, "no listening"},
		"no socket":         {null, good, syscall.ENOTSOCK, "getsockopt"},
	} {
		_, err := unixsock.Inherit(c.file, c.path)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: got %v, want %v with %q", name, err, c.want, c.text)
		}
		wantClosed(t, name, c.file)
	}
	if _, err := unixsock.Inherit(nil, good); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("nothing at all: %v", err)
	}
	if c, err := unixsock.Dial(t.Context(), good); err != nil {
		t.Errorf("a listener was disturbed: %v", err)
	} else {
		_ = c.Close()
	}
}
