package service_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

func TestNotifications(t *testing.T) {
	m, s := underStandIn(t)
	for want, tell := range map[string]func() error{
		"READY=1\nSTATUS=3 keys":                                    func() error { return m.Ready("3 keys") },
		"STOPPING=1\nEXTEND_TIMEOUT_USEC=25000000\nSTATUS=revoking": func() error { return m.Stopping("revoking", 25*time.Second) },
		"STATUS=2 of 3":               func() error { return m.Status("2 of 3") },
		"STATUS=a READY=1 b c":        func() error { return m.Status("a\nREADY=1\rb\x00c") },
		"STATUS=?\u00fc":              func() error { return m.Status("\xff\u00fc") },
		"STATUS=":                     func() error { return m.Status("") },
		"WATCHDOG=1":                  m.Alive,
		"FDSTOREREMOVE=1\nFDNAME=a b": func() error { return m.Discard("a b") },
	} {
		if err := tell(); err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		got := s.receive()
		if got.text != want || len(got.files) != 0 || got.pid != os.Getpid() {
			t.Errorf("got %q, want %q; with %d files, from %d", got.text, want, len(got.files), got.pid)
		}
	}
}

func TestLongStatusIsCutBetweenCharacters(t *testing.T) {
	m, s := underStandIn(t)
	for _, text := range []string{strings.Repeat("\u20ac", 3000), "x" + strings.Repeat("\u20ac", 3000)} {
		if err := m.Status(text); err != nil {
			t.Fatal(err)
		}
		got := s.receive().text
		if len(got) < 1000 || len(got) > 1100 || !utf8.ValidString(got) || !strings.HasPrefix("STATUS="+text, got) {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	}
}

func TestReloadingSaysWhen(t *testing.T) {
	m, s := underStandIn(t)
	clock := func() int64 {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			t.Fatal(err)
		}
		return now.Nano() / 1000
	}
	before := clock()
	if err := m.Reloading(); err != nil {
		t.Fatal(err)
	}
	after := clock()
	text, found := strings.CutPrefix(s.receive().text, "RELOADING=1\nMONOTONIC_USEC=")
	micros, err := strconv.ParseInt(text, 10, 64)
	if !found || err != nil || micros < before || micros > after {
		t.Errorf("%q is not between %d and %d", text, before, after)
	}
}

func TestStoreSendsTheFile(t *testing.T) {
	m, s := underStandIn(t)
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for _, name := range []string{"agent.sock", "r/0123456789abcdef", "with space", strings.Repeat("x", 255)} {
		if err := m.Store(name, f); err != nil {
			t.Fatal(err)
		}
		got := s.receive()
		if got.text != "FDSTORE=1\nFDNAME="+name || len(got.files) != 1 {
			t.Fatalf("%q with %d files", got.text, len(got.files))
		}
		want, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if info, err := got.files[0].Stat(); err != nil || !os.SameFile(info, want) {
			t.Errorf("it is another file, %v", err)
		}
	}
	if _, err := f.WriteString("x"); err != nil {
		t.Errorf("the file is not ours any more: %v", err)
	}
	_ = f.Close()
	for what, f := range map[string]*os.File{"a closed file": f, "no file": nil} {
		if err := m.Store("x", f); err == nil {
			t.Errorf("%s is stored", what)
		}
	}
}

func TestNamesOfDescriptors(t *testing.T) {
	m, _ := underStandIn(t)
	for _, name := range []string{"", "a:b", "a\nREADY=1", "a\x7f", "\u00fc", "a\x00", strings.Repeat("x", 256)} {
		for what, err := range map[string]error{
			"Store":   m.Store(name, os.Stdin),
			"Discard": m.Discard(name),
			"Reexec":  m.Reexec("/proc/self/none", []string{"x"}, map[string]*os.File{name: os.Stdin}),
		} {
			if err == nil || !strings.Contains(err.Error(), "no name for a descriptor") {
				t.Errorf("%s of %q: %v", what, name, err)
			}
		}
	}
}

func TestAbstractAddress(t *testing.T) {
	s := newStandIn(t, fmt.Sprintf("@deploykeyd-test-%d", os.Getpid()))
	t.Setenv("NOTIFY_SOCKET", s.address)
	m := fromEnvironment(t)
	if err := m.Alive(); err != nil {
		t.Fatal(err)
	}
	if got := s.receive(); got.text != "WATCHDOG=1" {
		t.Errorf("got %q", got.text)
	}
}

// The manager may have been executed anew meanwhile.
func TestAnotherManagerAtTheAddress(t *testing.T) {
	m, s := underStandIn(t)
	if err := m.Alive(); err != nil {
		t.Fatal(err)
	}
	_ = s.socket.Close()
	_ = os.Remove(s.address)
	if err := m.Ready(""); err == nil || !strings.Contains(err.Error(), "READY") {
		t.Errorf("without a manager: %v", err)
	}
	s = newStandIn(t, s.address)
	if err := m.Alive(); err != nil {
		t.Fatal(err)
	}
	if got := s.receive(); got.text != "WATCHDOG=1" {
		t.Errorf("got %q", got.text)
	}
}

func TestOutsideAManagerNothingHappens(t *testing.T) {
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS"} {
		t.Setenv(name, "")
	}
	m := fromEnvironment(t)
	err := errors.Join(m.Ready("x"), m.Reloading(), m.Stopping("x", time.Second), m.Status("x"), m.Alive(), m.Store("x", os.Stdin), m.Discard("x"))
	if err != nil || m.Watchdog() != 0 || len(m.Inherited()) != 0 {
		t.Errorf("%v, watchdog %v", err, m.Watchdog())
	}
}

func TestWatchdog(t *testing.T) {
	mine := strconv.Itoa(os.Getpid())
	for name, c := range map[string]struct {
		micros, pid string
		want        time.Duration
	}{
		"ours":        {"30000000", mine, 15 * time.Second},
		"anybody's":   {"30000000", "", 15 * time.Second},
		"another's":   {"30000000", "1", 0},
		"none at all": {"", mine, 0},
	} {
		t.Setenv("WATCHDOG_USEC", c.micros)
		t.Setenv("WATCHDOG_PID", c.pid)
		if got := fromEnvironment(t).Watchdog(); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
