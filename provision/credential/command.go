package credential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// DefaultCommandTimeout is how long a program may run when nothing else is
	// said.
	DefaultCommandTimeout = 30 * time.Second
	// commandWait bounds how long a killed program's output is waited for.
	commandWait = time.Second
	// maxStderr is how much of a program's error output is kept, in bytes. It is
	// more than what can be shown, so that a secret in what is shown is there
	// whole.
	maxStderr = 8 << 10
)

// Command returns the source that runs the program argv[0], an absolute path or
// a name that PATH leads to outside the current directory, with the arguments
// that follow, and takes the one line that it writes to its standard output. The
// program gets no input and this process's environment but for the variables
// that without names, which hold other credentials, and those that systemd speaks
// to this process alone with. It runs in the root directory. After timeout
// (DefaultCommandTimeout when that is not above zero), it is killed with all that
// it has started. What it writes to its standard error is shown when it fails,
// without anything that it wrote to its standard output.
func Command(argv []string, timeout time.Duration, without ...string) Source {
	if timeout <= 0 {
		timeout = DefaultCommandTimeout
	}
	p := program{slices.Clone(argv), timeout, slices.Clone(without)}
	return command{func() program { return p }}
}

// command has its arguments behind a function, which prints as an address: they
// may hold secrets too.
type command struct{ program func() program }

type program struct {
	argv    []string
	timeout time.Duration
	without []string
}

// String names the program alone.
func (c command) String() string {
	argv := c.program().argv
	if len(argv) == 0 {
		return "command"
	}
	name := argv[0]
	if quoted := strconv.Quote(name); quoted[1:len(quoted)-1] != name {
		name = quoted
	}
	return "command " + name
}

// Format prints the program's name whatever the verb.
func (c command) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, c.String()) }

func (c command) Load(ctx context.Context) (Secret, error) { return load(ctx, c, "token") }

func (command) remedy(what string) string {
	return "let it write the " + what + " to its standard output, alone on one line"
}

// read runs the program.
func (c command) read(ctx context.Context, what string) ([]byte, error) {
	path, err := c.path()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.program().timeout, errCommandTimeout)
	defer cancel()
	stdout := &capped{room: MaxSize, full: cancel}
	stderr := &capped{room: maxStderr}
	defer stdout.wipe()
	defer stderr.wipe()
	cmd := exec.CommandContext(ctx, path, c.program().argv[1:]...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = string(filepath.Separator), c.environment(), commandWait
	cmd.Stdout, cmd.Stderr = stdout, stderr
	killGroup(cmd)
	// The kernel takes the end of the thread that started a process for that of
	// its parent: this one is kept from ending meanwhile (go.dev/issue/27505).
	runtime.LockOSThread()
	err = cmd.Run()
	runtime.UnlockOSThread()
	if errors.Is(err, exec.ErrWaitDelay) {
		_ = cmd.Cancel() // what it left behind is in its group
	}
	switch {
	case stdout.over:
		return nil, fmt.Errorf("it wrote more than %d bytes to its standard output: %s", MaxSize, c.remedy(what))
	case err != nil && ctx.Err() != nil:
		return nil, c.ended(context.Cause(ctx), stderr, stdout)
	case err != nil:
		return nil, failed(err, says(stderr, stdout))
	}
	return slices.Clone(line(stdout.text)), nil
}

// errCommandTimeout is why a program was killed.
var errCommandTimeout = errors.New("the program did not end in time")

// ended is the error of a program that was killed. One that hangs most likely
// waits for something that may come back.
func (c command) ended(cause error, stderr, stdout *capped) error {
	if !errors.Is(cause, errCommandTimeout) {
		return cause
	}
	return &Error{
		Reason:  Trouble,
		Message: fmt.Sprintf("it did not end within %s and was killed%s", c.program().timeout, says(stderr, stdout)),
		Next:    "run it as this user and see what it waits for, or give it more time (timeout: in the configuration)",
		Err:     context.DeadlineExceeded,
	}
}

// path finds the program. The current directory is nobody's choice.
func (c command) path() (string, error) {
	const next = "write an absolute path, or a name that the service's PATH leads to"
	argv := c.program().argv
	if len(argv) == 0 || argv[0] == "" {
		return "", errors.New("it names no program: " + next)
	}
	name := argv[0]
	if strings.ContainsRune(name, filepath.Separator) && !filepath.IsAbs(name) {
		return "", errors.New("it is relative to whatever directory is the current one: " + next)
	}
	path, err := exec.LookPath(name)
	switch {
	case errors.Is(err, exec.ErrDot):
		return "", errors.New("PATH leads to it through the current directory: " + next)
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return "", errors.New("there is no such program: " + next)
	case errors.Is(err, os.ErrPermission):
		return "", errors.New("it may not be run by this user: chmod it, or " + next)
	case err != nil:
		return "", errors.New("it cannot be run: " + next)
	}
	return path, nil
}

// environment returns what the program sees.
func (c command) environment() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		switch name {
		case "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES":
			return true
		}
		return slices.Contains(c.program().without, name)
	})
}

// failed is the error of a program that did not do its work. One that says so
// by itself may find next time what it missed: a machine that boots has neither
// its network nor its rights from the first moment on.
func failed(err error, said string) error {
	const next = "run it as this user and see why it fails"
	if exit, ok := errors.AsType[*exec.ExitError](err); ok { // "exit status 2", "signal: killed"
		return &Error{Reason: Trouble, Message: exit.String() + said, Next: next, Err: err}
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("it ended, and something that it started holds its output open%s: %s", said, next)
	}
	return fmt.Errorf("it cannot be run: %w%s: %s", withoutPath(err), said, next)
}

// says words what a program wrote to its standard error.
func says(stderr, stdout *capped) string {
	words := shown(string(stderr.text), string(stdout.text))
	if words == "" {
		return ", and it said nothing"
	}
	return ", and it said " + words
}
