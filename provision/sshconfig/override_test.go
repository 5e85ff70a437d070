package sshconfig_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"deploykeyd/provision/sshconfig"
)

func TestLaterFilesComeTooLate(t *testing.T) {
	path := write(t, []sshconfig.Host{host(t, "git.acme.example", 22)}, options(folder(t)))
	later := filepath.Join(t.TempDir(), "later")
	text := `Include "` + path + `"
Host *
    KnownHostsCommand /bin/echo %H
    PreferredAuthentications password
    PubkeyAuthentication no
    HostbasedAuthentication yes
`
	if err := os.WriteFile(later, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]map[string]string{
		"elsewhere.example": {
			"knownhostscommand": "/bin/echo %H", "preferredauthentications": "password",
			"pubkeyauthentication": "false", "hostbasedauthentication": "yes",
		},
		"git.acme.example": { // ssh -G leaves a command out that is "none"
			"knownhostscommand": "", "preferredauthentications": "publickey",
			"pubkeyauthentication": "true", "hostbasedauthentication": "no",
		},
	} {
		got := effective(t, later, host)
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s: %s is %q, want %q", host, name, got[name], value)
			}
		}
	}
}

// An older ssh, to which KnownHostsCommand is what another name is to this one.
func TestSSHThatDoesNotKnowAnOption(t *testing.T) {
	text, err := sshconfig.Config([]sshconfig.Host{host(t, "github.com", 22)}, options(folder(t)))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "KnownHostsCommand", "NotYetInvented")), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"github.com", "elsewhere.example"} {
		if got := effective(t, path, name)["hostname"]; got != name {
			t.Errorf("host name is %q", got)
		}
	}
}
