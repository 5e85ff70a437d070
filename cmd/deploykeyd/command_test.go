package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"deploykeyd/provision"
)

// What a person meets at the command line, without a daemon.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	s := &site{dir: t.TempDir()}
	s.config = filepath.Join(s.dir, "deploykeyd.yaml")
	cases := []struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		{[]string{}, 0, "Exit status:", ""},
		{[]string{"--help"}, 0, "deploykeyd wait --timeout", ""},
		{[]string{"version"}, 0, "deploykeyd dev go", ""},
		{[]string{"nosuch"}, 2, "", `unknown command "nosuch"`},
		{[]string{"run", "--nosuch"}, 2, "", "see deploykeyd run --help"},
		{[]string{"run", "extra"}, 2, "", "extra"},
		{[]string{"run", "--log-level", "loud"}, 2, "", "debug, info, warn or error"},
		{[]string{"run"}, 2, "", "config example"},
		{[]string{"config", "check"}, 2, "", "config example"},
		{[]string{"config", "nosuch"}, 2, "", "nosuch"},
		{[]string{"config", "example"}, 0, "fleet:", ""},
		{[]string{"wait", "--timeout", "300ms"}, 4, "", "not running"},
		{[]string{"status"}, 1, "stopped", "deploykeyd run"},
		{[]string{"status", "--json"}, 1, `"phase": "stopped"`, "not running"},
		{[]string{"verify"}, 1, "", "not running"},
		{[]string{"revoke"}, 0, "nothing to revoke: there is no journal", ""},
	}
	for _, c := range cases {
		status, stdout, stderr := s.do(t, c.args...)
		if status != c.status || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
			t.Errorf("deploykeyd %s: exit status %d, want %d\nstdout: %s\nstderr: %s", strings.Join(c.args, " "), status, c.status, stdout, stderr)
		}
	}
	if entries, err := os.ReadDir(s.dir); err != nil || len(entries) != 0 {
		t.Errorf("commands without a daemon left %v behind", entries)
	}
}

func TestConfigCheckTellsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if status, stdout, stderr := s.do(t, "config", "check"); status != 0 || !strings.Contains(stdout, "8 repositories on 3 forges") {
		t.Fatalf("exit status %d: %s%s", status, stdout, stderr)
	}
	s.rewrite(t, "kind: github", "kind: githab")
	s.rewrite(t, "fleet: test", "fleet: test\nsweep: {every: 1h}")
	s.rewrite(t, "      username:", "      usrname:")
	status, _, stderr := s.do(t, "config", "check")
	if status != 2 {
		t.Errorf("exit status %d", status)
	}
	for _, words := range []string{"githab", "github", "sweep", "username"} {
		if !strings.Contains(stderr, words) {
			t.Errorf("%q is not in:\n%s", words, stderr)
		}
	}
}

func TestCredentialFileProblemsAreToldWithTheirLines(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if err := os.Chmod(filepath.Join(s.dir, "gitea.token"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.dir, "github.token")); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"config", "check"}, {"run"}} {
		status, _, stderr := s.do(t, command...)
		if status != 2 || !strings.Contains(stderr, "gitea.token") || !strings.Contains(stderr, "chmod") || !strings.Contains(stderr, "github.token") {
			t.Errorf("%v: exit status %d: %s", command, status, stderr)
		}
		if !strings.Contains(stderr, "token: [redacted]") {
			t.Errorf("%v: no excerpt in: %s", command, stderr)
		}
		for _, f := range s.sim.Forges() {
			if _, token := f.Credential(); strings.Contains(stderr, token) {
				t.Errorf("%v: the credential is printed", command)
			}
		}
	}
}

// A leaked host key is not accepted as a pin, whoever configures it.
func TestG3RetiredHostKeyIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	key := s.sim.Forge(provision.GitHub).HostKeys()[0]
	// Bitbucket's RSA key that was withdrawn in 2023 (bitbucket.org/site/ssh).
	s.rewrite(t, key, "ssh-rsa AAAAB3NzaC1yc2EAAAABIwAAAQEAubiN81eDcafrgMeLzaFPsw2kNvEcqTKl/VqLat/MaB33pZy0y3rJZtnqwR2qOOvbwKZYKiEO1O6VqNEBxKvJJelCq0dTXWT5pbO2gDXC6h6QDXCaHo6pOHGPUy+YBaGQRGuSusMEASYiWunYN0vCAI8QaXnWMXNMdFP3jHAJH0eDsoiGnLPBlBp4TNm6rYI74nMzgz3B9IikW4WVK+dc8KZJZWYjAuORU3jc1c/NPskD2ASinf8v3xnfXeukU0sJ5N6m5E8VLjObPEO+mN2t/FZTMZLiFqPWc/ALSqnMnnhwrNi2rbfg/rd/IpL8Le3pSBne8+seeFVBoGqzHM9yXw==")
	for _, command := range [][]string{{"config", "check"}, {"run"}, {"ssh-config"}} {
		code, stdout, stderr := s.do(t, command...)
		if code != 2 || !strings.Contains(stderr, "retired") || stdout != "" {
			t.Errorf("%v: exit status %d: %s%s", command, code, stdout, stderr)
		}
	}
}
