package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"deploykeyd/agent/config"
	"deploykeyd/provision"
)

// hostKey is some server's public key.
const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ/pQ1nFZ3RyFWtY3TlY2dpGDXYKmjFo9KRPVvzl0OnR"

func publicKey(t *testing.T, line string) provision.PublicKey {
	t.Helper()
	k, err := provision.ParsePublicKey(line)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func diff(want, got any) string {
	return cmp.Diff(want, got, cmpopts.IgnoreUnexported(config.Config{}), cmpopts.EquateComparable(provision.PublicKey{}))
}

func TestExample(t *testing.T) {
	got, err := config.Parse("example", []byte(config.Example()))
	if err != nil {
		t.Fatal(err)
	}
	lineOf := func(text string) int {
		before, _, found := strings.Cut(config.Example(), text)
		if !found {
			t.Fatalf("%q is not in the example", text)
		}
		return strings.Count(before, "\n") + 1
	}
	want := config.Config{
		Fleet: "ci-prod",
		Users: []string{"jenkins"},
		Forges: []config.Forge{{
			Name:     "forge",
			Kind:     provision.Gitea,
			URL:      "https://git.example.com",
			SSH:      provision.SSHAddress{User: "git", Host: "git.example.com", Port: 2222},
			HostKeys: got.Forges[0].HostKeys,
			Token:    config.CredentialRef{File: "/etc/deploykeyd/forge.token", Line: lineOf("token: {file: /etc/deploykeyd/forge.")},
			Bind:     config.BindPrefer,
			Repositories: []config.RepositoryEntry{
				{Repository: "acme/api", Access: provision.Read, Line: lineOf("- acme/api")},
				{Repository: "acme/releases", Access: provision.Write, Line: lineOf("acme/releases")},
			},
			Line: lineOf("- name: forge"),
		}, {
			Name:         "github",
			Kind:         provision.GitHub,
			URL:          "https://api.github.com",
			SSH:          provision.SSHAddress{User: "git", Host: "github.com", Port: 22},
			Token:        config.CredentialRef{File: "/etc/deploykeyd/github.token", Line: lineOf("github.token")},
			Bind:         config.BindPrefer,
			Repositories: []config.RepositoryEntry{{Repository: "acme/web", Access: provision.Read, Line: lineOf("acme/web")}},
			Line:         lineOf("- name: github"),
		}, {
			Name:         "cloud",
			Kind:         provision.BitbucketCloud,
			URL:          "https://api.bitbucket.org",
			SSH:          provision.SSHAddress{User: "git", Host: "bitbucket.org", Port: 22},
			Username:     "ci@example.com",
			Token:        config.CredentialRef{File: "/etc/deploykeyd/bitbucket.token", Line: lineOf("bitbucket.token")},
			Bind:         config.BindPrefer,
			Repositories: []config.RepositoryEntry{{Repository: "acme/legacy", Access: provision.Read, Line: lineOf("acme/legacy")}},
			Line:         lineOf("- name: cloud"),
		}},
		Key:      config.Key{Type: "ed25519", Expire: 24 * time.Hour},
		Ready:    config.ReadyAll,
		Shutdown: config.Shutdown{Timeout: 25 * time.Second},
	}
	if d := diff(want, got); d != "" {
		t.Errorf("example (-want +got):\n%s", d)
	}
	if len(got.Forges[0].HostKeys) != 1 {
		t.Errorf("host keys %v, want one", got.Forges[0].HostKeys)
	}
}

// TestEveryField sets each field to something other than its default, as JSON,
// which is YAML too.
func TestEveryField(t *testing.T) {
	got, err := config.Parse("all", []byte(`{
  "fleet": "f", "machine": "m.1", "users": ["jenkins", 1001, "ci@corp.example"], "groups": ["ci", 0, 4294967294], "ready": "any",
  "key": {"type": "rsa-3072", "expire": "1d12h"}, "shutdown": {"timeout": "1m"},
  "forges": [{
    "name": "a_b", "kind": "gitea", "url": "HTTP://Git.TEST:80/forge/", "ssh": "ssh://forgejo@SSH.git.test", "register": "boot", "bind": "require", "sockets": "repository",
    "host_keys": ["`+hostKey+` comment"], "credential": {"token": {"env": "FORGE_TOKEN"}},
    "repositories": [{"repository": "acme/api"}]
  }]
}`))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		Fleet: "f", Machine: "m.1", Users: []string{"jenkins", "1001", "ci@corp.example"}, Groups: []string{"ci", "0", "4294967294"},
		Forges: []config.Forge{{
			Name: "a_b", Kind: provision.Gitea, URL: "http://git.test/forge",
			SSH:          provision.SSHAddress{User: "forgejo", Host: "ssh.git.test", Port: 22},
			HostKeys:     []provision.PublicKey{publicKey(t, hostKey)},
			Token:        config.CredentialRef{Env: "FORGE_TOKEN", Line: 6},
			Bind:         config.BindRequire,
			Sockets:      true,
			Repositories: []config.RepositoryEntry{{Repository: "acme/api", Access: provision.Read, Line: 7}},
			Line:         4,
		}},
		Key:      config.Key{Type: "rsa-3072", Expire: 36 * time.Hour},
		Ready:    config.ReadyAny,
		Shutdown: config.Shutdown{Timeout: time.Minute},
	}
	if d := diff(want, got); d != "" {
		t.Errorf("config (-want +got):\n%s", d)
	}
}

// entry returns a configuration with one forge entry of these lines.
func entry(lines ...string) []byte {
	return []byte("fleet: ci\nusers: [a]\nforges:\n  - name: x\n    " + strings.Join(lines, "\n    ") + "\n")
}

func TestGroupsAlone(t *testing.T) {
	text := strings.Replace(string(entry("kind: github", "credential: {token: {env: T}}", "repositories: [a/b]")), "users: [a]", "users: []\ngroups: [ci]", 1)
	got, err := config.Parse("x", []byte(text))
	if err != nil || len(got.Users) != 0 || len(got.Groups) != 1 || got.Groups[0] != "ci" {
		t.Errorf("users %q, groups %q, error %v", got.Users, got.Groups, err)
	}
}

// TestLongestFleet holds the limit against what an owner tag has room for.
func TestLongestFleet(t *testing.T) {
	text := entry("kind: github", "credential: {token: {env: T}}", "repositories: [a/b]")
	for length, fine := range map[int]bool{198: true, 199: false} {
		fleet := strings.Repeat("f", length)
		_, err := config.Parse("x", []byte(strings.Replace(string(text), "fleet: ci", "fleet: "+fleet, 1)))
		_, tagErr := provision.NewOwnerTag(fleet, strings.Repeat("m", 255), provision.PublicKey{}, time.Time{}, 255)
		if fine != (err == nil) || fine != (tagErr == nil) {
			t.Errorf("%d: %v, and as a tag %v", length, err, tagErr)
		}
	}
}

func TestAddresses(t *testing.T) {
	const keys = "host_keys: [" + hostKey + "]"
	const token = "credential: {token: {env: T}}"
	const repos = "repositories: [a/b]"
	for _, c := range []struct {
		name string
		text []byte
		url  string
		ssh  string
	}{
		{"default port of https", entry("kind: gitea", "url: https://git.example.com:443", keys, token, repos), "https://git.example.com", "ssh://git@git.example.com:22"},
		{"own port", entry("kind: gitea", "url: https://git.example.com:3000/", keys, token, repos), "https://git.example.com:3000", "ssh://git@git.example.com:22"},
		{"folder", entry("kind: gitea", "url: https://git.example.com/a/b/", keys, token, repos), "https://git.example.com/a/b", "ssh://git@git.example.com:22"},
		{"loopback", entry("kind: gitea", "url: http://127.0.0.2:3000", keys, token, repos), "http://127.0.0.2:3000", "ssh://git@127.0.0.2:22"},
		{"loopback of IPv6", entry("kind: gitea", `url: "http://[::1]:3000"`, "ssh: ssh://localhost:2222", keys, token, repos), "http://[::1]:3000", "ssh://git@localhost:2222"},
		{"localhost", entry("kind: github", "url: http://localhost:3000", keys, token, repos), "http://localhost:3000", "ssh://git@localhost:22"},
		{"enterprise server", entry("kind: github", "url: https://github.example.com", keys, token, repos), "https://github.example.com", "ssh://git@github.example.com:22"},
		{"default spelled out", entry("kind: github", "url: https://api.github.com/", token, repos), "https://api.github.com", "ssh://git@github.com:22"},
		{"SSH over port 443", entry("kind: github", "ssh: ssh://git@ssh.github.com:443", token, repos), "https://api.github.com", "ssh://git@ssh.github.com:443"},
		{"stand-in for Bitbucket", entry("kind: bitbucket-cloud", "url: http://bitbucket-cloud.test:8080", keys, "credential: {username: a@b.c, token: {env: T}}", repos), "http://bitbucket-cloud.test:8080", "ssh://git@bitbucket-cloud.test:22"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := config.Parse("x", c.text)
			if err != nil {
				t.Fatal(err)
			}
			f := got.Forges[0]
			if f.URL != c.url || f.SSH.String() != c.ssh {
				t.Errorf("url %s, ssh %s; want %s, %s", f.URL, f.SSH, c.url, c.ssh)
			}
		})
	}
}

// TestUnreadableText has what a file that is text cannot show.
func TestUnreadableText(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"latin-1", "fleet: ci\nmachine: caf\xe9\n", "line 2, column 13: a byte here is not valid UTF-8"},
		{"UTF-16", "\xff\xfef\x00", "line 1, column 1: a byte here is not valid UTF-8"},
		{"zero byte", "fleet: ci\n\x00", "line 2, column 1: the character U+0000 is not allowed"},
		{"escape character", "fleet: \x1b[31mci\n", "line 1, column 8: the character U+001B is not allowed"},
		{"line separator", "fleet: ci\u2028users: [a]\n", "line 1, column 10: the character U+2028 is not allowed"},
		{"lone carriage return", "fleet: ci\rusers: [a]\n", "line 1, column 10: the character U+000D is not allowed"},
		{"open bracket at the end", "fleet: {", "line 1, column 9: the text is not YAML from here on"},
		{"too deep for the reader", "fleet: " + strings.Repeat("[", 20000), "too deeply nested"},
		{"too large", "#" + strings.Repeat(" ", config.MaxSize), "the file has more than 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.Parse("x", []byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestWindowsText(t *testing.T) {
	text := "\ufeff" + strings.ReplaceAll(config.Example(), "\n", "\r\n")
	if _, err := config.Parse("x", []byte(text)); err != nil {
		t.Error(err)
	}
	_, err := config.Parse("x", []byte(strings.Replace(text, "fleet:", "flete:", 1)))
	if err == nil || !strings.Contains(err.Error(), "| flete: [redacted]\n") {
		t.Errorf("error %v", err)
	}
}

// TestManyProblems shows that a hopeless file costs little and says so.
func TestManyProblems(t *testing.T) {
	_, err := config.Parse("x", []byte("["+strings.Repeat("{a: &b !c 1},", 50000)+"]"))
	problems, ok := errors.AsType[*config.Problems](err)
	if !ok || len(problems.List) != 100 || !strings.HasPrefix(err.Error(), "x: 100 problems, and perhaps more\n") {
		t.Errorf("%d problems, error %.80v", len(problems.List), err)
	}
}

func TestRefuse(t *testing.T) {
	text := entry("kind: gitea", "url: https://git.example.com", "host_keys: ["+hostKey+"]", "credential:", "  token: {file: /etc/t} # was "+secret, "repositories: [a/b]")
	c, err := config.Parse("/etc/d.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Refuse(); err != nil {
		t.Errorf("no problem is refused: %v", err)
	}
	err = c.Refuse(
		config.Problem{Line: c.Forges[0].Token.Line, Column: 7, Path: "forges[0].credential.token", Text: "others may read /etc/t", Fix: "chmod 600 /etc/t"},
		config.Problem{Text: "this machine has no name", Fix: "add machine: NAME"},
	)
	want := `/etc/d.yaml: 2 problems

this machine has no name
  fix: add machine: NAME

line 9, column 7: forges[0].credential.token: others may read /etc/t
  9 |       token: [redacted]
    |       ^
  fix: chmod 600 /etc/t`
	if d := cmp.Diff(want, err.Error()); d != "" {
		t.Errorf("error (-want +got):\n%s", d)
	}
	text = entry("kind: bitbucket-cloud", "host_keys: ["+hostKey+" "+secret+"]", "credential: {username: "+secret+", token: {env: T}}", "repositories: [a/b]")
	if c, err = config.Parse("x", text); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Count(string(text), "\n") {
		if err := c.Refuse(config.Problem{Line: line + 1, Text: "x"}); strings.Contains(err.Error(), secret) {
			t.Errorf("the secret is shown: %v", err)
		}
	}
	if err := (config.Config{}).Refuse(config.Problem{Line: 1, Text: "x"}); err == nil || !strings.Contains(err.Error(), "line 1, column 1: x") {
		t.Errorf("without a text: %v", err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "deploykeyd.yaml")

	_, err := config.Load(path)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "config example") {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte(config.Example()), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := config.Load(path); err != nil || c.Fleet != "ci-prod" {
		t.Errorf("fleet %q, error %v", c.Fleet, err)
	}
	if err := os.WriteFile(path, make([]byte, 2*config.MaxSize), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(path); err == nil || !strings.HasPrefix(err.Error(), path+": 1 problem\n") {
		t.Errorf("large file: %v", err)
	}
	if _, err := config.Load(dir); err == nil {
		t.Error("a folder was read")
	}
}
