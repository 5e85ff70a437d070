//go:build linux

package credential

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// script returns a program that sh runs.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "give")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCommand(t *testing.T) {
	path := script(t, `printf '%s\n' "$1"; echo talk >&2`)
	for _, argv := range [][]string{{path, theToken}, {path, theToken + "\r"}, {"sh", "-c", "printf " + theToken}} {
		source := Command(argv, 0)
		if secret, err := source.Load(t.Context()); err != nil || secret.Reveal() != theToken {
			t.Errorf("%s gives %v", source, err)
		}
		if source.String() != "command "+argv[0] {
			t.Errorf("is called %q", source)
		}
	}
	argv := []string{"sh", "-c", "echo one"}
	source := Command(argv, 0)
	argv[2] = "echo two"
	if secret, err := source.Load(t.Context()); err != nil || secret.Reveal() != "one" {
		t.Errorf("its arguments are another's: %v", err)
	}
	if secret, err := Command([]string{"sh", "-c", "cat; echo end"}, 0).Load(t.Context()); err != nil || secret.Reveal() != "end" {
		t.Errorf("without input gives %q, %v", secret.Reveal(), err)
	}
	if name := Command([]string{"/bin/a\nb", "secret"}, 0).String(); name != `command "/bin/a\nb"` {
		t.Errorf("is called %s", name)
	}
}

func TestCommandFails(t *testing.T) {
	tokenTo := func(where string) string { return "printf " + theToken + where + "; " }
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"exit status", tokenTo("") + "echo 'permission denied' >&2; exit 3", []string{"exit status 3", `it said "permission denied"`}},
		{"signal", tokenTo("") + "kill -9 $$", []string{"signal: killed", "said nothing"}},
		{"stderr repeats stdout", tokenTo("") + tokenTo(" >&2") + "exit 1", []string{"exit status 1", `it said "[redacted]"`}},
		{"stderr has a part of stdout", tokenTo("") + "printf " + theToken[:20] + "... >&2; exit 1", []string{`"[redacted]..."`}},
		{"much of it", tokenTo("") + "head -c 100000 /dev/zero >&2; " + tokenTo(" >&2") + "exit 1", []string{`\x00`, "…"}},
		{"controls", "printf '\\033[31mred\\n\\007' >&2; exit 1", []string{`"\x1b[31mred\n\a"`}},
		{"nothing", "echo 'no route' >&2; exit 0", []string{"output is empty", `it said "no route"`}},
		{"only a newline", "echo", []string{"output is empty"}},
		{"stderr repeats an argument", `echo "unknown flag $1" >&2; exit 1`, []string{`"unknown flag [redacted]"`}},
		{"stderr has another credential", `printf %s 0th3r-qZ7x81kP2v >&2; exit 1`, []string{"[redacted]"}},
		{"two lines", tokenTo("") + "echo; echo more", []string{"several lines"}},
		{"two newlines", tokenTo("") + "echo; echo", []string{"several lines"}},
		{"a header's end", "printf '" + theToken + `\r\nX-Evil: 1'`, []string{"several lines"}},
		{"spaces", "echo the " + theToken, []string{"spaces"}},
		{"too much", "head -c 65537 /dev/zero | tr '\\0' x", []string{"more than 65536"}},
		{"without end", "exec yes " + theToken, []string{"more than 65536"}},
		{"without end, deaf", "trap '' PIPE TERM; yes " + theToken + "; sleep 600", []string{"more than 65536"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := script(t, c.text)
			t.Setenv("DEPLOYKEYD_TEST_OTHER", "0th3r-qZ7x81kP2v")
			secret, err := Command([]string{path, "Ar9-x81kQv77zzTop"}, 0, "DEPLOYKEYD_TEST_OTHER").Load(t.Context())
			if err == nil || !secret.IsZero() {
				t.Fatal("accepted")
			}
			// What says itself that it failed may fare better next time, and so may
			// what had nothing to say.
			trouble, passing := errors.AsType[*Error](err)
			if passing != (strings.Contains(err.Error(), "exit status ") || strings.Contains(err.Error(), "signal: ") || strings.Contains(err.Error(), "is empty")) {
				t.Errorf("is worth another try: %v: %v", passing, err)
			}
			if passing && (trouble.Reason != Trouble || !strings.Contains(trouble.Next, "run it as this user")) {
				t.Errorf("%s: next %q", trouble.Reason, trouble.Next)
			}
			for _, want := range append(c.want, "credential command "+path) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("lacks %q: %v", want, err)
				}
			}
			if strings.ContainsAny(err.Error(), "\n\x1b\x00") {
				t.Errorf("is no plain line: %q", err)
			}
			hidden(t, c.name, err.Error(), theToken, "Ar9-x81kQv77zzTop", "0th3r-qZ7x81kP2v")
		})
	}
}

func TestCommandNotFound(t *testing.T) {
	here := t.TempDir()
	t.Chdir(here)
	if err := errors.Join(
		os.WriteFile("give", []byte("#!/bin/sh\necho here\n"), 0o700),
		os.WriteFile("plain", []byte("#!/bin/sh\necho here\n"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, program, want string
	}{
		{"/usr/bin:/bin", "give", "no such program"},
		{".:/bin", "give", "current directory"},
		{":/bin", "give", "current directory"},
		{"/bin", "./give", "relative"},
		{"/bin", "sub/give", "relative"},
		{"/bin", here + "/none", "no such program"},
		{"/bin", here + "/plain", "may not be run"},
		{"/bin", here, "cannot be run"},
		{"/bin", "", "names no program"},
	} {
		t.Setenv("PATH", c.path)
		secret, err := Command([]string{c.program}, 0).Load(t.Context())
		next := ""
		e, passing := errors.AsType[*Error](err)
		if passing {
			next = e.Next
		}
		if err == nil || !secret.IsZero() || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error()+next, "absolute path") && c.want != "cannot be run" {
			t.Errorf("%q by %q gives %v; next: %s", c.program, c.path, err, next)
		}
		if passing != (c.want == "no such program") || passing && e.Reason != Trouble { // it may come with a file system
			t.Errorf("%q by %q is worth another try: %v", c.program, c.path, passing)
		}
	}
	if _, err := Command(nil, 0).Load(t.Context()); err == nil || Command(nil, 0).String() != "command" {
		t.Errorf("nothing gives %v", err)
	}
}

// TestCommandCannotStart tells what may be over soon from what a person has to
// put right.
func TestCommandCannotStart(t *testing.T) {
	busy := script(t, "echo tok")
	writer, err := os.OpenFile(busy, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	lost := script(t, "")
	if err := os.WriteFile(lost, []byte("#!/nonexistent/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	binary := script(t, "")
	if err := os.WriteFile(binary, []byte("\x7fELF and no more"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, c := range map[string]struct {
		says    string
		passing bool
	}{
		busy:   {"text file busy", true},
		lost:   {"no such file", true},
		binary: {"exec format error", false},
	} {
		_, err := Command([]string{path}, 0).Load(t.Context())
		e, passing := errors.AsType[*Error](err)
		if err == nil || !strings.Contains(err.Error(), c.says) || passing != c.passing || passing && (e.Reason != Trouble || e.Next == "") {
			t.Errorf("gives %v, worth another try: %v", err, passing)
		}
	}
	for _, short := range []error{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE} {
		if e, ok := errors.AsType[*Error](failed(&os.PathError{Op: "fork/exec", Path: "/x", Err: short}, "")); !ok || e.Reason != Trouble {
			t.Errorf("%v is final", short)
		}
	}
	if _, ok := errors.AsType[*Error](failed(&os.PathError{Op: "fork/exec", Path: "/x", Err: syscall.EACCES}, "")); ok {
		t.Error("a program that may not be run is tried again")
	}
}

// hangs returns a program that starts another one and waits with it, and where
// the process ids of the two will be.
func hangs(t *testing.T) (path, pids string) {
	t.Helper()
	pids = filepath.Join(t.TempDir(), "pids")
	return script(t, "printf "+theToken+"; echo waiting >&2; sleep 600 & echo $$ $! >"+pids+".new; mv "+pids+".new "+pids+"; wait"), pids
}

// gone waits for the end of the processes of a program that hung.
func gone(t *testing.T, pids string) {
	t.Helper()
	text, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for pid := range strings.FieldsSeq(string(text)) {
		line := filepath.Join("/proc", pid, "cmdline")
		until(t, "process "+pid+" ends", func() bool { text, err := os.ReadFile(line); return err != nil || len(text) == 0 })
	}
}

// until waits for another process.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick, end := time.NewTicker(5*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: it did not come to that", what)
		}
	}
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

func TestCommandTimesOut(t *testing.T) {
	path, pids := hangs(t)
	_, err := Command([]string{path}, 500*time.Millisecond).Load(t.Context())
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Reason != Trouble || !strings.Contains(err.Error(), "within 500ms") || !strings.Contains(err.Error(), `said "waiting`) || e.Next == "" {
		t.Fatalf("gives %v", err)
	}
	hidden(t, "the error", err.Error()+e.Next, theToken)
	gone(t, pids)
}

func TestCommandIsCancelled(t *testing.T) {
	path, pids := hangs(t)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { _, err := Command([]string{path}, time.Minute).Load(ctx); result <- err }()
	until(t, "it runs", func() bool { return exists(pids) })
	cancel()
	err := <-result
	if _, asked := errors.AsType[*Error](err); !errors.Is(err, context.Canceled) || asked {
		t.Errorf("gives %v", err)
	}
	gone(t, pids)
}

// TestCommandLeavesNothing has programs end while what they started goes on.
func TestCommandLeavesNothing(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"well":                       {"sleep 600 >/dev/null 2>&1 & echo $! >PIDS; echo " + theToken, ""},
		"well, with an open output":  {"sleep 600 & echo $! >PIDS; echo " + theToken, "holds its output open"},
		"badly":                      {"sleep 600 >/dev/null 2>&1 & echo $! >PIDS; exit 3", "exit status 3"},
		"badly, with an open output": {"sleep 600 & echo $! >PIDS; exit 3", "exit status 3"},
		"by a signal":                {"sleep 600 & echo $! >PIDS; kill -9 $$", "signal: killed"},
		"having said too much":       {"sleep 600 & echo $! >PIDS; head -c 70000 /dev/zero", "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			pids := filepath.Join(t.TempDir(), "pids")
			secret, err := Command([]string{script(t, strings.ReplaceAll(c.text, "PIDS", pids))}, time.Minute).Load(t.Context())
			if c.want == "" && (err != nil || secret.Reveal() != theToken) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("gives %v", err)
			}
			gone(t, pids)
		})
	}
}

// TestCommandDiesWithUs kills a process whose program runs.
func TestCommandDiesWithUs(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	path := script(t, "echo $$ >"+pids+".new; mv "+pids+".new "+pids+"; exec sleep 600")
	cmd := child(t, "command", "DEPLOYKEYD_TEST_NAME="+path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "it runs", func() bool { return exists(pids) })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	gone(t, pids)
}
