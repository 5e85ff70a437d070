package sshagent

import (
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShellWords(t *testing.T) {
	for in, want := range map[string][]string{
		"":                   nil,
		"  a\tb ":            {"a", "b"},
		`'a b'"c d"e\ f`:     {"a bc de f"},
		`''`:                 {""},
		`"a\"b\\c\d"`:        {`a"b\c\d`},
		`'\'`:                {`\`},
		`git-x 'a'\!'b.git'`: {"git-x", "a!b.git"},
		`git-x ~jo/a {u}/b`:  {"git-x", "~jo/a", "{u}/b"},
		"'a\nb'":             {"a\nb"},
	} {
		got, ok := shellWords(in)
		if diff := cmp.Diff(want, got); diff != "" || !ok {
			t.Errorf("%q: %v (-want +got):\n%s", in, ok, diff)
		}
	}
	for _, in := range []string{
		"'", `"`, `"\`, `\`, "a;b", "a|b", "a&b", "a\nb", "$a", "`a`", `"$a"`, "\"`a`\"", "(a)", "a>b", "a<b", "a*", "a?", "a[b]",
		"a\\\nb", "\"a\\\nb\"", "a #b", "a\rb",
	} {
		if got, ok := shellWords(in); ok {
			t.Errorf("%q: got %q", in, got)
		}
	}
}

// What is taken for plain words is what a real shell makes of it.
func TestShellWordsAgreeWithAShell(t *testing.T) {
	const alphabet = `ab/.~!=-{} "'\` + "\t"
	random := rand.New(rand.NewPCG(1, 2))
	taken := 0
	for range 400 {
		command := make([]byte, 1+random.IntN(12))
		for i := range command {
			command[i] = alphabet[random.IntN(len(alphabet))]
		}
		got, ok := shellWords("x " + string(command))
		if !ok {
			continue
		}
		taken++
		// Home folders are not looked up: that is the one expansion left out.
		line := strings.ReplaceAll("x "+string(command), "~", "+")
		out, err := exec.CommandContext(t.Context(), "sh", "-c", `printf '%s\0' `+line).Output()
		if err != nil {
			t.Fatalf("sh cannot read %q, taken for %q: %v", line, got, err)
		}
		want := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
		for i := range got {
			got[i] = strings.ReplaceAll(got[i], "~", "+")
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q was read as %q, a shell reads %q", line, got, want)
		}
	}
	if taken < 100 {
		t.Errorf("only %d commands were compared", taken)
	}
}
