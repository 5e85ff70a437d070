package control_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"deploykeyd/agent/unixsock"
)

// dialAs connects as another user, which one of our threads becomes for that.
func (s *served) dialAs(t *testing.T, uid, gid uint32) net.Conn {
	t.Helper()
	type result struct {
		c   net.Conn
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and ends with it
		c, err := connectAs(s.path, uid, gid)
		done <- result{c, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatalf("as user %d: %v", uid, r.err)
	}
	t.Cleanup(func() { _ = r.c.Close() })
	if err := r.c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return r.c
}

// connectAs makes the calling thread, and no other, another user's for good.
func connectAs(path string, uid, gid uint32) (net.Conn, error) {
	u, g, none := uintptr(uid), uintptr(gid), [1]uint32{}
	for _, call := range []func() unix.Errno{
		func() unix.Errno {
			_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, uintptr(unsafe.Pointer(&none)), 0)
			return errno
		},
		func() unix.Errno { _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, g, g, g); return errno },
		func() unix.Errno { _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, u, u, u); return errno },
	} {
		if errno := call(); errno != 0 {
			return nil, errno
		}
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer func() { _ = f.Close() }()
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

const askStatus = "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"

// ask asks for the status on c, and returns the answer's own status and whether
// it is the last one.
func ask(t *testing.T, c net.Conn) (status int, last bool) {
	t.Helper()
	if _, err := io.WriteString(c, askStatus); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode, resp.Close
}

// rejected fails the test unless the server closes c without an answer.
func rejected(t *testing.T, c net.Conn) {
	t.Helper()
	_, _ = io.WriteString(c, askStatus)
	if answer, err := io.ReadAll(c); len(answer) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("answered: %.20q, %v", answer, err)
	}
}

// However many uids others have, everybody else has a place.
func TestEachKindOfCallersHasPlacesOfItsOwn(t *testing.T) {
	const listed, group, stranger, member = 61234, 62000, 100_000, 200_000
	d := &stub{status: someStatus()}
	s := serveTo(t, d, unixsock.NewUsers([]string{"61234"}, []string{"62000"}, unixsock.Resolver{}, nil))
	answers := func(when string, want map[string]net.Conn) {
		t.Helper()
		for who, c := range want {
			if status, _ := ask(t, c); status != http.StatusOK {
				t.Errorf("%s: %s gets %d", when, who, status)
			}
			_ = c.Close()
		}
	}
	for uid := range uint32(32) {
		s.dialAs(t, stranger+uid, stranger)
	}
	rejected(t, s.dialAs(t, stranger+32, stranger)) // one too many
	answers("with strangers all over", map[string]net.Conn{
		"root": s.dial(t), "a user": s.dialAs(t, listed, listed), "a member": s.dialAs(t, member, group),
	})
	for uid := range uint32(127) {
		s.dialAs(t, member+uid, group)
	}
	last := s.dialAs(t, member+127, group)
	rejected(t, s.dialAs(t, member+128, group))
	answers("with members all over", map[string]net.Conn{
		"root": s.dial(t), "a user": s.dialAs(t, listed, listed), "a user in the group": s.dialAs(t, listed, group), "the last member": last,
	})
	s.log.has(t, `level=WARN msg="control connection closed: too many are open" uid=100032 pid=`, "uid=200128")
}

func TestAStrangerHasFewPlaces(t *testing.T) {
	s := serveTo(t, &stub{status: someStatus()}, nil)
	for range 8 {
		s.dialAs(t, 100_000, 100_000)
	}
	rejected(t, s.dialAs(t, 100_000, 100_000))
	if status, _ := ask(t, s.dialAs(t, 100_001, 100_000)); status != http.StatusForbidden {
		t.Errorf("another gets %d", status)
	}
}

// Who may not ask is told so once, and cannot fill the log.
func TestRefusalsAreBounded(t *testing.T) {
	s := serve(t, &stub{status: someStatus()})
	for range 100 {
		c := s.dialAs(t, 61234, 61234)
		if status, last := ask(t, c); status != http.StatusForbidden || !last {
			t.Fatalf("got %d, the last one: %v", status, last)
		}
		closedByServer(t, c) // by now its place is free
	}
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	if n := strings.Count(s.log.buf.String(), "level=WARN"); n != unixsock.MaxRefusals {
		t.Errorf("%d lines for 100 refusals", n)
	}
}

// Whoever connects over and over fills the socket's queue, and keeps nobody out.
func TestAFullQueueKeepsNobodyOut(t *testing.T) {
	s := serve(t, &stub{status: someStatus()})
	full := make(chan error, 4)
	for range 4 {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
		cmd.Dir = "/"
		cmd.Env = []string{hammerEnv + "=" + s.path}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 61234, Gid: 61234}, Pdeathsig: syscall.SIGKILL}
		in, inErr := cmd.StdinPipe()
		out, outErr := cmd.StdoutPipe()
		if err := errors.Join(inErr, outErr, cmd.Start()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
		go func() {
			_, err := out.Read(make([]byte, 4))
			full <- err
		}()
	}
	if err := <-full; err != nil { // the queue has been full
		t.Fatal(err)
	}
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := s.client.Status(ctx)
		cancel()
		if err != nil {
			t.Error(err)
		}
	}
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	if n := strings.Count(s.log.buf.String(), "uid=61234"); n > unixsock.MaxRefusals {
		t.Errorf("%d lines for one user", n)
	}
}

// Whoever may ask nothing keeps no connection by asking oddly: neither with a
// body that never comes nor for what there is not.
func TestRefusedConnectionsEnd(t *testing.T) {
	s := serve(t, &stub{status: someStatus()})
	for _, text := range []string{
		"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
		"POST /v1/revoke HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
		"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
	} {
		c := s.dialAs(t, 61235, 61235)
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(c)
		if err != nil && !errors.Is(err, syscall.ECONNRESET) || !strings.HasPrefix(string(said), "HTTP/1.1 403 ") {
			t.Errorf("%.40q is answered with %.60q and %v", text, said, err)
		}
	}
}
