package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"deploykeyd/agent"
)

// watcher is a running "deploykeyd status --watch".
type watcher struct {
	cmd          *exec.Cmd
	said, errors *lockedBuffer
	done         chan struct{}
}

func (s *site) watchStatus(t *testing.T, args ...string) *watcher {
	t.Helper()
	w := &watcher{said: &lockedBuffer{}, errors: &lockedBuffer{}}
	w.cmd = s.program(context.WithoutCancel(t.Context()), append([]string{"status", "--watch", "--interval", "100ms"}, args...)...)
	w.cmd.Stdout, w.cmd.Stderr = w.said, w.errors
	w.run(t)
	return w
}

func (w *watcher) run(t *testing.T) {
	t.Helper()
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.done = make(chan struct{})
	go func() {
		defer close(w.done)
		_ = w.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		<-w.done
	})
}

// until waits for a condition of what the watcher has said, and returns that.
func (w *watcher) until(t *testing.T, what string, condition func(said string) bool) string {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		said := w.said.String()
		if condition(said) {
			return said
		}
		select {
		case <-tick.C:
		case <-w.done:
			t.Fatalf("it ended while waiting for: %s\n%s%s", what, said, w.errors)
		case <-deadline:
			t.Fatalf("in vain: %s\n%s%s", what, said, w.errors)
		}
	}
}

func (w *watcher) says(t *testing.T, words string, times int) string {
	t.Helper()
	return w.until(t, words, func(said string) bool { return strings.Count(said, words) >= times })
}

// interrupt ends it as Ctrl-C does.
func (w *watcher) interrupt(t *testing.T) {
	t.Helper()
	if err := w.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	w.ends(t)
}

func (w *watcher) ends(t *testing.T) {
	t.Helper()
	select {
	case <-w.done:
	case <-time.After(patience):
		t.Fatal("it did not end")
	}
	if code := w.cmd.ProcessState.ExitCode(); code != 0 || w.errors.String() != "" {
		t.Errorf("exit status %d: %s", code, w.errors)
	}
}

// One line for each change, through a crash and the next life.
func TestWatchSaysWhatChanges(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.watchStatus(t)
	w.says(t, "deploykeyd: the daemon is not running\n", 1)
	d := s.start(t)
	w.says(t, "deploykeyd: serving, ready\n", 1)
	w.says(t, " acme/api: verified SHA256:", 3)
	d.signal(t, syscall.SIGKILL)
	d.exit(t)
	w.says(t, "deploykeyd: the daemon is not running; 8 keys may remain on a forge\n", 1)
	d = s.start(t)
	w.says(t, "deploykeyd: serving, ready\n", 2)
	said := w.says(t, "gitea acme/api: verified SHA256:", 2)
	w.interrupt(t)

	last := map[string]string{}
	for line := range strings.Lines(said) {
		m := regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  (deploykeyd|warning|[a-z-]+ acme/[a-z]+( deploykeyd:\S+)?): (.+)\n$`).FindStringSubmatch(line)
		if m == nil {
			t.Errorf("the line %q", line)
			continue
		}
		if last[m[1]] == m[3] {
			t.Errorf("said twice: %s", line)
		}
		last[m[1]] = m[3]
	}
	if code := d.terminate(t); code != 0 {
		t.Errorf("the daemon: exit status %d", code)
	}
}

func TestWatchJSONIsAnObjectForEachChange(t *testing.T) {
	t.Parallel()
	s, d := readySite(t)
	w := s.watchStatus(t, "--json")
	w.says(t, `"ready":true`, 1)
	if code := d.terminate(t); code != 0 {
		t.Errorf("the daemon: exit status %d", code)
	}
	said := w.says(t, `"phase":"stopped"`, 1)
	w.interrupt(t)
	before := ""
	for line := range strings.Lines(said) {
		var status agent.Status
		if err := json.Unmarshal([]byte(line), &status); err != nil || line == before {
			t.Errorf("%v, the same as before %v: %s", err, line == before, line)
		}
		before = line
	}
	var first agent.Status
	line, _, _ := strings.Cut(said, "\n")
	if err := json.Unmarshal([]byte(line), &first); err != nil || first.Fleet != "test" || len(first.Repositories) != 8 {
		t.Errorf("first %+v, %v", first, err)
	}
}

// On a terminal the same screen is drawn again, in its size, and Ctrl-C ends it.
func TestWatchRedrawsATerminal(t *testing.T) {
	t.Parallel()
	const width, height = 60, 12
	s, d := readySite(t)
	master, terminal := openTerminal(t, width, height)
	w := &watcher{said: &lockedBuffer{}, errors: &lockedBuffer{}}
	w.cmd = s.program(context.WithoutCancel(t.Context()), "status", "--watch", "--interval", "100ms")
	w.cmd.Stdin, w.cmd.Stdout, w.cmd.Stderr = terminal, terminal, w.errors
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	w.run(t)
	go func() { _, _ = io.Copy(w.said, master) }()

	w.says(t, "\x1b[H", 3)
	if code := d.terminate(t); code != 0 {
		t.Errorf("the daemon: exit status %d", code)
	}
	said := w.says(t, "the daemon is not running: looking for it again", 1)
	if _, err := master.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	w.ends(t)
	frames := strings.Split(said, "\x1b[H")
	if len(frames) < 4 || frames[0] != "\x1b[2J" {
		t.Fatalf("%d frames, the first %q", len(frames), frames[0])
	}
	if !strings.Contains(frames[1], "serving, ready since") || !strings.Contains(frames[1], "more lines: deploykeyd status)") {
		t.Errorf("the first frame is %q", frames[1])
	}
	for _, frame := range frames[1 : len(frames)-1] {
		lines := strings.Split(frame, "\x1b[K\r\n")
		if len(lines) > height || lines[len(lines)-1] != "\x1b[J" {
			t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
		}
		for _, line := range lines[:len(lines)-1] {
			if len([]rune(line)) > width || strings.Contains(line, "\x1b") {
				t.Errorf("the line %q", line)
			}
		}
	}
}

// openTerminal makes a terminal of a size: the end that a person has, and the
// one that a program has.
func openTerminal(t *testing.T, width, height uint16) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	fd := int(master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	unlocked := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	sized := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width})
	if err := errors.Join(err, unlocked, sized); err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return master, terminal
}

// A user of the keys who may not read the journal is told so, and goes on.
func TestWatchOfAUser(t *testing.T) {
	t.Parallel()
	s, d := readySite(t)
	program := filepath.Join(s.dir, "deploykeyd")
	command(t, "cp", os.Args[0], program) // where it lies, only root may run it
	as := func(uid uint32) *exec.Cmd {
		c := s.program(context.WithoutCancel(t.Context()), "status", "--watch", "--interval", "100ms")
		c.Path, c.Dir = program, "/"
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		return c
	}
	w := &watcher{said: &lockedBuffer{}, errors: &lockedBuffer{}, cmd: as(listedUID)}
	w.cmd.Stdout, w.cmd.Stderr = w.said, w.errors
	w.run(t)
	w.says(t, "deploykeyd: serving, ready\n", 1)
	if code, stdout, stderr := finish(t, as(otherUID)); code != 1 || !strings.Contains(stderr, "refused") || stdout != "" {
		t.Errorf("a user who is not listed: exit status %d: %s%s", code, stdout, stderr)
	}
	if code := d.terminate(t); code != 0 {
		t.Errorf("the daemon: exit status %d", code)
	}
	w.says(t, "deploykeyd: the daemon is not running; what may remain on forges is not known: ", 1)
	w.interrupt(t)
}

// What cannot become better is told and ends it.
func TestWatchEndsWhenItCannotGoOn(t *testing.T) {
	t.Parallel()
	s, d := readySite(t)
	for args, want := range map[string]string{
		"--interval 1s":                     "--interval is for --watch",
		"--watch --sockets":                 "--watch shows no sockets",
		"--watch --interval 99ms":           "shorter than 100ms",
		"--watch --interval 0":              "shorter than 100ms",
		"--watch --interval soon":           "invalid argument",
		"--watch --interval -1s --json":     "shorter than 100ms",
		"--watch --sockets --interval 100s": "--watch shows no sockets",
	} {
		code, stdout, stderr := s.do(t, append([]string{"status"}, strings.Fields(args)...)...)
		if code != 2 || !strings.Contains(stderr, want) || !strings.Contains(stderr, "next:") || stdout != "" {
			t.Errorf("status %s: exit status %d: %s%s", args, code, stdout, stderr)
		}
	}
	// A reader that has gone, as head has after its lines.
	gone := s.program(t.Context(), "status", "--watch", "--interval", "100ms", "--json")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = read.Close()
	var stderr bytes.Buffer
	gone.Stdout, gone.Stderr = write, &stderr
	err = gone.Run()
	_ = write.Close()
	if err == nil {
		t.Error("it went on without a reader")
	}
	if code := d.terminate(t); code != 0 {
		t.Errorf("the daemon: exit status %d", code)
	}
}
