package main_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"deploykeyd/provision"
)

// otherHost is a real sshd, at which the listed user may log in with a key file
// of his own: the host to which somebody forwards the agent.
type otherHost struct {
	dir      string
	port     int
	userKey  string
	known    string
	hostLine string // its public host key
}

// startSSHD runs OpenSSH's server as root in a mount namespace of its own, in
// which the listed user has a shell.
func startSSHD(t *testing.T, dir string) *otherHost {
	t.Helper()
	h := &otherHost{dir: dir, userKey: filepath.Join(dir, "user_key"), known: filepath.Join(dir, "sshd_known_hosts")}
	hostKey := filepath.Join(dir, "host_key")
	for _, file := range []string{h.userKey, hostKey} {
		command(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file)
	}
	if err := os.Chown(h.userKey, listedUID, listedUID); err != nil {
		t.Fatal(err)
	}
	h.port = freePort(t)
	h.hostLine = strings.TrimSpace(read(t, hostKey+".pub"))
	write(t, h.known, fmt.Sprintf("[127.0.0.1]:%d %s\n", h.port, h.hostLine))
	write(t, filepath.Join(dir, "passwd"), "root:x:0:0:root:/root:/bin/sh\nsshd:x:104:65534::/run/sshd:/usr/sbin/nologin\n"+
		fmt.Sprintf("%s:x:%d:%[2]d::%s:/bin/sh\n", listedUser, listedUID, dir))
	write(t, filepath.Join(dir, "sshd_config"), fmt.Sprintf("ListenAddress 127.0.0.1:%d\nHostKey %s\nPidFile none\nAuthorizedKeysFile %s.pub\n"+
		"UsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel VERBOSE\n", h.port, hostKey, h.userKey))

	c := exec.CommandContext(context.WithoutCancel(t.Context()), "/bin/sh", "-ec",
		`mount --make-rprivate / && mount --bind "$1/passwd" /etc/passwd && mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && exec "$2" -D -e -f "$1/sshd_config"`,
		"sh", dir, sshdProgram(t))
	log := &lockedBuffer{}
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			t.Logf("sshd's log:\n%s", log)
		}
	})
	h.await(t)
	return h
}

// sshdProgram returns OpenSSH's server. Its package need not be installed, only
// unpacked: an installed one would run at every boot.
func sshdProgram(t *testing.T) string {
	t.Helper()
	unpacked, err := filepath.Abs("../../.cache/openssh-server/usr/sbin/sshd")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/usr/sbin/sshd", unpacked} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatal("no sshd: run packaging/setup.sh test, or install the package openssh-server")
	return ""
}

func (h *otherHost) await(t *testing.T) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(h.port)) //nolint:noctx // a test's own server
		if err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("sshd does not listen: %v", err)
		}
	}
}

// run logs in there as the listed user and runs a command.
func (h *otherHost) run(t *testing.T, env []string, options []string, commandLine string) (status int, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args := append([]string{
		"-F", "none", "-o", "BatchMode=yes", "-i", h.userKey, "-o", "UserKnownHostsFile=" + h.known,
		"-o", "StrictHostKeyChecking=yes", "-p", strconv.Itoa(h.port),
	}, options...)
	c := exec.CommandContext(ctx, "ssh", append(args, listedUser+"@127.0.0.1", commandLine)...)
	c.Dir = h.dir
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.dir, "LC_ALL=C"}, env...)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: listedUID, Gid: listedUID}}
	status, stdout, stderr := finish(t, c)
	return status, stdout + stderr
}

// G3: a session on another host, which the builds' agent was forwarded to, gets
// no login at a forge, whether the forge's clients must bind or only should.
func TestG3ForwardedAgentIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.requireBind(t, provision.GitHub)
	d := s.start(t)
	d.ready(t)
	h := startSSHD(t, s.userDir(t, "other"))
	config := s.clientConfig(t)

	for _, forward := range []struct {
		name    string
		env     []string
		options []string
	}{
		{"ssh -A", []string{"SSH_AUTH_SOCK=" + s.agentSocket()}, []string{"-A"}},
		{"ForwardAgent with a path", []string{"SSH_AUTH_SOCK=" + s.agentSocket()}, []string{"-o", "ForwardAgent=" + s.agentSocket()}},
	} {
		for _, kind := range []provision.Kind{provision.Gitea, provision.GitHub} {
			before := d.log.String()
			status, said := h.run(t, forward.env, forward.options,
				fmt.Sprintf("test -S \"$SSH_AUTH_SOCK\" && GIT_SSH_COMMAND='ssh -o BatchMode=yes -F %s -o IdentityAgent=SSH_AUTH_SOCK' git ls-remote %s", config, s.url(kind, "acme/api")))
			if status != 128 || !strings.Contains(said, "Permission denied (publickey)") {
				t.Errorf("%s, %s: exit status %d: %s", forward.name, kind, status, said)
			}
			added := strings.TrimPrefix(d.log.String(), before)
			if !strings.Contains(added, "the connection is forwarded to another host (ssh -A)") {
				t.Errorf("%s, %s: the log does not say why", forward.name, kind)
			}
			if strings.Contains(added, "decision=signed") {
				t.Errorf("%s, %s: something was signed", forward.name, kind)
			}
		}
	}
	for _, kind := range []provision.Kind{provision.Gitea, provision.GitHub} { // it does work from here
		if status, said := s.git(t, listedUID, "ls-remote", s.url(kind, "acme/api")); status != 0 {
			t.Errorf("%s, not forwarded: exit status %d: %s", kind, status, said)
		}
	}
}

// G3: what is bound to a host that no forge has pinned gets nothing, not even
// the names of the keys.
func TestG3BindToAnUnpinnedHostIsRefused(t *testing.T) {
	t.Parallel()
	s, d := readySite(t)
	h := startSSHD(t, s.userDir(t, "other"))
	status, said := h.run(t, nil, []string{"-v", "-o", "IdentityAgent=" + s.agentSocket()}, "echo logged in")
	if status != 0 || !strings.Contains(said, "logged in") { // with the key file of his own
		t.Fatalf("exit status %d: %s", status, said)
	}
	fingerprint := strings.Fields(command(t, "ssh-keygen", "-lf", filepath.Join(h.dir, "host_key.pub")))[1]
	for _, want := range []string{"the host key " + fingerprint + " is pinned for no forge", "action=list", "an earlier bind on this connection was refused"} {
		if !strings.Contains(d.log.String(), want) {
			t.Errorf("the log does not have %q", want)
		}
	}
	if strings.Contains(said, "deploykeyd ") || !strings.Contains(said, "get_agent_identities") {
		t.Errorf("ssh was shown a key, or did not ask: %s", said)
	}
}

// A multiplexed connection keeps the login of the repository that it was opened
// for. The documentation tells how to see that, and this is what one sees.
func TestControlMasterIsDiagnosedAsDocumented(t *testing.T) {
	t.Parallel()
	s, _ := readySite(t)
	home := s.userDir(t, "home")
	config := filepath.Join(home, "config")
	write(t, config, fmt.Sprintf("Host *\n  ControlMaster auto\n  ControlPath %s/%%C\n  ControlPersist 60\nInclude %s\n", home, s.clientConfig(t)))
	ssh := "ssh -o BatchMode=yes -F " + config
	address := s.sim.Forge(provision.GitHub).SSH()
	at := fmt.Sprintf("-p %d %s@%s", address.Port, address.User, address.Host)
	as := func(line string) (int, string) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		c := exec.CommandContext(ctx, "/bin/sh", "-c", line)
		c.Dir = home
		c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LC_ALL=C", "GIT_SSH_COMMAND=" + ssh}
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: listedUID, Gid: listedUID}}
		status, stdout, stderr := finish(t, c)
		return status, stdout + stderr
	}
	if status, said := as("git ls-remote " + s.url(provision.GitHub, "acme/api")); status != 0 {
		t.Fatalf("the first repository: %d %s", status, said)
	}
	if status, said := as("git ls-remote " + s.url(provision.GitHub, "acme/web")); status != 128 || !strings.Contains(said, "Repository not found") {
		t.Errorf("the second repository over the first one's connection: %d %s", status, said)
	}
	docs := read(t, "../../docs/clients.md")
	for _, step := range []struct{ documented, line, want string }{
		{"ssh -T -G", ssh + " -G " + at + " | grep -i '^control'", "controlmaster auto"},
		{"ssh -O check", ssh + " -O check " + at, "Master running"},
		{"ssh -O exit", ssh + " -O exit " + at, "Exit request sent"},
		{"ControlPath=none", ssh + " -o ControlPath=none " + at + " git-upload-pack acme/web </dev/null", "refs/heads/main"},
	} {
		if !strings.Contains(docs, step.documented) {
			t.Errorf("docs/clients.md does not tell of %q", step.documented)
		}
		if _, said := as(step.line); !strings.Contains(said, step.want) {
			t.Errorf("%s: not %q but: %s", step.line, step.want, said)
		}
	}
}

// requireBind makes the configuration of one forge require bound sessions.
func (s *site) requireBind(t *testing.T, kind provision.Kind) {
	t.Helper()
	s.rewrite(t, fmt.Sprintf("    kind: %s\n", kind), fmt.Sprintf("    kind: %s\n    bind: require\n", kind))
}

// userDir makes a directory of the listed user.
func (s *site) userDir(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(s.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, listedUID, listedUID); err != nil {
		t.Fatal(err)
	}
	return dir
}

// clientConfig writes the builds' ssh configuration and returns its path.
func (s *site) clientConfig(t *testing.T) string {
	t.Helper()
	config := filepath.Join(s.dir, "ssh_config")
	if code, _, stderr := s.do(t, "ssh-config", "--write", "--file", config, "--known-hosts", filepath.Join(s.dir, "known_hosts")); code != 0 {
		t.Fatalf("ssh-config: %s", stderr)
	}
	return config
}

// command runs a program to its successful end and returns what it printed.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// freePort returns a port of the loopback address on which nobody listens.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test's own socket
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // what "tcp" yields
}
