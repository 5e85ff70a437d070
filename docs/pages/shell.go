package pages

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Shell speaks to a bash that reads its commands from in and whose standard
// output and error both come out of out. Whoever started it ends it.
type Shell struct {
	in    io.Writer
	lines chan string
	mark  string
}

// maxOutput is how much one command may print, in bytes.
const maxOutput = 1 << 20

// NewShell returns a shell that speaks to a bash which has just been started.
func NewShell(in io.Writer, out io.Reader) *Shell {
	s := &Shell{in: in, lines: make(chan string), mark: rand.Text()}
	go func() {
		defer close(s.lines)
		scanner := bufio.NewScanner(out)
		scanner.Buffer(nil, maxOutput)
		for scanner.Scan() {
			s.lines <- scanner.Text()
		}
	}()
	return s
}

// Run runs one command to its end and returns its exit status and what it
// printed. Directory, variables and jobs are kept for the next one. When ctx
// ends, or bash does, the error says what had been printed by then.
func (s *Shell) Run(ctx context.Context, command string) (status int, output string, err error) {
	script := fmt.Sprintf("eval %s </dev/null\n__status=$?; printf '\\n%%s %%d\\n' %s $__status; (exit $__status)\n", quote(command), s.mark)
	if _, err := io.WriteString(s.in, script); err != nil {
		return 0, "", fmt.Errorf("the shell takes no command: %w", err)
	}
	var said strings.Builder
	for said.Len() < maxOutput {
		select {
		case line, ok := <-s.lines:
			if !ok {
				return 0, said.String(), fmt.Errorf("the shell ended; it had printed:\n%s", said.String())
			}
			if code, found := strings.CutPrefix(line, s.mark+" "); found {
				status, err := strconv.Atoi(code)
				return status, strings.TrimSuffix(said.String(), "\n"), err
			}
			said.WriteString(line + "\n")
		case <-ctx.Done():
			return 0, said.String(), fmt.Errorf("%w; it had printed:\n%s", context.Cause(ctx), said.String())
		}
	}
	return 0, said.String(), fmt.Errorf("it printed more than %d bytes", maxOutput)
}

// quote returns text as one word of a shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
