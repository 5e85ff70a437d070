package sshconfig_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/provision"
	"deploykeyd/provision/hostkey"
	"deploykeyd/provision/sshconfig"
)

func options(dir string) sshconfig.Options {
	return sshconfig.Options{AgentSocket: filepath.Join(dir, "agent.sock"), KnownHosts: filepath.Join(dir, "known_hosts")}
}

func host(t *testing.T, name string, port int) sshconfig.Host {
	t.Helper()
	s, _ := signer(t)
	return sshconfig.Host{
		Forge: name, SSH: provision.SSHAddress{User: "git", Host: name, Port: port}, Pins: []hostkey.Pin{pin(t, s.PublicKey())},
	}
}

func write(t *testing.T, hosts []sshconfig.Host, o sshconfig.Options) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(o.KnownHosts), "ssh_config")
	if _, err := sshconfig.Write(path, hosts, o); err != nil {
		t.Fatal(err)
	}
	return path
}

// effective returns what ssh makes of the config for a destination.
func effective(t *testing.T, config string, args ...string) map[string]string {
	t.Helper()
	out, err := run(t.Context(), t, "ssh", append([]string{"-G", "-F", config}, args...)...)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return parse(out)
}

// parse returns what ssh -G printed, by option.
func parse(out string) map[string]string {
	values := map[string]string{}
	for l := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(l), " ")
		values[name] = value
	}
	return values
}

func TestConfigText(t *testing.T) {
	hosts := []sshconfig.Host{host(t, "git.acme.example", 2222)}
	got, err := sshconfig.Config(hosts, sshconfig.Options{
		AgentSocket: "/run/deploykeyd/agent.sock", KnownHosts: "/etc/ssh/deploykeyd_known_hosts", Users: []string{"jenkins", "bamboo"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `# Written by deploykeyd ssh-config; changes made here are lost.
#
# ssh reads a user's own ~/.ssh/config before this file, and the first value that it
# finds for an option holds. Where that file sets one of these for a host below, or
# for "Host *", its value wins:
#   ControlMaster, ControlPath   a clone uses the login of an earlier one, which
#                                fails where each repository has a key of its own
#   ForwardAgent                 the forge's server can ask the agent for logins
#   IdentityAgent                another agent is asked, which has none of the keys
#   StrictHostKeyChecking, UserKnownHostsFile
#                                a server may show a host key that is not pinned
# As that user, "ssh -G HOST" prints the values that hold.
IgnoreUnknown KnownHostsCommand

Match originalhost git.acme.example localuser jenkins,bamboo
    HostName git.acme.example
    Port 2222
    HostKeyAlias [git.acme.example]:2222
    IdentityAgent /run/deploykeyd/agent.sock
    IdentityFile none
    IdentitiesOnly no
    PubkeyAuthentication yes
    PreferredAuthentications publickey
    HostbasedAuthentication no
    UserKnownHostsFile /etc/ssh/deploykeyd_known_hosts
    GlobalKnownHostsFile /dev/null
    KnownHostsCommand none
    StrictHostKeyChecking yes
    VerifyHostKeyDNS no
    UpdateHostKeys no
    ControlMaster no
    ControlPath none
    ForwardAgent no
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSSHReadsEveryOption(t *testing.T) {
	o := options(folder(t))
	path := write(t, []sshconfig.Host{host(t, "github.com", 22), host(t, "git.acme.example", 2222)}, o)
	got := effective(t, path, "git@git.acme.example")
	for name, want := range map[string]string{
		"hostname": "git.acme.example", "port": "2222", "hostkeyalias": "[git.acme.example]:2222",
		"identityagent": o.AgentSocket, "identityfile": "none", "identitiesonly": "no",
		"globalknownhostsfile": "/dev/null", "stricthostkeychecking": "true", "verifyhostkeydns": "false",
		"updatehostkeys": "false", "controlmaster": "false", "forwardagent": "no",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if _, set := got["controlpath"]; set {
		t.Errorf("controlpath is %q", got["controlpath"])
	}
	if got := effective(t, path, "git@github.com"); got["port"] != "22" || got["hostkeyalias"] != "github.com" {
		t.Errorf("github.com: %v", got)
	}
	if got := effective(t, path, "-p", "2200", "git@git.acme.example"); got["port"] != "2200" {
		t.Errorf("the port of a URL does not win: %q", got["port"])
	}
	if got := effective(t, path, "git@elsewhere.example"); got["identityagent"] == o.AgentSocket {
		t.Error("a block leads other hosts to the socket")
	}
}

func TestForgesThatShareAHostName(t *testing.T) {
	o := options(folder(t))
	one, two := host(t, "git.acme.example", 2222), host(t, "Git.Acme.example", 22)
	again := one // the same forge in two entries
	path := write(t, []sshconfig.Host{one, host(t, "github.com", 22), two, again}, o)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "Match "); n != 2 {
		t.Errorf("%d blocks, want 2:\n%s", n, text)
	}
	for port, want := range map[string]int{"22": 1, "2222": 1} {
		got := effective(t, path, "-p", port, "git.acme.example")
		if got["port"] != port || got["hostkeyalias"] != "" {
			t.Errorf("port %s: got port %s, alias %q", port, got["port"], got["hostkeyalias"])
		}
		name := "git.acme.example"
		if port != "22" {
			name = "[git.acme.example]:" + port
		}
		if n := found(t, o.KnownHosts, name); n != want {
			t.Errorf("%d keys are known for %s, want %d", n, name, want)
		}
	}
}

// found returns how many keys ssh-keygen finds for a name.
func found(t *testing.T, file, name string) int {
	t.Helper()
	out, _ := run(t.Context(), t, "ssh-keygen", "-F", name, "-f", file)
	return strings.Count(out, " ssh-ed25519 ")
}

func TestKnownHostsHasTheNamesThatTheBlocksLookFor(t *testing.T) {
	o := options(folder(t))
	hosts := []sshconfig.Host{host(t, "git.acme.example", 2222), {
		Forge: "hub", SSH: provision.SSHAddress{User: "git", Host: "github.com", Port: 22}, Pins: hostkey.BuiltIn("github.com"),
	}}
	path := write(t, hosts, o)
	for _, name := range []string{"git.acme.example", "github.com"} {
		alias := effective(t, path, name)["hostkeyalias"]
		if n := found(t, o.KnownHosts, alias); n != 1 {
			t.Errorf("%d ed25519 keys are known for %s", n, alias)
		}
	}
	if n := found(t, o.KnownHosts, "git.acme.example"); n != 0 {
		t.Error("a key of port 2222 counts for port 22")
	}
	out, err := run(t.Context(), t, "ssh-keygen", "-l", "-f", o.KnownHosts)
	if err != nil || strings.Count(out, "\n") != 4 {
		t.Errorf("ssh-keygen reads %v:\n%s", err, out)
	}
}

// TestSSHLogsIn has OpenSSH log in to two servers on one address, and in
// between to one whose host key is not the pinned one.
func TestSSHLogsIn(t *testing.T) {
	o := options(folder(t))
	userKey, private := signer(t)
	serveAgent(t, o.AgentSocket, private)
	var hosts []sshconfig.Host
	for range 2 {
		hostKey, _ := signer(t)
		at := serve(t, "127.0.0.1:0", hostKey, userKey.PublicKey())
		hosts = append(hosts, sshconfig.Host{Forge: "one", SSH: at, Pins: []hostkey.Pin{pin(t, hostKey.PublicKey())}})
	}
	login := func(config string, a provision.SSHAddress) (string, error) {
		return run(t.Context(), t, "ssh", "-F", config, "-o", "BatchMode=yes", "-p", fmt.Sprint(a.Port), "git@"+a.Host, "x")
	}
	for name, set := range map[string][]sshconfig.Host{"one port": hosts[:1], "two ports": hosts} {
		path := write(t, set, o)
		for _, h := range set {
			if out, err := login(path, h.SSH); err != nil || out != "hello" {
				t.Errorf("%s: %v: %s", name, err, out)
			}
		}
		wrong := append([]sshconfig.Host(nil), set...)
		other, _ := signer(t)
		wrong[0].Pins = []hostkey.Pin{pin(t, other.PublicKey())}
		path = write(t, wrong, o)
		if out, err := login(path, set[0].SSH); err == nil || !strings.Contains(out, "Host key verification failed") {
			t.Errorf("%s: a host key that is not pinned: %v: %s", name, err, out)
		}
	}
}

func TestRefuses(t *testing.T) {
	good := host(t, "git.acme.example", 22)
	socket, known := "/run/deploykeyd/agent.sock", "/etc/ssh/known"
	spoil := func(change func(*sshconfig.Host)) []sshconfig.Host {
		bad := good
		change(&bad)
		return []sshconfig.Host{good, bad}
	}
	for name, test := range map[string]struct {
		hosts         []sshconfig.Host
		socket, known string
	}{
		"no forge":             {nil, socket, known},
		"newline in the host":  {spoil(func(h *sshconfig.Host) { h.SSH.Host = "a\nProxyCommand id" }), socket, known},
		"pattern as host":      {spoil(func(h *sshconfig.Host) { h.SSH.Host = "*" }), socket, known},
		"space in the host":    {spoil(func(h *sshconfig.Host) { h.SSH.Host = "a exec id" }), socket, known},
		"port 0":               {spoil(func(h *sshconfig.Host) { h.SSH.Port = 0 }), socket, known},
		"odd user":             {spoil(func(h *sshconfig.Host) { h.SSH.User = "-oProxyCommand=id" }), socket, known},
		"no pin":               {spoil(func(h *sshconfig.Host) { h.Pins = nil }), socket, known},
		"empty pin":            {spoil(func(h *sshconfig.Host) { h.Pins = []hostkey.Pin{{}} }), socket, known},
		"relative socket":      {[]sshconfig.Host{good}, "agent.sock", known},
		"no socket":            {[]sshconfig.Host{good}, "", known},
		"newline in a path":    {[]sshconfig.Host{good}, socket, "/tmp/a\nProxyCommand id"},
		"quote in a path":      {[]sshconfig.Host{good}, socket, `/tmp/a"b`},
		"variable in a path":   {[]sshconfig.Host{good}, "/tmp/${HOME}/s", known},
		"backslash in a path":  {[]sshconfig.Host{good}, `/tmp/a\b`, known},
		"known_hosts relative": {[]sshconfig.Host{good}, socket, "known_hosts"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := sshconfig.Options{AgentSocket: test.socket, KnownHosts: test.known}
			if text, err := sshconfig.Config(test.hosts, o); err == nil {
				t.Errorf("rendered:\n%s", text)
			}
			if _, err := sshconfig.Write(filepath.Join(dir, "config"), test.hosts, o); err == nil {
				t.Error("written")
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by", "us")
	path, o := filepath.Join(dir, "50-deploykeyd.conf"), options(dir)
	hosts := []sshconfig.Host{host(t, "github.com", 22)}
	for n, want := range []bool{true, false} {
		if changed, err := sshconfig.Write(path, hosts, o); err != nil || changed != want {
			t.Fatalf("write %d: changed %v, %v", n, changed, err)
		}
	}
	for name, want := range map[string]fs.FileMode{dir: fs.ModeDir | 0o755, path: 0o644, o.KnownHosts: 0o644} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, want %v (%v)", name, info.Mode(), want, err)
		}
	}
	stamp := time.Unix(1, 0)
	if err := os.Chtimes(o.KnownHosts, stamp, stamp); err != nil {
		t.Fatal(err)
	}

	// Whatever somebody did to the file is undone; the other stays untouched.
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	for name, spoil := range map[string]func() error{
		"other text": func() error { return os.WriteFile(path, []byte("Host *\n"), 0o644) },
		"other mode": func() error { return os.Chmod(path, 0o666) },
		"a link": func() error {
			return errors.Join(os.WriteFile(elsewhere, []byte("keep"), 0o600), os.Remove(path), os.Symlink(elsewhere, path))
		},
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if changed, err := sshconfig.Write(path, hosts, o); err != nil || !changed {
			t.Errorf("%s: changed %v, %v", name, changed, err)
		}
		if info, err := os.Lstat(path); err != nil || info.Mode() != 0o644 {
			t.Errorf("%s: mode is %v (%v)", name, info.Mode(), err)
		}
	}
	if text, err := os.ReadFile(elsewhere); err != nil || string(text) != "keep" {
		t.Errorf("a link's target was written to: %q, %v", text, err)
	}
	if info, err := os.Stat(o.KnownHosts); err != nil || !info.ModTime().Equal(stamp) {
		t.Error("an unchanged file was written")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("in the folder: %v, %v", left, err)
	}
}

func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config")
	if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := sshconfig.Write(path, []sshconfig.Host{host(t, "github.com", 22)}, options(dir)); err == nil {
		t.Fatal("a folder was replaced")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("in the folder: %v, %v", left, err)
	}
}

// FuzzConfig holds that no host name adds a line or a second value.
func FuzzConfig(f *testing.F) {
	f.Add("git.acme.example", "git", 22, "/run/a b%/s")
	f.Add("a\nHost *", "x", 1, "/a\"")
	key, err := provision.PublicKeyFromBlob([]byte("\x00\x00\x00\x0bssh-ed25519key"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, login string, port int, path string) {
		hosts := []sshconfig.Host{{SSH: provision.SSHAddress{User: login, Host: name, Port: port}, Pins: []hostkey.Pin{{Key: key}}}}
		text, err := sshconfig.Config(hosts, sshconfig.Options{AgentSocket: path, KnownHosts: path, Users: []string{login}})
		if err != nil {
			return
		}
		if n := strings.Count(text, "\n"); n != 33 {
			t.Errorf("%d lines:\n%s", n, text)
		}
		for l := range strings.Lines(text) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(l), "HostName "); ok && strings.ContainsAny(v, " \t\"'\\") {
				t.Errorf("host name is %q", v)
			}
		}
	})
}
