package main_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"deploykeyd/agent"
)

// What already lies where the daemon wants to be.

func TestSecondDaemonIsRefused(t *testing.T) {
	t.Parallel()
	s, d := readySite(t)
	code, _, stderr := s.do(t, "run")
	if code != 1 || !strings.Contains(stderr, "in use by another process") || !strings.Contains(stderr, "next:") {
		t.Errorf("exit status %d: %s", code, stderr)
	}
	if code := d.terminate(t); code != 0 {
		t.Errorf("the first daemon: exit status %d", code)
	}
}

// A directory that another user prepared is refused: he could exchange the ssh
// configuration of a proof, and with it what the daemon runs.
func TestForeignDirectoriesAreRefused(t *testing.T) {
	t.Parallel()
	for _, prepare := range []func(s *site) (string, os.FileMode, int){
		func(s *site) (string, os.FileMode, int) { return s.runDir(), 0o777, 0 },
		func(s *site) (string, os.FileMode, int) { return s.runDir(), 0o755, otherUID },
		func(s *site) (string, os.FileMode, int) { return s.stateDir(), 0o755, 0 },
	} {
		s := newSite(t)
		path, mode, owner := prepare(s)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Chmod(path, mode), os.Chown(path, owner, owner)); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := s.do(t, "run")
		if code != 1 || !strings.Contains(stderr, path) || !strings.Contains(stderr, "not safe") {
			t.Errorf("%s with mode %o of uid %d: exit status %d: %s", path, mode, owner, code, stderr)
		}
	}
}

func TestSocketPathTaken(t *testing.T) {
	t.Parallel()
	t.Run("by a living process", func(t *testing.T) {
		s := newSite(t)
		if err := os.Mkdir(s.runDir(), 0o755); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", filepath.Join(s.runDir(), "agent.sock")) //nolint:noctx // a test's own socket
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		code, _, stderr := s.do(t, "run")
		if code != 1 || !strings.Contains(stderr, "agent.sock") || !strings.Contains(stderr, "next:") {
			t.Errorf("exit status %d: %s", code, stderr)
		}
	})
	t.Run("by a file", func(t *testing.T) {
		s := newSite(t)
		if err := os.Mkdir(s.runDir(), 0o755); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(s.runDir(), "agent.sock")
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := s.do(t, "run")
		if code != 1 || !strings.Contains(stderr, "agent.sock") {
			t.Errorf("exit status %d: %s", code, stderr)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
			t.Errorf("the file is %q now, %v", text, err)
		}
	})
	t.Run("by a dead socket", func(t *testing.T) {
		s := newSite(t)
		d := s.start(t)
		d.ready(t)
		d.signal(t, syscall.SIGKILL)
		d.exit(t)
		d = s.start(t)
		d.ready(t)
		if code := d.terminate(t); code != 0 {
			t.Errorf("exit status %d", code)
		}
	})
}

func TestJournalThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name  string
		spoil func([]byte) []byte
		says  string
	}{
		{"truncated", func(b []byte) []byte { return b[:len(b)/2] }, "damaged"},
		{"of a newer schema", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("schema1"), []byte("schema9")) }, "newer"},
		{"not a journal", func([]byte) []byte { return bytes.Repeat([]byte("not a journal. "), 4000) }, "damaged"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			d := s.start(t)
			d.ready(t)
			d.terminate(t)
			text, err := os.ReadFile(s.journal())
			if err != nil {
				t.Fatal(err)
			}
			spoilt := c.spoil(text)
			if err := os.WriteFile(s.journal(), spoilt, 0o600); err != nil {
				t.Fatal(err)
			}
			for command, want := range map[string]int{"run": 1, "revoke": 3, "status": 1} {
				code, _, stderr := s.do(t, command)
				if code != want || !strings.Contains(stderr, c.says) || !strings.Contains(stderr, "next:") {
					t.Errorf("%s: exit status %d, want %d: %s", command, code, want, stderr)
				}
			}
			if now, err := os.ReadFile(s.journal()); err != nil || !bytes.Equal(now, spoilt) {
				t.Error("the file was touched")
			}
		})
	}
}

// A copied disk: the other machine's records are set aside, its keys untouched.
func TestJournalOfAnotherMachineIsSetAside(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first := s.start(t)
	first.ready(t)
	first.signal(t, syscall.SIGKILL)
	first.exit(t)
	before, err := os.ReadFile(s.journal())
	if err != nil {
		t.Fatal(err)
	}

	s.rewrite(t, "machine: m1", "machine: m2")
	second := s.start(t)
	second.ready(t)
	status := second.status(t)
	if len(status.Warnings) == 0 || !strings.Contains(status.Warnings[0], "another machine") {
		t.Errorf("warnings %q", status.Warnings)
	}
	aside, err := filepath.Glob(s.journal() + ".of-*")
	if err != nil || len(aside) != 1 {
		t.Fatalf("set aside: %v, %v", aside, err)
	}
	if now, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(now, before) {
		t.Error("the other machine's journal was touched")
	}
	for where, n := range s.keys() {
		if n != 2 {
			t.Errorf("%s has %d keys, want the other machine's and ours", where, n)
		}
	}
	if code := second.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	for where, n := range s.keys() {
		if n != 1 {
			t.Errorf("%s has %d keys, want the other machine's", where, n)
		}
	}
}

func TestConfigurationChangedBetweenRuns(t *testing.T) {
	t.Parallel()
	s := crashedSite(t)
	s.rewrite(t, "      - acme/web\n", "")
	s.rewrite(t, "fleet: test", "fleet: other")
	s.rewrite(t, "name: gitea", "name: teapot")
	second := s.start(t)
	second.ready(t)
	want := onePerPlan()
	for _, k := range []string{"gitea", "github", "bitbucket-cloud"} {
		delete(want, k+" acme/web")
	}
	second.until(t, "the first life is settled", func(st agent.Status) bool { return len(st.Remaining) == 0 })
	got := s.keys()
	for where, n := range want {
		if got[where] != n {
			t.Errorf("%s has %d keys, want %d", where, got[where], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("keys: %v", got)
	}
	if code := second.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// A disk without room for a journal: told before anything is registered. What a
// disk that fills up later does is tested at the journal and the life cycle.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if err := os.Mkdir(s.stateDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	run := s.program(t.Context(), "run")
	script := `mount --make-rprivate / && mount -t tmpfs -o size=4k,mode=700 tmpfs "$0" && echo full >"$0/filler" && exec "$@"`
	c := exec.CommandContext(t.Context(), "unshare", append([]string{"-m", "sh", "-c", script, s.stateDir()}, run.Args...)...)
	c.Env = run.Env
	code, _, stderr := finish(t, c)
	if code != 1 || !strings.Contains(stderr, "no space left on device") || !strings.Contains(stderr, "next:") {
		t.Errorf("exit status %d: %s", code, stderr)
	}
	if keys := s.keys(); len(keys) != 0 {
		t.Errorf("keys: %v", keys)
	}
}
