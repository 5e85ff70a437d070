package main_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"deploykeyd/agent"
)

// daemonUID is who the daemon of these tests runs as: user proxy of every Debian
// system, neither root nor a build.
const daemonUID = 13

// guardedSite is a site with the program as it is built for users, for a daemon
// that is not root.
func guardedSite(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", s.shipped(), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOEXPERIMENT=runtimesecret") // as in the Makefile
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, said)
	}
	for _, dir := range []string{s.runDir(), s.stateDir(), s.cores()} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	own, err := filepath.Glob(filepath.Join(s.dir, "*.token"))
	if err != nil || len(own) == 0 {
		t.Fatalf("tokens: %v, %v", own, err)
	}
	for _, path := range append(own, s.config, s.runDir(), s.stateDir(), s.cores()) {
		if err := os.Chown(path, daemonUID, daemonUID); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(s.runDir(), 0o755), os.Chmod(s.shipped(), 0o755)); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) shipped() string { return filepath.Join(s.dir, "deploykeyd") }

// cores is a directory in which the daemon's user may write, for the kernel to
// put a core into.
func (s *site) cores() string { return filepath.Join(s.dir, "cores") }

// unprivileged runs a command as the daemon's user, with no limit on cores and
// the given one on locked memory. Rights are as setpriv(1) names them.
func (s *site) unprivileged(t *testing.T, memlock, rights string, command ...string) *exec.Cmd {
	t.Helper()
	args := []string{
		"--core=unlimited:unlimited", "--memlock=" + memlock,
		"setpriv", "--reuid=13", "--regid=13", "--clear-groups", "--inh-caps=" + rights, "--ambient-caps=" + rights, "--pdeathsig=KILL",
	}
	c := exec.CommandContext(context.WithoutCancel(t.Context()), "prlimit", append(args, command...)...) // of util-linux
	c.Dir = s.cores()
	c.Env = append(os.Environ(), "HOME=/nonexistent", "GOTRACEBACK=crash")
	return c
}

const (
	fewLocked = "65536:65536" // bytes: what no program of Go can do with
	noRights  = "-all"
)

// guarded starts the daemon as its user.
func (s *site) guarded(t *testing.T, rights string) *daemon {
	t.Helper()
	d := s.launch(t, s.unprivileged(t, fewLocked, rights, s.shipped(), "run", "--log-level", "debug",
		"--config", s.config, "--run-dir", s.runDir(), "--state-dir", s.stateDir()))
	d.ready(t)
	return d
}

// G2: no other process may look into the daemon: not of a build that may use
// its keys, not of somebody else, not even one of the daemon's own user.
func TestG2NobodyLooksIntoTheDaemon(t *testing.T) {
	t.Parallel()
	s := guardedSite(t)
	d := s.guarded(t, noRights)
	for who, uid := range map[string]uint32{"a listed user": listedUID, "another user": otherUID, "the daemon's own user": daemonUID} {
		found := s.peek(t, uid, d.cmd.Process.Pid)
		if len(found.Target) < 25 || len(found.Target) != len(found.Own) {
			t.Errorf("%s tried only %v", who, found.Target)
		}
		for what, said := range found.Target {
			if said != "refused" {
				t.Errorf("%s: %s is not refused: %q", who, what, said)
			}
		}
		for what, said := range found.Own {
			onlyRoot := strings.HasSuffix(what, "stack") // proc_pid_stack(5)
			if said != "" && !onlyRoot {
				t.Errorf("%s: %s of a process of his own says %q: this test proves nothing about it", who, what, said)
			}
		}
	}
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// Without the right to lock memory the daemon runs, and says so.
func TestG2UnlockedMemoryIsToldInTheStatus(t *testing.T) {
	t.Parallel()
	s := guardedSite(t)
	d := s.guarded(t, noRights)
	told := func(w string) bool {
		return strings.Contains(w, "memory is not locked") && strings.Contains(w, "LimitMEMLOCK=infinity") && strings.Contains(w, "swap is o")
	}
	status := d.status(t)
	if !slices.ContainsFunc(status.Warnings, told) || !told(d.log.String()) {
		t.Errorf("warnings %q", status.Warnings)
	}
	if n := processStatus(t, d.cmd.Process.Pid, "VmLck"); n != 0 {
		t.Errorf("%d KiB are locked", n)
	}
	if code, _, stderr := s.do(t, "verify"); code != 0 { // another round of git and garbage
		t.Errorf("verify: exit status %d: %s", code, stderr)
	}
	if code := d.terminate(t); code != 0 || len(s.keys()) != 0 {
		t.Errorf("exit status %d, keys %v", code, s.keys())
	}
}

// quiet fails if the daemon warns of anything about its memory.
func quiet(t *testing.T, status agent.Status) {
	t.Helper()
	for _, w := range status.Warnings {
		if strings.Contains(w, "memory") || strings.Contains(w, "dump") || strings.Contains(w, "core") {
			t.Errorf("warning: %s", w)
		}
	}
}
