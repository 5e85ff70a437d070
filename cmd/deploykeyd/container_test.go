package main_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"deploykeyd/provision"
)

// A container as its kernel part is: user, pid and mount namespaces of its own,
// with the run directory mounted where the host has it.
type container struct {
	site *site
	uids []syscall.SysProcIDMap // of its user namespace; none: the host's own
	uid  uint32                 // inside
}

// The two ways in which an unprivileged engine maps users, as in
// user_namespaces(7): the one who starts it is root inside, all others are from
// his range of subordinate ids.
const (
	insideUID  = 1000
	outsideUID = 100_999
)

func rootless(hostUID int) []syscall.SysProcIDMap {
	return []syscall.SysProcIDMap{{ContainerID: 0, HostID: hostUID, Size: 1}, {ContainerID: 1, HostID: 100_000, Size: 65_535}}
}

// build runs a shell line in the container with the builds' ssh configuration,
// which expects the run directory in /run/deploykeyd.
func (c container) build(t *testing.T, line string) (status int, said string) {
	t.Helper()
	s := c.site
	config := filepath.Join(s.dir, "container_ssh_config")
	args := []string{"ssh-config", "--write", "--file", config, "--known-hosts", filepath.Join(s.dir, "known_hosts")}
	p := s.program(t.Context(), args...)
	p.Args = append(p.Args, "--run-dir", "/run/deploykeyd") // the last one counts
	if code, _, stderr := finish(t, p); code != 0 {
		t.Fatalf("ssh-config: %s", stderr)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	script := `mount -t proc proc /proc && mount -t tmpfs tmpfs /run && mkdir /run/deploykeyd /run/home && chmod 777 /run/home &&
		mount --bind "$RUN_DIR" /run/deploykeyd && mount -o remount,bind,ro /run/deploykeyd && exec setpriv --reuid "$BUILD_UID" --clear-groups sh -c "$BUILD"`
	run := exec.CommandContext(ctx, "/bin/sh", "-ec", script)
	run.Dir = "/"
	run.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/run/home", "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "RUN_DIR=" + s.runDir(),
		fmt.Sprintf("BUILD_UID=%d", c.uid), "BUILD=cd /run/home && " + line,
		"GIT_SSH_COMMAND=ssh -o BatchMode=yes -F " + config,
	}
	flags := uintptr(syscall.CLONE_NEWNS | syscall.CLONE_NEWPID)
	run.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if c.uids != nil {
		flags |= syscall.CLONE_NEWUSER
		run.SysProcAttr.UidMappings, run.SysProcAttr.GidMappings = c.uids, c.uids
		run.SysProcAttr.GidMappingsEnableSetgroups = true
		run.SysProcAttr.Credential = &syscall.Credential{} // root inside
	} else {
		script = "mount --make-rprivate / && " + script
		run.Args[len(run.Args)-1] = script
	}
	run.SysProcAttr.Cloneflags = flags
	status, stdout, stderr := finish(t, run)
	return status, stdout + stderr
}

// Who is let in from a container is decided by the user that the host sees.
func TestContainerUsersAreTheHostsUsers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.rewrite(t, "users: ["+listedUser+", root]", fmt.Sprintf("users: [%s, %d]", listedUser, outsideUID))
	d := s.start(t)
	d.ready(t)
	for _, c := range []struct {
		name      string
		container container
		refused   string // the uid in the log; empty: it clones
	}{
		{"rootless engine of a listed user, root inside", container{uids: rootless(listedUID)}, ""},
		{"rootless engine of another user, root inside", container{uids: rootless(otherUID)}, "user 8 is not listed"},
		{"subordinate id that is listed", container{uids: rootless(otherUID), uid: insideUID}, ""},
		{"subordinate id that is not listed", container{uids: rootless(listedUID), uid: insideUID + 1}, "user 101000 is not listed"},
		{"rootful engine, root inside", container{}, "user 0 is not listed"},
		{"rootful engine, listed user inside", container{uid: listedUID}, ""},
	} {
		c.container.site = s
		for _, kind := range []provision.Kind{provision.Gitea, provision.GitHub} {
			before := d.log.String()
			status, said := c.container.build(t, "git clone -q "+s.url(kind, "acme/web")+" web && test -d web/.git")
			added := strings.TrimPrefix(d.log.String(), before)
			switch {
			case c.refused == "" && status != 0:
				t.Errorf("%s, %s: exit status %d: %s", c.name, kind, status, said)
			case c.refused == "" && !strings.Contains(added, "repository=acme/web"):
				t.Errorf("%s, %s: the pid namespace hides which repository was wanted", c.name, kind)
			case c.refused != "" && (status != 128 || !strings.Contains(said, "Permission denied (publickey)") || !strings.Contains(added, c.refused)):
				t.Errorf("%s, %s: exit status %d: %s", c.name, kind, status, said)
			}
		}
	}
}

// "docker build --ssh": the engine's client, which runs as a listed user on the
// host, passes each request on by itself, so that no session is bound; the build
// is another user in namespaces of its own.
func TestContainerBuildThroughAForwardingClient(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.rewrite(t, "    kind: github\n", "    kind: github\n    sockets: repository\n")
	s.requireBind(t, provision.BitbucketCloud)
	d := s.start(t)
	d.ready(t)
	for _, c := range []struct {
		kind    provision.Kind
		socket  string // to which the client connects
		refused string
	}{
		{provision.Gitea, s.agentSocket(), ""}, // one key for all: nobody has to be told which
		{provision.GitHub, s.agentSocket(), "the client does not say which repository it wants"},
		{provision.GitHub, s.repositorySocket(t, provision.GitHub, "acme/web"), ""},
		{provision.BitbucketCloud, s.agentSocket(), "requires a bound session and the client has bound none"},
	} {
		before := d.log.String()
		engine := forwardAgent(t, c.socket)
		status, said := container{site: s, uids: rootless(otherUID), uid: insideUID}.build(t,
			fmt.Sprintf("SSH_AUTH_SOCK=%s GIT_SSH_COMMAND='ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile=%s' git ls-remote %s",
				engine, filepath.Join(s.dir, "known_hosts"), s.url(c.kind, "acme/web")))
		added := strings.TrimPrefix(d.log.String(), before)
		switch {
		case c.refused == "" && (status != 0 || !strings.Contains(added, "bound=false decision=signed")):
			t.Errorf("%s over %s: exit status %d: %s", c.kind, c.socket, status, said)
		case c.refused != "" && (status != 128 || !strings.Contains(added, c.refused)):
			t.Errorf("%s over %s: exit status %d: %s", c.kind, c.socket, status, said)
		}
	}
}

// forwardAgent serves a socket for everybody, as BuildKit's client does for
// --ssh: each connection gets one to the agent, over which it lists and signs;
// extensions are not passed on. It runs in a process of the listed user.
func forwardAgent(t *testing.T, socket string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dkd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, listedUID, listedUID)); err != nil {
		t.Fatal(err)
	}
	path, program := filepath.Join(dir, "forwarded.sock"), filepath.Join(dir, "engine")
	command(t, "cp", os.Args[0], program) // where it lies, only root may run it
	c := exec.CommandContext(context.WithoutCancel(t.Context()), program, path, socket)
	c.Env = append(os.Environ(), asForwarder+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: listedUID, Gid: listedUID}, Pdeathsig: syscall.SIGKILL,
	}
	ready, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	if _, err := io.ReadFull(ready, make([]byte, 1)); err != nil {
		t.Fatalf("the forwarding client: %v", err)
	}
	return path
}

// asForwarder makes the test binary be such a client.
const asForwarder = "DEPLOYKEYD_TEST_AS_FORWARDER"

func forwarderMain(path, socket string) error {
	l, err := net.Listen("unix", path) //nolint:noctx // ends with the process
	if err == nil {
		err = os.Chmod(path, 0o777)
	}
	if err != nil {
		return err
	}
	_, _ = os.Stdout.WriteString("+")
	for {
		in, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer in.Close()
			out, err := net.Dial("unix", socket) //nolint:noctx // ends with the process
			if err != nil {
				return
			}
			defer out.Close()
			_ = agent.ServeAgent(signOnly{agent.NewClient(out)}, in)
		}()
	}
}

// signOnly passes on nothing but lists and signatures.
type signOnly struct{ agent.ExtendedAgent }

func (signOnly) Add(agent.AddedKey) error   { return errReadOnly }
func (signOnly) Remove(ssh.PublicKey) error { return errReadOnly }
func (signOnly) RemoveAll() error           { return errReadOnly }
func (signOnly) Lock([]byte) error          { return errReadOnly }
func (signOnly) Extension(string, []byte) ([]byte, error) {
	return nil, agent.ErrExtensionUnsupported
}

var errReadOnly = errors.New("read-only")
