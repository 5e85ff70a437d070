package verify_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/hostkey"
	"deploykeyd/provision/sshconfig"
	"deploykeyd/provision/verify"
)

// childEnv makes the test program prove with the git that lies in that folder.
const childEnv = "DEPLOYKEYD_TEST_PROVE"

func TestMain(m *testing.M) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		m.Run()
		return
	}
	p, err := verify.New(verify.Options{Dir: dir, Git: filepath.Join(dir, "git"), SSH: "sh"})
	if err != nil {
		panic(err)
	}
	_, err = p.Prove(context.Background(), verify.Request{
		Host: sshconfig.Host{Forge: "hub", SSH: provision.SSHAddress{User: "git", Host: "github.com", Port: 22}, Pins: hostkey.BuiltIn("github.com")},
		Kind: provision.GitHub, Repository: "acme/app", AgentSocket: "/nowhere", Signed: func() int { return 0 },
	})
	panic(err)
}

// TestKilledProverLeavesNoGit kills a process amid a proof, and the next one
// cleans up after it.
func TestKilledProverLeavesNoGit(t *testing.T) {
	dir := t.TempDir()
	started := filepath.Join(dir, "started")
	script := "#!/bin/sh\necho $$ >" + started + ".new\nmv " + started + ".new " + started + "\nexec sleep 600\n"
	if err := os.WriteFile(filepath.Join(dir, "git"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	prover := exec.CommandContext(t.Context(), exe)
	prover.Env = append(os.Environ(), childEnv+"="+dir)
	if err := prover.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "git runs", func() bool { _, err := os.Stat(started); return err == nil })
	pid, err := os.ReadFile(started)
	if err != nil {
		t.Fatal(err)
	}
	process := filepath.Join("/proc", strings.TrimSpace(string(pid)), "cmdline")
	// While a process is being executed its command line is empty.
	until(t, "git goes on as sleep", func() bool { line, err := os.ReadFile(process); return err == nil && len(line) > 0 })
	if err := prover.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = prover.Wait()
	until(t, "git has ended", func() bool { line, err := os.ReadFile(process); return err != nil || len(line) == 0 })

	if left := leftovers(t, dir); len(left) != 1 {
		t.Fatalf("left by the killed one: %v", left)
	}
	if err := verify.Clean(dir); err != nil {
		t.Error(err)
	}
	if left := leftovers(t, dir); len(left) != 0 {
		t.Errorf("after cleaning up: %v", left)
	}
	if _, err := os.Stat(started); err != nil {
		t.Errorf("cleaned up too much: %v", err)
	}
}

func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "deploykeyd-verify-*"))
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// until waits for another process.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick, end := time.NewTicker(5*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: it did not come to that", what)
		}
	}
}

func TestCleanFollowsNoLink(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "file")
	if err := errors.Join(os.WriteFile(outside, nil, 0o600),
		os.Symlink(filepath.Dir(outside), filepath.Join(dir, "deploykeyd-verify-1"))); err != nil {
		t.Fatal(err)
	}
	if err := verify.Clean(dir); err != nil {
		t.Error(err)
	}
	if left := leftovers(t, dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("a link was followed: %v", err)
	}
	if err := verify.Clean(filepath.Join(dir, "missing")); err != nil {
		t.Error(err)
	}
	if err := verify.Clean(outside); err == nil {
		t.Error("a file was cleaned up")
	}
}
