package main_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"deploykeyd/agent/key/keyscan"
	"deploykeyd/provision"
)

// G2, G8: a daemon that crashes leaves no core, although its limits would allow
// one, and what it says while it dies has no part of a key or a credential.
func TestG2NoCore(t *testing.T) {
	t.Parallel()
	began := time.Now().Add(-time.Minute)
	s := guardedSite(t)
	s.coresAreMade(t)
	for _, signal := range []syscall.Signal{syscall.SIGABRT, syscall.SIGQUIT, syscall.SIGSEGV} {
		d := s.guarded(t, noRights)
		blob := s.sim.Forge(provision.Gitea).AllKeys()[0].Key.Blob()
		secret, err := keyscan.Extract(d.cmd.Process.Pid, blob)
		if err != nil {
			t.Fatal(err)
		}
		d.signal(t, signal)
		d.exit(t)
		if died, ok := d.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !died.Signaled() || died.CoreDump() {
			t.Errorf("%v: the daemon ended with %v", signal, d.cmd.ProcessState)
		}
		if left, err := os.ReadDir(s.cores()); err != nil || len(left) != 0 {
			t.Errorf("%v: left behind: %v, %v", signal, left, err)
		}
		said := d.log.String()
		if !strings.Contains(said, "goroutine ") {
			t.Errorf("%v: no traceback in %s", signal, said)
		}
		s.tellsNothing(t, said, secret)
		if report, err := keyscan.Search(t.Context(), s.dir, began, secret); err != nil || len(report.Hits) != 0 {
			t.Errorf("%v: %+v, %v", signal, report, err)
		}
	}
	revoke := s.unprivileged(t, fewLocked, noRights, s.shipped(), "revoke",
		"--config", s.config, "--run-dir", s.runDir(), "--state-dir", s.stateDir())
	if code, _, stderr := finish(t, revoke); code != 0 || len(s.keys()) != 0 {
		t.Errorf("revoke: exit status %d, keys %v: %s", code, s.keys(), stderr)
	}
}

// coresAreMade proves that the same program, in a command that guards nothing,
// leaves a core here.
func (s *site) coresAreMade(t *testing.T) {
	t.Helper()
	c := s.unprivileged(t, fewLocked, noRights, s.shipped(), "wait", "--timeout", "60s", "--run-dir", filepath.Join(s.dir, "none"))
	d := s.launch(t, c)
	awaitProgram(t, d)
	d.signal(t, syscall.SIGABRT)
	d.exit(t)
	if died, ok := d.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !died.CoreDump() {
		t.Fatalf("a process that nothing guards leaves no core here: it ended with %v. Set kernel.core_pattern", d.cmd.ProcessState)
	}
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(s.cores())
	if err != nil {
		t.Fatal(err)
	}
	if len(left) == 0 && !bytes.ContainsAny(pattern, "|/@") {
		t.Fatalf("the core is not in %s: kernel.core_pattern is %s", s.cores(), pattern)
	}
	for _, e := range left {
		if err := os.Remove(filepath.Join(s.cores(), e.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitProgram waits until the wrappers of a command have given way to the
// program, and that handles its signals.
func awaitProgram(t *testing.T, d *daemon) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		exe, err := os.Readlink(filepath.Join("/proc", itoa(d.cmd.Process.Pid), "exe"))
		if err == nil && exe == d.site.shipped() {
			text, err := os.ReadFile(filepath.Join("/proc", itoa(d.cmd.Process.Pid), "status"))
			if _, caught, _ := strings.Cut(string(text), "SigCgt:"); err == nil && strings.TrimSpace(caught)[:16] != strings.Repeat("0", 16) {
				return
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the program did not start")
		}
	}
}

// tellsNothing fails if a text has a credential, or a part of a key: as text, or
// as one of the numbers of a traceback.
func (s *site) tellsNothing(t *testing.T, text string, secret *keyscan.Secret) {
	t.Helper()
	for _, f := range s.sim.Forges() {
		if _, token := f.Credential(); strings.Contains(text, token) {
			t.Errorf("the credential of %s is told", f.Kind())
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "text"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if report, err := keyscan.Search(t.Context(), dir, time.Time{}, secret); err != nil || len(report.Hits) != 0 {
		t.Errorf("a part of the key is told: %+v, %v", report, err)
	}
	for words := secret.Raw(); len(words) > 0; words = words[8:] {
		if strings.Contains(text, fmt.Sprintf("%x", binary.LittleEndian.Uint64(words))) {
			t.Error("a word of the key is told")
		}
	}
}

// G1: no file holds any part of a private key after two lives, the first of
// which was killed, and the journal that was carried over.
func TestG1NothingIsLeftOfALifeWithACrash(t *testing.T) {
	t.Parallel()
	began := time.Now().Add(-time.Minute)
	s := newSite(t)
	var secrets []*keyscan.Secret
	extract := func(d *daemon) {
		for _, f := range s.sim.Forges() {
			for _, k := range f.AllKeys() {
				if secret, err := keyscan.Extract(d.cmd.Process.Pid, k.Key.Blob()); err == nil {
					secrets = append(secrets, secret)
				}
			}
		}
	}
	first := s.start(t)
	first.ready(t)
	extract(first)
	first.signal(t, syscall.SIGKILL)
	first.exit(t)
	second := s.start(t)
	second.ready(t)
	extract(second)
	if code := second.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if len(secrets) < 10 { // five keys a life, of eight registrations
		t.Fatalf("only %d keys were found in memory", len(secrets))
	}
	for _, root := range []string{s.dir, os.TempDir(), "/var", "/run", "/dev/shm", "/root", "/etc"} {
		if report, err := keyscan.Search(t.Context(), root, began, secrets...); err != nil || len(report.Hits) != 0 {
			t.Errorf("%s: %+v, %v", root, report, err)
		}
	}
}
