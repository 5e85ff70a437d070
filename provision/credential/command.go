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
	"syscall"
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
// (DefaultCommandTimeout when that is not above zero), it is killed. Its process
// group is killed with it, and also once it has ended by itself, well or not:
// nobody needs what it may have left running. What has left that group, as setsid
// does, is not followed. What it writes to its standard error is shown when it
// fails, without any part of what it wrote to its standard output, of its
// arguments, and of the variables that it was not given.
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
	if cmd.Process != nil {
		_ = cmd.Cancel() // the group keeps its number while anybody is in it
	}
	text := line(stdout.text)
	switch {
	case stdout.over:
		return nil, fmt.Errorf("it wrote more than %d bytes to its standard output: %s", MaxSize, c.remedy(what))
	case err != nil && ctx.Err() != nil:
		return nil, c.ended(context.Cause(ctx), c.says(stderr, stdout))
	case err != nil:
		return nil, failed(err, c.says(stderr, stdout))
	case len(text) == 0: // what asks a server and cannot reach it may say so and still end well
		return nil, passing("its standard output is empty"+c.says(stderr, stdout), nextRun+"; "+c.remedy(what), nil)
	}
	return slices.Clone(text), nil
}

// nextRun is the next step where the program itself knows what is wrong.
const nextRun = "run it as this user and see why it fails"

// passing is a failure that may be gone the next time: a machine that boots has
// neither its network nor its rights nor all its file systems from the first
// moment on.
func passing(message, next string, cause error) *Error {
	return &Error{Reason: Trouble, Message: message, Next: next, Err: cause}
}

// errCommandTimeout is why a program was killed.
var errCommandTimeout = errors.New("the program did not end in time")

// ended is the error of a program that was killed. One that hangs most likely
// waits for something that may come back.
func (c command) ended(cause error, said string) error {
	if !errors.Is(cause, errCommandTimeout) {
		return cause
	}
	return passing(fmt.Sprintf("it did not end within %s and was killed%s", c.program().timeout, said),
		"run it as this user and see what it waits for, or give it more time (timeout: in the configuration)", context.DeadlineExceeded)
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
		return "", passing("there is no such program", "install it, or wait until its file system is there; or "+next, os.ErrNotExist)
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

// failed is the error of a program that did not do its work. What says so by
// itself may find next time what it missed; so may a machine that was short of
// something, or that was writing the program just then.
func failed(err error, said string) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok { // "exit status 2", "signal: killed"
		return passing(exit.String()+said, nextRun, err)
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("it ended, and something that it started holds its output open%s: %s", said, nextRun)
	}
	for _, short := range []error{syscall.ETXTBSY, syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, os.ErrNotExist} {
		if errors.Is(err, short) {
			return passing("it cannot be run now: "+withoutPath(err).Error(), nextRun, err)
		}
	}
	return fmt.Errorf("it cannot be run: %w: %s", withoutPath(err), nextRun)
}

// says words what a program wrote to its standard error.
func (c command) says(stderr, stdout *capped) string {
	secrets := append([]string{string(stdout.text)}, c.program().argv[1:]...)
	for _, name := range c.program().without {
		secrets = append(secrets, os.Getenv(name))
	}
	words := shown(string(stderr.text), secrets...)
	if words == "" {
		return ", and it said nothing"
	}
	return ", and it said " + words
}
