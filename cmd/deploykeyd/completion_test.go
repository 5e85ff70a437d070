package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// completed is what the program itself tells a shell about the last word.
func completed(t *testing.T, args ...string) (words []string, directive string) {
	t.Helper()
	s := &site{dir: t.TempDir()}
	c := s.program(t.Context())
	c.Args = append([]string{c.Args[0], "__complete"}, args...)
	status, stdout, stderr := finish(t, c)
	if status != 0 {
		t.Fatalf("%q: exit status %d: %s", args, status, stderr)
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	for _, line := range lines[:len(lines)-1] {
		word, _, _ := strings.Cut(line, "\t")
		words = append(words, word)
	}
	return words, lines[len(lines)-1]
}

// The directives of cobra's protocol (ShellCompDirective).
const (
	anyFile     = ":0"
	noFile      = ":4"
	suffixes    = ":8"
	directories = ":16"
)

func TestCompletedWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args      string
		words     string
		directive string
	}{
		{"run --log-level ", "debug info warn error", noFile},
		{"run --log-format ", "text json", noFile},
		{"run ", "", noFile},
		{"wait --timeout ", "", noFile},
		{"status --interval ", "", noFile},
		{"completion ", "bash zsh fish powershell", noFile},
		{"config ", "check example schema", noFile},
		{"run --config ", "yaml yml", suffixes},
		{"--state-dir ", "", directories},
		{"run --run-dir ", "", directories},
		{"ssh-config --file ", "", anyFile},
		{"ssh-config --known-hosts ", "", anyFile},
	} {
		words, directive := completed(t, strings.Split(c.args, " ")...)
		if !slices.Equal(words, strings.Fields(c.words)) || directive != c.directive {
			t.Errorf("%q: %q and %s, want %q and %s", c.args, words, directive, c.words, c.directive)
		}
	}
	if words, _ := completed(t, "comp"); !slices.Equal(words, []string{"completion"}) {
		t.Errorf("comp: %q", words)
	}
}

// TestBashCompletes has a real bash complete with the script that is printed.
func TestBashCompletes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink(os.Args[0], filepath.Join(dir, "deploykeyd")); err != nil {
		t.Fatal(err)
	}
	const script = `
source /usr/share/bash-completion/bash_completion || exit 1
source <(deploykeyd completion bash)
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE} COMP_TYPE=9 COMP_KEY=9
__start_deploykeyd 2>/dev/null # outside of a prompt, compopt complains
printf '%s\n' "${COMPREPLY[@]}"
`
	for line, want := range map[string]string{
		"deploykeyd run --log-level ": "debug error info warn",
		"deploykeyd stat":             "status",
		"deploykeyd status --w":       "--watch",
		"deploykeyd completion f":     "fish",
	} {
		c := exec.CommandContext(t.Context(), "bash", append([]string{"--norc", "-c", script, "bash"}, strings.Split(line, " ")...)...)
		c.Env = append(os.Environ(), asProgram+"=1", "PATH="+dir+":"+os.Getenv("PATH"))
		status, stdout, stderr := finish(t, c)
		if status != 0 {
			t.Fatalf("this test needs bash-completion (apt-get install bash-completion): exit status %d: %s", status, stderr)
		}
		var words []string
		for reply := range strings.Lines(stdout) {
			words = append(words, strings.Fields(reply)[0])
		}
		slices.Sort(words)
		if !slices.Equal(words, strings.Fields(want)) {
			t.Errorf("%q is completed by %q, want %q", line, words, want)
		}
	}
}

func TestCompletionCommand(t *testing.T) {
	t.Parallel()
	s := &site{dir: t.TempDir()}
	for shell, words := range map[string]string{
		"bash": "__start_deploykeyd", "zsh": "#compdef deploykeyd", "fish": "complete -c deploykeyd", "powershell": "Register-ArgumentCompleter",
	} {
		if status, stdout, stderr := s.do(t, "completion", shell); status != 0 || !strings.Contains(stdout, words) {
			t.Errorf("%s: exit status %d, without %q: %s", shell, status, words, stderr)
		}
	}
	for _, args := range [][]string{{"completion"}, {"completion", "tcsh"}, {"completion", "bash", "zsh"}} {
		if status, stdout, stderr := s.do(t, args...); status != 2 || stdout != "" || !strings.Contains(stderr, "see deploykeyd completion --help") {
			t.Errorf("%q: exit status %d: %s%s", args, status, stdout, stderr)
		}
	}
	status, stdout, stderr := s.do(t, "completion", "--help")
	for _, words := range []string{"/etc/bash_completion.d/deploykeyd", "$fpath", "~/.config/fish/completions", "$PROFILE"} {
		if status != 0 || !strings.Contains(stdout, words) {
			t.Errorf("the help does not say %q: %s%s", words, stdout, stderr)
		}
	}
}

func TestConfigSchemaIsJSON(t *testing.T) {
	t.Parallel()
	s := &site{dir: t.TempDir()}
	status, stdout, stderr := s.do(t, "config", "schema")
	var schema struct {
		Schema     string         `json:"$schema"`
		Properties map[string]any `json:"properties"`
	}
	if err := json.Unmarshal([]byte(stdout), &schema); status != 0 || err != nil || !strings.Contains(schema.Schema, "2020-12") || schema.Properties["forges"] == nil {
		t.Errorf("exit status %d, %v: %s%.200s", status, err, stderr, stdout)
	}
	if status, stdout, stderr := s.do(t, "config", "schema", "x"); status != 2 || stdout != "" {
		t.Errorf("with an argument: exit status %d: %s", status, stderr)
	}
}
