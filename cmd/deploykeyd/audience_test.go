package main_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/provision"
)

// Who is let in by a group alone: the process has it, by whatever way.
func TestMembersOfAListedGroupClone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.rewrite(t, "users: ["+listedUser+", root]", "groups: ["+otherUser+"]") // a group of that name has the same id
	d := s.start(t)
	d.ready(t)
	const stranger = 13
	for _, c := range []struct {
		name    string
		who     syscall.Credential
		refused string
	}{
		{"its main group", syscall.Credential{Uid: stranger, Gid: otherUID}, ""},
		{"one of its groups", syscall.Credential{Uid: stranger, Gid: stranger, Groups: []uint32{4, otherUID}}, ""},
		{"no member", syscall.Credential{Uid: stranger, Gid: stranger, Groups: []uint32{4}}, "user 13 is not listed"},
		{"a user of the group's number", syscall.Credential{Uid: otherUID, Gid: stranger}, "user 8 is not listed"},
		{"root with the group", syscall.Credential{Uid: 0, Gid: otherUID, Groups: []uint32{otherUID}}, "user 0 is not listed"},
	} {
		before := d.log.String()
		status, said := s.gitAs(t, c.who, "ls-remote", s.url(provision.GitHub, "acme/web"))
		added := strings.TrimPrefix(d.log.String(), before)
		switch {
		case c.refused == "" && (status != 0 || !strings.Contains(added, "uid=13 ") || !strings.Contains(added, "decision=signed")):
			t.Errorf("%s: exit status %d: %s", c.name, status, said)
		case c.refused != "" && (status != 128 || !strings.Contains(added, c.refused)):
			t.Errorf("%s: exit status %d: %s", c.name, status, said)
		}
	}
	if config := read(t, filepath.Join(s.dir, "ssh_config")); strings.Contains(config, "localuser "+otherUser) {
		t.Errorf("the written file is for users of a name:\n%s", config)
	}
}

// Each repository of a forge that is configured so has a socket, and status says
// which and how often it was used.
func TestSocketsOfSingleRepositories(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.rewrite(t, "    kind: github\n", "    kind: github\n    sockets: repository\n")
	stale, other := s.leftSocket(t), filepath.Join(s.runDir(), "r", "notes.txt")
	write(t, other, "of somebody else")
	d := s.start(t)
	d.ready(t)
	if _, err := os.Lstat(stale); err == nil {
		t.Error("the socket of a repository that is configured no more is still there")
	}
	if _, err := os.Lstat(other); err != nil {
		t.Errorf("a file that is no socket is gone: %v", err)
	}
	code, stdout, stderr := s.do(t, "status", "--sockets")
	if code != 0 || strings.Count(stdout, "\n") != 4 || !strings.Contains(stdout, "FORGE") || strings.Contains(stdout, "gitea") {
		t.Fatalf("exit status %d: %s%s", code, stdout, stderr)
	}

	own := s.repositorySocket(t, provision.GitHub, "acme/releases")
	for repo, want := range map[string]string{"acme/releases": "refs/heads/main", "acme/web": "Repository not found"} {
		if said := s.ssh(t, provision.GitHub, own, "git-upload-pack '"+repo+"'"); !strings.Contains(said, want) {
			t.Errorf("%s over the socket of acme/releases: %s", repo, said)
		}
	}
	if _, said := s.git(t, listedUID, "ls-remote", s.url(provision.Gitea, "acme/web")); !strings.Contains(said, "refs/heads/main") {
		t.Errorf("the shared socket: %s", said)
	}
	uses := map[provision.Repository]uint64{}
	for _, r := range d.status(t).Repositories {
		if uses[r.Repository] += r.Signatures; (r.Signatures > 0) == r.LastUsed.IsZero() {
			t.Errorf("%d signatures of %s on %s, the last at %v", r.Signatures, r.Repository, r.Forge, r.LastUsed)
		}
	}
	if diff := cmp.Diff(map[provision.Repository]uint64{"acme/releases": 2, "acme/web": 1, "acme/api": 0}, uses); diff != "" {
		t.Errorf("uses (-want +got):\n%s", diff)
	}
	s.ssh(t, provision.Gitea, s.agentSocket()) // names no repository, and the key opens several
	const unnamed = "gitea: 1 signatures and 0 refusals for clients that did not name a repository"
	if _, stdout, _ := s.do(t, "status"); !strings.Contains(stdout, unnamed) {
		t.Errorf("the status does not tell of a client that named nothing:\n%s", stdout)
	}
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if left, _ := filepath.Glob(filepath.Join(s.runDir(), "r", "*.sock")); left != nil {
		t.Errorf("left behind: %v", left)
	}
	for _, args := range [][]string{{"status", "--sockets"}, {"status", "--sockets", "--json"}} {
		if code, stdout, stderr := s.do(t, args...); code != 1 || stdout != "" || !strings.Contains(stderr, "not running") {
			t.Errorf("%v without a daemon: exit status %d: %q %s", args, code, stdout, stderr)
		}
	}
}

// ssh runs OpenSSH's client as the listed user does, at a forge with an agent.
func (s *site) ssh(t *testing.T, kind provision.Kind, agentSocket string, command ...string) (said string) {
	t.Helper()
	at := s.sim.Forge(kind).SSH()
	c := exec.CommandContext(t.Context(), "ssh", append([]string{
		"-F", s.clientConfig(t), "-o", "BatchMode=yes", "-o", "IdentityAgent=" + agentSocket,
		"-p", itoa(at.Port), at.User + "@" + at.Host,
	}, command...)...)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: listedUID, Gid: listedUID}}
	_, stdout, stderr := finish(t, c)
	return stdout + stderr
}

// leftSocket makes what a daemon that was killed leaves of a repository's
// socket, and returns its path.
func (s *site) leftSocket(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(s.runDir(), "r")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "0123456789abcdef.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	return path
}
