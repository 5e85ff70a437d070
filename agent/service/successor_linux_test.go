package service_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// small is a process of the program in testdata/successor.
type small struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// buildSuccessor builds the program, and returns its path.
func buildSuccessor(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "successor")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, "./testdata/successor")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, said)
	}
	return program
}

// startSuccessor starts the program with a part of its environment, in which $$
// is its pid, with the files from descriptor 3 on, and with a limit on open files
// that Go raises.
func startSuccessor(t *testing.T, program string, environment string, files ...*os.File) *small {
	t.Helper()
	s := &small{t: t, cmd: exec.CommandContext(t.Context(), "/bin/sh", "-c", "ulimit -S -n 900; exec env "+environment+` "$0"`, program)}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.cmd.Stderr, s.cmd.ExtraFiles = os.Stderr, files
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	return s
}

// end lets the process end, which it does with its input.
func (s *small) end() {
	_ = s.in.Close()
	_ = s.cmd.Wait()
}

func (s *small) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *small) pid() string { return strconv.Itoa(s.cmd.Process.Pid) }

func (s *small) line() string {
	s.t.Helper()
	line, err := s.out.ReadString('\n')
	if err != nil {
		s.t.Fatalf("%q: %v", line, err)
	}
	return strings.TrimSpace(line)
}

func (s *small) tell(command string) {
	s.t.Helper()
	if _, err := io.WriteString(s.in, command+"\n"); err != nil {
		s.t.Fatal(err)
	}
}

// do makes the process do something and returns its answer.
func (s *small) do(command string) string {
	s.t.Helper()
	s.tell(command)
	return s.line()
}

// done makes the process do something that gives no answer.
func (s *small) done(what string) {
	s.t.Helper()
	if got := s.do(what); got != "done" {
		s.t.Errorf("%s gives %q", what, got)
	}
}

// waiting is a client that has sent something and waits for the answer, which
// is the pid of who serves it.
type waiting chan string

func connect(t *testing.T, path string) waiting {
	t.Helper()
	answer := make(waiting, 1)
	go func() { answer <- askSmall(path) }()
	return answer
}

func (w waiting) want(t *testing.T, pid string) {
	t.Helper()
	if got := <-w; got != pid {
		t.Errorf("a client was served by %q, want %s", got, pid)
	}
}

func askSmall(path string) string {
	c, err := dialUnix(path)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = c.Close() }()
	if _, err := fmt.Fprint(c, "x"); err != nil {
		return err.Error()
	}
	text, err := io.ReadAll(c)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}
