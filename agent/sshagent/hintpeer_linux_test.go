package sshagent_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"deploykeyd/agent/key"
	"deploykeyd/agent/sshagent"
	"deploykeyd/agent/unixsock"
	"deploykeyd/provision"
)

// What the test binary is to be when the test runs it again, and the socket.
const (
	roleVariable   = "DEPLOYKEYD_TEST_ROLE"
	socketVariable = "DEPLOYKEYD_TEST_SOCKET"
)

// A client is shown the key of the repository that its command line names. One
// whose process cannot be seen, because it has ended, is in a pid namespace that
// we do not see into, or is hidden by /proc, has no command line: it is shown the
// one key of the forge whose repositories share it, and none of the forge that
// has a key for each.
func TestPeersThatCannotBeSeen(t *testing.T) {
	switch os.Getenv(roleVariable) {
	case "client":
		beClient(t)
		return
	case "server":
		beServer(t)
		return
	case "server that sees nothing of others":
		becomeNobody(t)
		beServer(t)
		return
	case "namespace that hides processes":
		hideProcesses(t)
		shownByServer(t, again(t, "server that sees nothing of others", socketPath(t), nil), "deploykeyd gitea acme/web")
		return
	}
	shownByServer(t, again(t, "server", socketPath(t), nil), "deploykeyd hub acme/api")
	clientThatHasEnded(t, "deploykeyd gitea acme/web")
	if os.Geteuid() != 0 {
		return // another namespace is root's to make
	}
	elsewhere := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	shownByServer(t, again(t, "server", socketPath(t), elsewhere), "deploykeyd gitea acme/web")
	hidden := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	again(t, "namespace that hides processes", "", hidden).end(t)
}

// process is the test binary, run with a role and the arguments of an SSH client.
type process struct {
	cmd    *exec.Cmd
	socket string
	hold   io.Closer // closed, it has the process end
	out    *bufio.Reader
	errors bytes.Buffer
}

func again(t *testing.T, role, socket string, attr *syscall.SysProcAttr, files ...*os.File) *process {
	t.Helper()
	p := &process{socket: socket}
	p.cmd = exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "git@hub.test", "git-upload-pack '/acme/api.git'")
	p.cmd.Env = append(os.Environ(), roleVariable+"="+role, socketVariable+"="+socket)
	p.cmd.SysProcAttr, p.cmd.ExtraFiles, p.cmd.Stderr = attr, files, &p.errors
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.hold, p.out = stdin, bufio.NewReader(stdout)
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", role, err)
	}
	return p
}

func (p *process) end(t *testing.T) {
	t.Helper()
	_ = p.hold.Close()
	rest, _ := io.ReadAll(p.out)
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%s: %v\n%s%s", p.cmd.Env[len(p.cmd.Env)-2], err, rest, p.errors.String())
	}
}

// beClient connects and hands the connection over, then stays for as long as it
// is held.
func beClient(t *testing.T) {
	t.Helper()
	c, err := unixsock.Dial(t.Context(), os.Getenv(socketVariable))
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.(*net.UnixConn).File()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Sendmsg(3, []byte{0}, unix.UnixRights(int(f.Fd())), nil, 0); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// connect returns a connection that another process has made, and that process.
func connect(t *testing.T, socket string) (net.Conn, *process) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer func() { _ = ours.Close() }()
	client := again(t, "client", socket, nil, theirs)
	_ = theirs.Close()
	rights := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(pair[0], make([]byte, 1), rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		client.end(t)
		t.Fatalf("%d messages: %v", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[0]), "connection")
	defer func() { _ = f.Close() }()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, client
}

// shownByServer asks a server in another process.
func shownByServer(t *testing.T, server *process, want string) {
	t.Helper()
	defer server.end(t)
	if line, err := server.out.ReadString('\n'); line != "serving\n" {
		t.Errorf("the server says %q: %v", line, err)
		return
	}
	c, client := connect(t, server.socket)
	defer client.end(t)
	checkShown(t, c, want)
}

// clientThatHasEnded connects before the server accepts, and has gone by then.
func clientThatHasEnded(t *testing.T, want string) {
	t.Helper()
	path := socketPath(t)
	l, err := unixsock.Listen(path, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	c, client := connect(t, path)
	client.end(t)
	stop := serveTwoForges(t, l)
	checkShown(t, c, want)
	stop()
}

// checkShown demands that one key is shown, with that comment.
func checkShown(t *testing.T, c net.Conn, want string) {
	t.Helper()
	reply, err := ask(c, []byte{listRequest})
	if err != nil || len(reply) < 5 || reply[0] != listAnswer || binary.BigEndian.Uint32(reply[1:]) != 1 {
		t.Errorf("answer %x, %v, want one key: %s", reply, err, want)
		return
	}
	if !bytes.HasSuffix(reply, str(want)) {
		t.Errorf("answer %q, want %q", reply, want)
	}
}

func socketPath(t *testing.T) string {
	t.Helper()
	dir := folder(t)
	if err := os.Chmod(dir, 0o777); err != nil { // a server may be another user
		t.Fatal(err)
	}
	return filepath.Join(dir, "agent.sock")
}

func beServer(t *testing.T) {
	t.Helper()
	l, err := unixsock.Listen(os.Getenv(socketVariable), 0o666)
	if err != nil {
		t.Fatal(err)
	}
	stop := serveTwoForges(t, l)
	if _, err := os.Stdout.WriteString("serving\n"); err != nil {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	stop()
}

// serveTwoForges lends a key for two repositories of one forge, and a key for
// each of two of the other.
func serveTwoForges(t *testing.T, l sshagent.Listener) (stop func()) {
	t.Helper()
	users := []string{"0", me()}
	server := sshagent.New(sshagent.Options{
		Forges: []sshagent.Forge{
			{Name: "gitea", Kind: provision.Gitea, SSH: address("gitea.test", 22), HostKeys: pins(t, edHost(t))},
			{Name: "hub", Kind: provision.GitHub, SSH: address("hub.test", 22), HostKeys: pins(t, edHost(t))},
		},
		Users: unixsock.NewUsers(slices.Compact(users), nil, unixsock.Resolver{}, nil),
	})
	shared := generate(t, key.Ed25519)
	for _, repo := range []provision.Repository{"acme/api", "acme/web"} {
		server.Publish("gitea", repo, shared)
		server.Publish("hub", repo, generate(t, key.Ed25519))
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, l) }()
	return func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// becomeNobody makes this process one that may look at its own user's alone.
func becomeNobody(t *testing.T) {
	t.Helper()
	const nobody = 61234
	for _, err := range []error{syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// hideProcesses mounts /proc anew, for this namespace, so that it shows a user
// no processes but his own (proc(5), hidepid=2).
func hideProcesses(t *testing.T) {
	t.Helper()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, "hidepid=2"); err != nil {
		t.Fatal(err)
	}
	line, err := os.ReadFile("/proc/mounts")
	if err != nil || !strings.Contains(string(line), "hidepid=") {
		t.Fatalf("nothing is hidden: %v\n%s", err, line)
	}
}
