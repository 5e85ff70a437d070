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
	} {
		verb, path, err := parseCommand(line)
		if verb != want[0] || path != want[1] || (err == nil) != (want[0] != "") {
			t.Errorf("%q: %q, %q, %v", line, verb, path, err)
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
		verb, path, err := parseCommand(line)
		if err == nil {
			if !strings.HasPrefix(verb, "git-") || strings.ContainsFunc(verb+path, isControl) {
				t.Errorf("%q gives %q, %q", line, verb, path)
			}
			again, same, err := parseCommand(quote(verb) + " " + quote(path))
			if err != nil && len(quote(verb)+quote(path)) < maxCommand || err == nil && (again != verb || same != path) {
				t.Errorf("%q, %q come back as %q, %q, %v", verb, path, again, same, err)
			}
		}
		if strings.ContainsFunc(line, isControl) || len(quote(line)) > maxCommand/2 {
			return
		}
		if _, got, err := parseCommand("git-upload-pack " + quote(line)); err != nil || got != line {
			t.Errorf("%q comes back as %q, %v", line, got, err)
		}
	})
}
