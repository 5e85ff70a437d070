//go:build unix

package sshconfig_test

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"deploykeyd/provision/sshconfig"
)

func TestLocalUsers(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		users, groups []string
		applies       bool
		match         string
	}{
		"nobody listed":       {nil, nil, true, ""},
		"me":                  {[]string{"jenkins", me.Username}, nil, true, " localuser jenkins," + me.Username},
		"others":              {[]string{"jenkins", "svc-build$"}, nil, false, " localuser jenkins,svc-build$"},
		"a group alone":       {nil, []string{"ci"}, true, ""},
		"others and a group":  {[]string{"jenkins"}, []string{"ci"}, true, ""},
		"others, no group":    {[]string{"jenkins"}, []string{}, false, " localuser jenkins"},
		"a numeric id":        {[]string{"jenkins", "1001"}, nil, true, ""},
		"a numeric id alone":  {[]string{"1001"}, nil, true, ""},
		"a domain's user":     {[]string{`ACME\build`}, nil, true, ""},
		"a pattern":           {[]string{"*"}, nil, true, ""},
		"a negation":          {[]string{"!root"}, nil, true, ""},
		"a second line":       {[]string{"jenkins\nProxyCommand id"}, nil, true, ""},
		"a group's own lines": {nil, []string{"ci\nProxyCommand id"}, true, ""},
		"a name at domain":    {[]string{"build@acme.example"}, nil, false, " localuser build@acme.example"},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(folder(t))
			o.Users, o.Groups = test.users, test.groups
			path := write(t, []sshconfig.Host{host(t, "github.com", 22)}, o)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if want := "Match originalhost github.com" + test.match + "\n"; !strings.Contains(string(text), want) {
				t.Errorf("no line %q in:\n%s", want, text)
			}
			if strings.Contains(string(text), "ProxyCommand") {
				t.Errorf("a name became a line:\n%s", text)
			}
			if got := effective(t, path, "github.com")["identityagent"] == o.AgentSocket; got != test.applies {
				t.Errorf("applies to %s: %v", me.Username, got)
			}
		})
	}
}

// TestEachUser asks ssh as two of the system's users what holds for them, where
// a later file wants to share connections, to forward the agent and to ask another.
func TestEachUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test acts as several users: run it as root (sudo make test)")
	}
	const listed, other = "daemon", "bin" // as in every /etc/passwd
	ours := func(o sshconfig.Options) map[string]string {
		return map[string]string{
			"identityagent": o.AgentSocket, "controlmaster": "false", "controlpath": "", "forwardagent": "no", "userknownhostsfile": o.KnownHosts,
		}
	}
	theirs := map[string]string{
		"identityagent": "/run/other.sock", "controlmaster": "auto", "controlpath": "/run/mux", "forwardagent": "yes", "userknownhostsfile": "/dev/null",
	}
	for name, test := range map[string]struct {
		users, groups []string
		all           bool // the blocks are for everybody
	}{
		"a listed name":    {[]string{"jenkins", listed}, nil, false},
		"a group besides":  {[]string{listed}, []string{"ci"}, true},
		"a group alone":    {nil, []string{"ci"}, true},
		"a numeric id too": {[]string{listed, "1001"}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(openFolder(t))
			o.Users, o.Groups = test.users, test.groups
			path := write(t, []sshconfig.Host{host(t, "git.acme.example", 22)}, o)
			text := "Include " + path + "\nHost *\n    IdentityAgent /run/other.sock\n    ControlMaster auto\n    ControlPath /run/mux\n" +
				"    ForwardAgent yes\n    UserKnownHostsFile /dev/null\n"
			later := filepath.Join(filepath.Dir(path), "later")
			if err := os.WriteFile(later, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			expect(t, effectiveAs(t, listed, later, "git.acme.example"), ours(o), listed)
			expect(t, effectiveAs(t, listed, later, "elsewhere.example"), theirs, listed+" elsewhere")
			want := theirs
			if test.all {
				want = ours(o)
			}
			expect(t, effectiveAs(t, other, later, "git.acme.example"), want, other)
		})
	}
}

// TestOwnFileComesFirst holds what the head of the file says of ~/.ssh/config,
// for which a file that includes ours at its end stands here.
func TestOwnFileComesFirst(t *testing.T) {
	o := options(openFolder(t))
	path := write(t, []sshconfig.Host{host(t, "git.acme.example", 22)}, o)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, option := range []struct{ name, value, shown string }{
		{"ControlMaster", "auto", "auto"},
		{"ControlPath", "/run/mux", "/run/mux"},
		{"ForwardAgent", "yes", "yes"},
		{"IdentityAgent", "/run/other.sock", "/run/other.sock"},
		{"StrictHostKeyChecking", "no", "false"},
		{"UserKnownHostsFile", "/dev/null", "/dev/null"},
	} {
		head, _, _ := strings.Cut(string(text), "Match ")
		if !strings.Contains(head, option.name) {
			t.Errorf("the head does not name %s", option.name)
		}
		own := filepath.Join(filepath.Dir(path), "own")
		lines := "Host *\n    " + option.name + " " + option.value + "\nMatch all\nInclude " + path + "\n"
		if err := os.WriteFile(own, []byte(lines), 0o644); err != nil {
			t.Fatal(err)
		}
		got := effective(t, own, "git.acme.example")
		if got[strings.ToLower(option.name)] != option.shown {
			t.Errorf("%s is %q", option.name, got[strings.ToLower(option.name)])
		}
		if option.name != "IdentityAgent" && got["identityagent"] != o.AgentSocket {
			t.Errorf("with %s set, the agent is %q", option.name, got["identityagent"])
		}
	}
}

// openFolder returns a folder that every user may enter.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dkd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// effectiveAs is effective for another user than ours.
func effectiveAs(t *testing.T, name, config, host string) map[string]string {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "ssh", "-G", "-F", config, host)
	cmd.Dir, cmd.Env = "/", []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("ssh as %s: %v: %s", name, err, out)
	}
	return parse(string(out))
}

func expect(t *testing.T, got, want map[string]string, who string) {
	t.Helper()
	for option, value := range want {
		if got[option] != value {
			t.Errorf("%s: %s is %q, want %q", who, option, got[option], value)
		}
	}
}
