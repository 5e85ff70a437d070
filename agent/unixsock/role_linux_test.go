package unixsock_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"deploykeyd/agent/unixsock"
)

// roleEnv makes the test program another program: what the role in it says.
const roleEnv = "DEPLOYKEYD_TEST_ROLE"

// self is the test program, also for those who may not enter its folder.
const self = "/proc/self/exe"

// role is what the test program does instead of testing. Then it writes a line and
// lives as long as its standard input is open, and so not longer than the test.
type role struct {
	// Connect is a socket to connect to.
	Connect string
	// Listen is where to make the socket listen that is its file descriptor 3.
	Listen string
	// Heir makes it start a child that holds the connection too, and lives as
	// long as file descriptor 3 is open.
	Heir bool
	// Look makes it say at once what it sees of a peer.
	Look *look
}

// look is how a server looks at its peer, who is at the other end of its file
// descriptor 3, or, if that is none, the server itself.
type look struct {
	Proc          string   // options that /proc is mounted with anew; "-" for leaving it
	UID, GID      int      // whom it runs as after that; 0 is unchanged
	Users, Groups []string // whom it lets in
}

// sight is what a server sees of its peer.
type sight struct {
	UID, GID uint32
	Groups   []uint32
	PID      int
	Proven   bool
	Allowed  bool
	NoLine   bool // ErrNoProcess
	Line     []string
	Facts    unixsock.Process
}

func TestMain(m *testing.M) {
	text := os.Getenv(roleEnv)
	if text == "" {
		m.Run()
		return
	}
	var r role
	if err := errors.Join(json.Unmarshal([]byte(text), &r), r.play()); err != nil {
		fmt.Fprintln(os.Stderr, "in the role "+text+":", err)
		os.Exit(1)
	}
}

func (r role) play() error {
	if r.Look != nil {
		return r.Look.tell()
	}
	if r.Connect != "" {
		c, err := net.Dial("unix", r.Connect) //nolint:noctx // answers at once
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		if r.Heir {
			if err := heir(c); err != nil {
				return err
			}
		}
	}
	if r.Listen != "" {
		if err := errors.Join(unix.Bind(3, &unix.SockaddrUnix{Name: r.Listen}), unix.Listen(3, 10)); err != nil {
			return err
		}
	}
	_, _ = os.Stdout.WriteString("ready\n")
	_, _ = os.Stdin.Read(make([]byte, 1))
	return nil
}

func heir(c net.Conn) error {
	f, err := c.(*net.UnixConn).File()
	if err != nil {
		return err
	}
	child := exec.Command(self) //nolint:noctx // it is to outlive this process
	child.Env = []string{roleEnv + "={}"}
	child.Stdin, child.Stderr = os.NewFile(3, "life"), os.Stderr
	child.ExtraFiles = []*os.File{f}
	return child.Start()
}

// mountProc mounts a /proc of our pid namespace in our mount namespace.
func mountProc(options string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, options); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

func (l *look) tell() error {
	if l.Proc != "-" {
		if err := mountProc(l.Proc); err != nil {
			return err
		}
	}
	if l.UID != 0 {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(l.GID), syscall.Setuid(l.UID)); err != nil {
			return err
		}
	}
	c, err := net.FileConn(os.NewFile(3, "peer"))
	if err != nil {
		if c, err = selfMade(); err != nil {
			return err
		}
	}
	p, err := unixsock.PeerWithProcess(c)
	if err != nil {
		return err
	}
	s := sight{UID: p.UID, GID: p.GID, Groups: p.Groups(unixsock.MaxGroups), PID: int(p.PID), Proven: p.Proven, Facts: p.Process()}
	s.Line, err = p.CommandLine(unixsock.MaxCommandLine)
	s.NoLine = errors.Is(err, unixsock.ErrNoProcess)
	s.Allowed = unixsock.Admits(unixsock.NewUsers(l.Users, l.Groups, unixsock.Resolver{}, nil), p)
	return json.NewEncoder(os.Stdout).Encode(s)
}

// selfMade returns a connection of which this process is the peer.
func selfMade() (net.Conn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return net.FileConn(os.NewFile(uintptr(fds[0]), "pair"))
}

// client starts the test program, which connects to l as another user; nil is
// our own. It ends with stop, or with the test.
func client(t *testing.T, l net.Listener, who *syscall.Credential, args ...string) (_ *exec.Cmd, stop func()) {
	t.Helper()
	cmd := role{Connect: l.Addr().String()}.command(t, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	return start(t, cmd)
}

func start(t *testing.T, cmd *exec.Cmd) (_ *exec.Cmd, stop func()) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() { _ = in.Close(); _ = cmd.Wait() }
	t.Cleanup(stop)
	return cmd, stop
}

func (r role) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	if len(args) > 0 {
		cmd.Args = args
	}
	// A program with the race detector waits a second before it ends.
	cmd.Env = []string{roleEnv + "=" + string(text), "GORACE=atexit_sleep_ms=0"}
	cmd.Stderr = os.Stderr
	return cmd
}

// from returns what a server in other namespaces sees of the peer of c, or of
// itself when c is nil.
func (l look) from(t *testing.T, c net.Conn, attr *syscall.SysProcAttr) sight {
	t.Helper()
	cmd := role{Look: &l}.command(t, "server")
	cmd.SysProcAttr = attr
	if c != nil {
		f, err := c.(*net.UnixConn).File()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		cmd.ExtraFiles = []*os.File{f}
	}
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var s sight
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatalf("%v: %q", err, text)
	}
	return s
}

// inOwnPIDs reports whether the test runs in a pid namespace of its own, where
// it alone gives pids away. If not, it runs it there.
func inOwnPIDs(t *testing.T) bool {
	t.Helper()
	const inside = "DEPLOYKEYD_TEST_INSIDE"
	if os.Getenv(inside) != "" {
		if err := mountProc(""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	runtime.LockOSThread() // whose end Pdeathsig is about
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(t.Context(), self, "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inside+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in a pid namespace (which takes root): %v\n%s", err, out)
	}
	return false
}

// openTo returns a socket that every user may connect to.
func openTo(t *testing.T) *unixsock.Listener {
	t.Helper()
	dir := folder(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := unixsock.Listen(filepath.Join(dir, "s"), 0o666)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func acceptConn(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func peerOf(t *testing.T, c net.Conn) unixsock.Peer {
	t.Helper()
	p, err := unixsock.PeerWithProcess(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}
