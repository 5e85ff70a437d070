package provision_test

import (
	"strings"
	"testing"

	"deploykeyd/provision"
)

func TestParseSSHAddress(t *testing.T) {
	for in, want := range map[string]provision.SSHAddress{
		"ssh://git@git.acme.example:2222":  {User: "git", Host: "git.acme.example", Port: 2222},
		"ssh://git@git.acme.example":       {User: "git", Host: "git.acme.example", Port: 22},
		"ssh://git.acme.example/":          {User: "git", Host: "git.acme.example", Port: 22},
		"ssh://forgejo@127.0.0.1:22":       {User: "forgejo", Host: "127.0.0.1", Port: 22},
		"ssh://org-1234@ghe.acme.example:": {User: "org-1234", Host: "ghe.acme.example", Port: 22},
	} {
		got, err := provision.ParseSSHAddress(in)
		if err != nil || got != want {
			t.Errorf("%q gives %+v, %v", in, got, err)
		}
	}
}

func TestParseSSHAddressRefuses(t *testing.T) {
	for _, in := range []string{
		"", "git.acme.example", "git@git.acme.example:acme/app.git", "https://git.acme.example", "ssh://",
		"ssh://git:secret@host", "ssh://git@host/acme/app", "ssh://git@host?x=1", "ssh://git@host#x",
		"ssh://git@host:0", "ssh://git@host:65536", "ssh://git@host:99999999999999999999", "ssh://git@host:x",
		"ssh://git@ho st", "ssh://git@host\nProxyCommand id", "ssh://git@host%0aProxyCommand%20id", "ssh://git@-oProxyCommand=id",
		"ssh://git@host*", "ssh://git@[::1]:22", "ssh://git@.host", "ssh://git@host-", "ssh://-l@host", "ssh://a%20b@host", "ssh://a%0ab@host",
	} {
		got, err := provision.ParseSSHAddress(in)
		if err == nil {
			t.Errorf("%q gives %+v", in, got)
			continue
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows the password: %v", in, err)
		}
	}
}

func TestSSHAddressForms(t *testing.T) {
	for _, c := range []struct {
		address               provision.SSHAddress
		url, clone, knownHost string
	}{
		{provision.SSHAddress{User: "git", Host: "h", Port: 22}, "ssh://git@h:22", "ssh://git@h:22/acme/app.git", "h"},
		{provision.SSHAddress{User: "git", Host: "h", Port: 2222}, "ssh://git@h:2222", "ssh://git@h:2222/acme/app.git", "[h]:2222"},
	} {
		if c.address.String() != c.url || c.address.CloneURL("acme/app") != c.clone || c.address.KnownHost() != c.knownHost {
			t.Errorf("%+v gives %s, %s, %s", c.address, c.address, c.address.CloneURL("acme/app"), c.address.KnownHost())
		}
	}
}

func FuzzParseSSHAddress(f *testing.F) {
	for _, s := range []string{"ssh://git@h:22", "ssh://h", "ssh://a@h:065", "ssh://%67it@h", "ssh://git@h\n", "ssh://git@[::1]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		a, err := provision.ParseSSHAddress(in)
		if err != nil {
			return
		}
		again, err := provision.ParseSSHAddress(a.String())
		if err != nil || again != a {
			t.Errorf("%q gives %q, which does not parse to itself: %v", in, a, err)
		}
		for _, s := range []string{a.User, a.Host} {
			if s == "" || s[0] == '-' || strings.ContainsAny(s, " \t\r\n*?!#\"'%,@:/[]") {
				t.Errorf("%q gives %q, which ssh_config would read as syntax", in, s)
			}
		}
	})
}
