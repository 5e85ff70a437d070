package unixsock_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent/unixsock"
)

// childEnv makes the test program connect to the socket that it names, and stay
// until its standard input ends.
const childEnv = "DEPLOYKEYD_TEST_CONNECT"

func TestMain(m *testing.M) {
	path := os.Getenv(childEnv)
	if path == "" {
		m.Run()
		return
	}
	if _, err := net.Dial("unix", path); err != nil { //nolint:noctx // ends with this process
		panic(err)
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// child starts a process that connects to l, and returns both ends.
func child(t *testing.T, l *unixsock.Listener, args ...string) (_ *exec.Cmd, stop func(), p unixsock.Peer) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Args = args
	cmd.Env = []string{childEnv + "=" + l.Addr().String()}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() { _ = in.Close(); _ = cmd.Wait() }
	t.Cleanup(stop)
	return cmd, stop, accept(t, l)
}

func accept(t *testing.T, l *unixsock.Listener) unixsock.Peer {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	p, err := unixsock.PeerOf(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestPeerOfSaysWhoConnected(t *testing.T) {
	l := listen(t, filepath.Join(folder(t), "s"))
	args := []string{"/usr/bin/ssh", "-p", "2222", "git@gitea.test", "git-upload-pack '/acme/api.git'", ""}
	cmd, _, p := child(t, l, args...)
	if p.PID != int32(cmd.Process.Pid) || !p.Proven || p.UID != uint32(os.Geteuid()) || p.GID != uint32(os.Getegid()) {
		t.Errorf("got %+v, want pid %d", p, cmd.Process.Pid)
	}
	line, err := p.CommandLine(unixsock.MaxCommandLine)
	if diff := cmp.Diff(args, line); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	facts := p.Process()
	exe, _ := os.Executable()
	if facts.Exe != exe || facts.Comm != filepath.Base(exe)[:min(15, len(filepath.Base(exe)))] {
		t.Errorf("got %+v, want %s", facts, exe)
	}
}

func TestCommandLineIsCut(t *testing.T) {
	l := listen(t, filepath.Join(folder(t), "s"))
	_, _, p := child(t, l, "ssh", "first", strings.Repeat("x", 100<<10), "git-upload-pack 'a/b'")
	for _, c := range []struct {
		limit int
		want  []string
	}{{2, nil}, {4, []string{"ssh"}}, {9, []string{"ssh"}}, {10, []string{"ssh", "first"}}, {1 << 30, []string{"ssh", "first"}}} {
		got, err := p.CommandLine(c.limit)
		if diff := cmp.Diff(c.want, got); diff != "" || !errors.Is(err, unixsock.ErrCut) {
			t.Errorf("limit %d: %v (-want +got):\n%s", c.limit, err, diff)
		}
	}
}

// A pid that belongs to another process by now must not lend it its words. The
// kernel gives the very pid to the next process when told so (proc(5),
// ns_last_pid), which needs the right to.
func TestPeerThatIsGoneHasNoCommandLine(t *testing.T) {
	l := listen(t, filepath.Join(folder(t), "s"))
	cmd, stop, p := child(t, l, "ssh", "git@gitea.test")
	stop()
	if _, err := p.CommandLine(100); !errors.Is(err, unixsock.ErrNoProcess) {
		t.Errorf("got %v, want ErrNoProcess", err)
	}
	reuse(t, cmd.Process.Pid)
	if line, err := p.CommandLine(100); !errors.Is(err, unixsock.ErrNoProcess) {
		t.Errorf("the words of another process: %q, %v", line, err)
	}
	if facts := p.Process(); facts != (unixsock.Process{}) {
		t.Errorf("the facts of another process: %+v", facts)
	}
}

// A process may end before anybody asks who it was.
func TestPeerOfAProcessThatWasReplaced(t *testing.T) {
	l := listen(t, filepath.Join(folder(t), "s"))
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = []string{childEnv + "=" + l.Addr().String()}
	cmd.Stdin = bytes.NewReader(nil)
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	reuse(t, cmd.Process.Pid)
	p := accept(t, l)
	if p.UID != uint32(os.Geteuid()) {
		t.Errorf("got %+v", p)
	}
	if line, err := p.CommandLine(100); !errors.Is(err, unixsock.ErrNoProcess) {
		t.Errorf("the words of another process: %q, %v", line, err)
	}
}

// reuse starts a process that has the given pid, where we may.
func reuse(t *testing.T, pid int) {
	t.Helper()
	const attempts = 50 // other processes may be quicker
	for range attempts {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			t.Logf("the pid is not given to another process: %v", err)
			return
		}
		cmd := exec.CommandContext(t.Context(), "cat")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
		if cmd.Process.Pid == pid {
			return
		}
	}
	t.Fatalf("pid %d was not given out again in %d attempts", pid, attempts)
}

func TestPeerOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can be another user: our own is seen by TestPeerOfSaysWhoConnected")
		return
	}
	dir := folder(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := unixsock.Listen(filepath.Join(dir, "s"), 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	errc := make(chan error, 1)
	go func() { errc <- connectAs(61234, 61236, l.Addr().String()) }()
	p := accept(t, l)
	if err := <-errc; err != nil {
		t.Fatal(err)
	}
	if p.UID != 61234 || p.GID != 61236 {
		t.Errorf("uid %d gid %d", p.UID, p.GID)
	}
}

// connectAs connects from a thread that has become another user. The thread is
// given up: the runtime ends it together with the goroutine.
func connectAs(uid, gid uintptr, path string) error {
	runtime.LockOSThread()
	for _, call := range [][4]uintptr{
		{syscall.SYS_SETRESGID, gid, gid, gid},
		{syscall.SYS_SETRESUID, uid, uid, uid},
	} {
		if _, _, errno := syscall.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
			return errno
		}
	}
	c, err := net.Dial("unix", path) //nolint:noctx // answers at once
	if err != nil {
		return err
	}
	return c.Close()
}

func TestPeerOfSomethingElse(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	if p, err := unixsock.PeerOf(a); err == nil {
		t.Errorf("got %+v", p)
	}
	if _, err := (unixsock.Peer{}).CommandLine(100); !errors.Is(err, unixsock.ErrNoProcess) {
		t.Errorf("got %v", err)
	}
}
