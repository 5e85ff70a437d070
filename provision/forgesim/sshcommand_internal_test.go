package forgesim

import (
	"strings"
	"testing"
)

func TestParseCommand(t *testing.T) {
	for line, want := range map[string][2]string{
		"git-upload-pack '/acme/api.git'":       {"git-upload-pack", "/acme/api.git"},
		"git-upload-pack 'acme/api'":            {"git-upload-pack", "acme/api"},
		"git-upload-pack acme/api.git":          {"git-upload-pack", "acme/api.git"},
		"git upload-pack 'acme/api.git'":        {"git-upload-pack", "acme/api.git"},
		"  git-receive-pack   '/~me/a b.git'  ": {"git-receive-pack", "/~me/a b.git"},
		`git-upload-pack 'a'\''b'`:              {"git-upload-pack", "a'b"},
		`git-upload-pack 'a'\!'b'`:              {"git-upload-pack", "a!b"},
		"git-upload-archive ''":                 {"git-upload-archive", ""},
		"git-upload-pack /~me/x":                {"git-upload-pack", "/~me/x"},
		"git-upload-pack '$(id)'":               {"git-upload-pack", "$(id)"},
		"":                                      {},
		"whoami":                                {},
		"ls 'x'":                                {},
		"git-upload-pack":                       {},
		"git-upload-pack 'a' 'b'":               {},
		"git-upload-pack 'a":                    {},
		`git-upload-pack a\`:                    {},
		"git-upload-pack a;id":                  {},
		"git-upload-pack $(id)":                 {},
		"git-upload-pack `id`":                  {},
		"git-upload-pack \"a\"":                 {},
		"git-upload-pack ~me/x":                 {},
		"git-upload-pack a\nid":                 {},
		"git-upload-pack 'a\nb'":                {},
		"git-upload-pack 'a\x00b'":              {},
		"git-upload-pack " + strings.Repeat("a", maxCommand): {},
		"git-lfs-transfer /acme/api.git":                     {"git-lfs-transfer", "/acme/api.git"},
		"git-lfs-authenticate acme/api":                      {},
		"git-lfs-authenticate acme/api delete":               {},
		"git-lfs-authenticate acme/api download x":           {},
		"git-upload-pack acme/api download":                  {},
	} {
		c, err := parseCommand(line)
		if c.verb != want[0] || c.path != want[1] || (err == nil) != (want[0] != "") {
			t.Errorf("%q: %+v, %v", line, c, err)
		}
	}
}

func TestParseLFSCommand(t *testing.T) {
	for line, want := range map[string]string{
		"git-lfs-authenticate /acme/api.git download":  lfsDownload,
		"git-lfs-authenticate '/acme/api.git' upload":  lfsUpload,
		"git-lfs-authenticate '/acme/api.git' 'upload": "",
		"git-lfs-authenticate /acme/api.git UPLOAD":    "",
	} {
		c, err := parseCommand(line)
		if c.operation != want || (err == nil) != (want != "") || want != "" && (c.verb != lfsAuthenticate || c.path != "/acme/api.git") {
			t.Errorf("%q: %+v, %v", line, c, err)
		}
	}
}

// quote writes a path as git does for an SSH server's shell.
func quote(path string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(path) + "'"
}

// FuzzParseCommand checks that what git writes is read back, and that nothing
// else is taken for a command with control characters or more words.
func FuzzParseCommand(f *testing.F) {
	for _, seed := range []string{
		"git-upload-pack '/acme/api.git'", "git upload-pack acme/api", `git-receive-pack 'a'\''b'`, "git-upload-pack 'a", "id; git-x 'a'", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c, err := parseCommand(line)
		if verb, path := c.verb, c.path; err == nil {
			if !strings.HasPrefix(verb, "git-") || strings.ContainsFunc(verb+path, isControl) {
				t.Errorf("%q gives %q, %q", line, verb, path)
			}
			again, err := parseCommand(quote(verb) + " " + quote(path) + " " + c.operation)
			short := len(quote(verb)+quote(path)+c.operation) < maxCommand-2
			if err != nil && short || err == nil && (again.verb != verb || again.path != path || again.operation != c.operation) {
				t.Errorf("%+v comes back as %+v, %v", c, again, err)
			}
		}
		if strings.ContainsFunc(line, isControl) || len(quote(line)) > maxCommand/2 {
			return
		}
		if got, err := parseCommand("git-upload-pack " + quote(line)); err != nil || got.path != line {
			t.Errorf("%q comes back as %+v, %v", line, got, err)
		}
	})
}
