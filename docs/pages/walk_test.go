package pages_test

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"deploykeyd/docs/pages"
)

// shell starts a real bash.
func shell(t *testing.T) *pages.Shell {
	t.Helper()
	c := exec.CommandContext(t.Context(), "bash")
	c.Dir, c.WaitDelay = t.TempDir(), time.Second
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, out := io.Pipe()
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Wait()
		_ = out.Close()
	}()
	t.Cleanup(func() {
		_ = said.Close()
		_ = c.Process.Kill()
		<-ended
	})
	return pages.NewShell(in, said)
}

func TestShell(t *testing.T) {
	s := shell(t)
	for _, c := range []struct {
		command string
		status  int
		output  string
	}{
		{"true", 0, ""},
		{"false", 1, ""},
		{"X='it'\\''s'; mkdir d; cd d", 0, ""},
		{"echo \"$X\"; echo ${PWD##*/}", 0, "it's\nd\n"},
		{"echo out; echo err >&2; (exit 7)", 7, "out\nerr\n"},
		{"printf 'no line end'", 0, "no line end"},
		{"cat", 0, ""}, // nobody types
		{"echo one \\\n  two", 0, "one two\n"},
		{"set -m; sleep 60 & kill %1; wait %1", 143, ""},
		{"echo $?", 0, "143\n"},
		{"# a comment", 0, ""},
	} {
		status, output, err := s.Run(t.Context(), c.command)
		if err != nil || status != c.status || !strings.HasPrefix(output, c.output) {
			t.Errorf("%s: exit status %d, %q, %v; want %d, %q", c.command, status, output, err, c.status, c.output)
		}
	}
	if _, said, err := s.Run(t.Context(), "echo last words; exit 3"); err == nil || !strings.Contains(said, "last words") {
		t.Errorf("a shell that ended: %q, %v", said, err)
	}
}

func TestShellThatDoesNotAnswer(t *testing.T) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("too long"))
	defer cancel()
	if _, _, err := shell(t).Run(ctx, "sleep 60"); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("error %v", err)
	}
	if _, _, err := shell(t).Run(t.Context(), "head -c 3000000 /dev/zero | tr '\\0' '\\n'"); err == nil {
		t.Error("an output without end passes")
	}
}

func TestWalk(t *testing.T) {
	for _, c := range []struct{ page, problem string }{
		{"```console\n# echo a; X=1\na\n# echo $X\n1\n```\n", ""},
		{"```console\n# echo a\nb\n```\n", "p.md:2"},
		{"```console\n# false\n```\n", "exit status 1"},
		{"```console\n# false\n# echo $?\n1\n```\n", ""},
		{"```console\n# echo no; false\nno\n```\n", ""},
		{"<!-- before: touch f -->\n```console\n# ls f\nf\n```\n", ""},
		{"<!-- before: echo why; false -->\n```console\n# true\n```\n", "why"},
		{"```console\nsaid\n```\n", "without a command"},
		{"```console\n# exit\n```\n", "the shell ended"},
		{"```console\n$ echo $0\n…\n# true\n```\n", ""},
	} {
		p, err := pages.Parse("p.md", c.page)
		if err != nil {
			t.Fatal(err)
		}
		problems := pages.Place{Root: shell(t), User: shell(t)}.Walk(t.Context(), p.Blocks)
		err = errors.Join(problems...)
		if c.problem == "" && err != nil || c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)) {
			t.Errorf("%s: %v, want %q", c.page, err, c.problem)
		}
	}
}
