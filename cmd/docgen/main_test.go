package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// docgen runs the program, which must succeed unless status says otherwise.
func docgen(t *testing.T, status int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if got := run(args, &out, &errs); got != status {
		t.Fatalf("docgen %s: exit status %d, want %d: %s", strings.Join(args, " "), got, status, errs.String())
	}
	return out.String(), errs.String()
}

// pages returns the manual pages by their file names.
func pages(t *testing.T, args ...string) map[string]string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "man")
	docgen(t, 0, append([]string{"man", dir}, args...)...)
	found := map[string]string{}
	for _, name := range []string{"deploykeyd.8", "deploykeyd.yaml.5"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		found[name] = string(text)
	}
	return found
}

// mandoc runs mandoc on a page.
func mandoc(t *testing.T, page string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "mandoc", args...)
	c.Stdin = strings.NewReader(page)
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		t.Fatalf("this test needs mandoc (apt-get install mandoc): %v\n%s%s", err, out, said.String())
	}
	return string(out) + said.String()
}

// shown returns a page as a terminal shows it, without bold and underlined.
func shown(t *testing.T, page string) string {
	t.Helper()
	text := []rune(mandoc(t, page, "-Tutf8", "-O", "width=100"))
	var plain []rune
	for i := 0; i < len(text); i++ {
		if i+1 < len(text) && text[i+1] == '\b' { // struck over by what follows
			i++
			continue
		}
		plain = append(plain, text[i])
	}
	return string(plain)
}

func TestEditionOfThePages(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	for name, page := range pages(t, "--version", "1.2.3-rc.1") {
		if text := shown(t, page); !strings.Contains(text, "deploykeyd 1.2.3-rc.1") || !strings.Contains(text, "2023-11-14") {
			t.Errorf("%s does not name its version and date:\n%s", name, text[len(text)-300:])
		}
	}
	first, second := pages(t), pages(t)
	for name := range first {
		if first[name] != second[name] {
			t.Errorf("%s is not the same twice", name)
		}
	}
	if page := pages(t, "-date", "2026-02-03")["deploykeyd.8"]; !strings.Contains(page, " 2026-02-03 ") {
		t.Errorf("begins with %.200s", page)
	}
}

func TestDayOf(t *testing.T) {
	now := time.Date(2026, 5, 6, 23, 59, 0, 0, time.FixedZone("x", -3600))
	for _, c := range []struct{ asked, epoch, want string }{
		{"", "", "2026-05-07"},
		{"", "0", "1970-01-01"},
		{"2001-02-03", "0", "2001-02-03"},
		{"2001-02-03", "nonsense", "2001-02-03"},
		{"", "soon", ""},
		{"tomorrow", "", ""},
		{"2001-02-30", "", ""},
	} {
		if got, err := dayOf(c.asked, c.epoch, now); got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("asked %q, epoch %q: %q, %v", c.asked, c.epoch, got, err)
		}
	}
}

func TestCommandLine(t *testing.T) {
	for _, args := range []string{"", "man", "completion", "reference x", "nosuch", "man a b", "--nosuch man x", "--date x man /nosuch/x"} {
		if stdout, stderr := docgen(t, 2, strings.Fields(args)...); stdout != "" || stderr == "" {
			t.Errorf("docgen %s says %q and %q", args, stdout, stderr)
		}
	}
	if _, stderr := docgen(t, 0, "--help"); !strings.Contains(stderr, "docgen [flags] man DIR") || !strings.Contains(stderr, "-date") {
		t.Errorf("help is %s", stderr)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"man", "completion"} {
		if _, stderr := docgen(t, 1, command, filepath.Join(file, "x")); !strings.Contains(stderr, "not a directory") {
			t.Errorf("%s into a file: %s", command, stderr)
		}
	}
}

func TestCompletionScripts(t *testing.T) {
	dir := t.TempDir()
	docgen(t, 0, "completion", dir)
	for name, words := range map[string]string{
		"deploykeyd.bash": "complete -o default -F __start_deploykeyd deploykeyd", "_deploykeyd": "#compdef deploykeyd",
		"deploykeyd.fish": "complete -c deploykeyd", "deploykeyd.ps1": "Register-ArgumentCompleter -CommandName 'deploykeyd'",
	} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(text), words) {
			t.Errorf("%s: %v, without %q", name, err, words)
		}
	}
}
