package main_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent"
	"deploykeyd/agent/key/keyscan"
	"deploykeyd/provision"
)

// One whole life: three processes, two users, real git over real OpenSSH.
func TestLife(t *testing.T) {
	t.Parallel()
	s, d := readySite(t)

	if diff := cmp.Diff(onePerPlan(), s.keys()); diff != "" {
		t.Errorf("keys on the forges (-want +got):\n%s", diff)
	}
	status := d.status(t)
	if !status.Ready || len(status.Repositories) != 8 || len(status.Remaining) != 0 {
		t.Errorf("status %+v", status)
	}
	for _, r := range status.Repositories {
		url := s.url(r.Kind, r.Repository)
		if code, said := s.git(t, listedUID, "clone", "--quiet", url, "clone"); code != 0 {
			t.Errorf("the listed user cannot clone %s: %s", url, said)
		}
		if code, said := s.git(t, otherUID, "clone", "--quiet", url, "clone"); code == 0 || !strings.Contains(said, "denied") && !strings.Contains(said, "verification failed") {
			t.Errorf("another user's clone of %s: status %d: %s", url, code, said)
		}
	}

	if code := d.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if keys := s.keys(); len(keys) != 0 {
		t.Errorf("keys after the stop: %v", keys)
	}
	if code, said := s.git(t, listedUID, "ls-remote", s.url(provision.Gitea, "acme/api")); code == 0 {
		t.Errorf("git still gets in: %s", said)
	}
	if _, err := os.Stat(filepath.Join(s.runDir(), "agent.sock")); err == nil {
		t.Error("the socket is left behind")
	}
}

// The way that the README shows: everything in one folder, by relative paths.
func TestRelativePaths(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	here := func(args ...string) *exec.Cmd {
		c := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], append(args, "--run-dir", "run", "--state-dir", "state", "--config", "deploykeyd.yaml")...)
		c.Dir, c.Env = s.dir, append(os.Environ(), asProgram+"=1")
		return c
	}
	d := s.launch(t, here("run"))
	if code, _, stderr := finish(t, here("wait", "--timeout", "50s")); code != 0 {
		t.Fatalf("wait: exit status %d: %s", code, stderr)
	}
	if code, _, stderr := finish(t, here("ssh-config", "--write", "--file", "ssh_config", "--known-hosts", "known_hosts")); code != 0 {
		t.Fatalf("ssh-config: exit status %d: %s", code, stderr)
	}
	git := exec.CommandContext(t.Context(), "git", "ls-remote", s.url(provision.GitHub, "acme/web"))
	git.Dir = s.dir
	git.Env = append(os.Environ(), "GIT_SSH_COMMAND=ssh -o BatchMode=yes -F ssh_config")
	if code, _, stderr := finish(t, git); code != 0 {
		t.Errorf("git: exit status %d: %s", code, stderr)
	}
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

func TestPushIsDecidedByAccess(t *testing.T) {
	t.Parallel()
	s, d := readySite(t)
	push := func(k provision.Kind, repo provision.Repository) (int, string) {
		work, err := os.MkdirTemp(s.dir, "work")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(work, listedUID, listedUID); err != nil {
			t.Fatal(err)
		}
		if code, said := s.git(t, listedUID, "clone", "--quiet", s.url(k, repo), filepath.Join(work, "c")); code != 0 {
			t.Fatalf("clone: %s", said)
		}
		return s.git(t, listedUID, "-C", filepath.Join(work, "c"), "push", "--quiet", "origin", "HEAD:refs/tags/v9")
	}
	for _, k := range []provision.Kind{provision.Gitea, provision.GitHub} {
		if code, said := push(k, "acme/releases"); code != 0 {
			t.Errorf("%s: push with access write: %s", k, said)
		}
	}
	refusals := map[provision.Kind]string{
		provision.Gitea: "is not authorized to write", provision.GitHub: "read only", provision.BitbucketCloud: "read-only",
	}
	for k, words := range refusals {
		if code, said := push(k, "acme/api"); code == 0 || !strings.Contains(said, words) {
			t.Errorf("%s: push with access read: status %d: %s", k, code, said)
		}
	}
	d.terminate(t)
}

// G1: no file holds any part of a private key, not even of a daemon that was
// killed.
func TestG1PrivateKeysAreInNoFile(t *testing.T) {
	t.Parallel()
	began := time.Now().Add(-time.Minute)
	s, d := readySite(t)
	var secrets []*keyscan.Secret
	for _, f := range s.sim.Forges() {
		secret, err := keyscan.Extract(d.cmd.Process.Pid, f.AllKeys()[0].Key.Blob())
		if err != nil {
			t.Fatalf("%s: %v", f.Kind(), err)
		}
		secrets = append(secrets, secret)
	}
	planted := filepath.Join(s.dir, "planted")
	if err := os.WriteFile(planted, secrets[0].Base64(), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if report, err := keyscan.Search(ctx, s.dir, began, secrets...); err != nil || len(report.Hits) != 1 || report.Hits[0] != planted {
		t.Fatalf("the planted copy was not found alone: %+v, %v", report, err)
	}
	if err := os.Remove(planted); err != nil {
		t.Fatal(err)
	}
	if report, err := keyscan.SearchProcess(d.cmd.Process.Pid, secrets...); err != nil || len(report.Hits) != 0 {
		t.Errorf("what the process shows: %+v, %v", report, err)
	}
	d.signal(t, syscall.SIGKILL)
	d.exit(t)
	for _, root := range []string{s.dir, os.TempDir(), "/var", "/run", "/dev/shm", "/root", "/etc"} {
		report, err := keyscan.Search(ctx, root, began, secrets...)
		if err != nil || len(report.Hits) != 0 {
			t.Errorf("%s: %+v, %v", root, report, err)
		}
	}
}

// G8: no output of the program and no file of its own has a credential.
func TestG8CredentialsAreInNoOutput(t *testing.T) {
	t.Parallel()
	s, d := readySite(t)
	var said strings.Builder
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"verify"}, {"ssh-config"}, {"config", "check"}} {
		_, stdout, stderr := s.do(t, args...)
		said.WriteString(stdout + stderr)
	}
	command, err := os.ReadFile(filepath.Join("/proc", itoa(d.cmd.Process.Pid), "cmdline"))
	if err != nil {
		t.Fatal(err)
	}
	said.Write(command)
	d.terminate(t)
	said.WriteString(d.log.String())
	journal, err := os.ReadFile(s.journal())
	if err != nil {
		t.Fatal(err)
	}
	said.Write(journal)
	for _, f := range s.sim.Forges() {
		if _, token := f.Credential(); strings.Contains(said.String(), token) {
			t.Errorf("the credential of %s was printed or written", f.Kind())
		}
		for _, r := range f.Requests() {
			if _, token := f.Credential(); strings.Contains(r.Path, token) {
				t.Errorf("%s: the credential is in a URL: %s", f.Kind(), r.Method)
			}
		}
	}
	if !strings.Contains(said.String(), "acme/releases") {
		t.Error("the test read nothing")
	}
}

func TestRevokeThroughTheDaemon(t *testing.T) {
	t.Parallel()
	s, d := readySite(t)
	for range 2 { // idempotent
		if code, stdout, stderr := s.do(t, "revoke"); code != 0 || !strings.Contains(stdout, "no key") {
			t.Fatalf("exit status %d: %s%s", code, stdout, stderr)
		}
	}
	if keys := s.keys(); len(keys) != 0 {
		t.Errorf("keys: %v", keys)
	}
	if status := d.status(t); status.Phase != agent.Revoked || status.Ready {
		t.Errorf("status %+v", status)
	}
	if code, _, _ := s.do(t, "wait", "--timeout", "300ms"); code != 4 {
		t.Errorf("wait after revoke: exit status %d, want 4", code)
	}
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

func TestRevokeFromTheJournal(t *testing.T) {
	t.Parallel()
	s := crashedSite(t)

	code, stdout, stderr := s.do(t, "status")
	if code != 1 || !strings.Contains(stdout, "8 keys may remain") || !strings.Contains(stderr, "not running") {
		t.Errorf("status: exit status %d: %s%s", code, stdout, stderr)
	}
	for range 2 {
		if code, stdout, stderr := s.do(t, "revoke"); code != 0 {
			t.Errorf("revoke: exit status %d: %s%s", code, stdout, stderr)
		}
	}
	if keys := s.keys(); len(keys) != 0 {
		t.Errorf("keys: %v", keys)
	}
}

func TestRevokeWithoutAConfigurationSaysWhatRemains(t *testing.T) {
	t.Parallel()
	s := crashedSite(t)
	s.rewrite(t, "fleet: test", "flet: test")
	code, _, stderr := s.do(t, "revoke")
	if code != 3 || !strings.Contains(stderr, "8 keys may remain") {
		t.Errorf("exit status %d: %s", code, stderr)
	}
	s.rewrite(t, "flet: test", "fleet: renamed")
	if code, _, stderr := s.do(t, "revoke"); code != 0 {
		t.Errorf("after the repair: exit status %d: %s", code, stderr)
	}
}

// G9: a journal of another machine is not taken for an empty one.
func TestG9RevokeDoesNotClaimAnotherMachinesKeysGone(t *testing.T) {
	t.Parallel()
	s := crashedSite(t)
	s.rewrite(t, "machine: m1", "machine: m2")
	code, stdout, stderr := s.do(t, "revoke")
	if code != 3 || !strings.Contains(stderr, "8 keys may remain") || !strings.Contains(stderr, "of machine m1") || stdout != "" {
		t.Errorf("exit status %d: %s%s", code, stdout, stderr)
	}
	s.rewrite(t, "machine: m2", "machine: m1")
	if code, _, stderr := s.do(t, "revoke"); code != 0 || len(s.keys()) != 0 {
		t.Errorf("as itself: exit status %d, keys %v: %s", code, s.keys(), stderr)
	}
}

// An idle client holds neither the exit nor the revocation.
func TestIdleClientsDoNotHoldTheExit(t *testing.T) {
	t.Parallel()
	s, d := readySite(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, name := range []string{"agent.sock", "control.sock"} {
		c := dial(ctx, t, filepath.Join(s.runDir(), name))
		t.Cleanup(func() { _ = c.Close() })
	}
	began := time.Now()
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the stop took %v", took)
	}
}

// The budget of API requests: at boot one per registration and one per forge
// for its clock, at stop one delete per registration and one list per target.
func TestRequestsOfALife(t *testing.T) {
	t.Parallel()
	s, d := readySite(t)
	count := func() map[string]int {
		n := map[string]int{}
		for _, f := range s.sim.Forges() {
			for _, r := range f.Requests() {
				n[r.Method+" "+string(r.Op)]++
			}
		}
		return n
	}
	boot := count()
	if diff := cmp.Diff(map[string]int{"GET ": 3, "POST register": 8}, boot); diff != "" {
		t.Errorf("requests at boot (-want +got):\n%s", diff)
	}
	d.terminate(t)
	stop := count()
	for what, n := range boot {
		stop[what] -= n
		if stop[what] == 0 {
			delete(stop, what)
		}
	}
	if diff := cmp.Diff(map[string]int{"DELETE revoke": 8, "GET list": 8}, stop); diff != "" {
		t.Errorf("requests at the stop (-want +got):\n%s", diff)
	}
}
