//go:build boot

package boot_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// entry is one line of a machine's journal.
type entry struct {
	Unit    string // that wrote it, or that systemd speaks of
	Message string
	Manager bool          // written by systemd about the unit
	At      time.Duration // of the monotonic clock, which is this machine's too
}

func (e entry) String() string {
	return fmt.Sprintf("[%10.3f] %s: %s", e.At.Seconds(), e.Unit, e.Message)
}

// UnmarshalJSON reads journalctl -o json.
func (e *entry) UnmarshalJSON(text []byte) error {
	var raw struct {
		Message   any    `json:"MESSAGE"` // a list of bytes where it is not plain text
		Of        string `json:"UNIT"`
		By        string `json:"_SYSTEMD_UNIT"`
		ID        string `json:"SYSLOG_IDENTIFIER"`
		Monotonic int64  `json:"__MONOTONIC_TIMESTAMP,string"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return err
	}
	*e = entry{Unit: raw.By, At: time.Duration(raw.Monotonic) * time.Microsecond}
	switch m := raw.Message.(type) {
	case string:
		e.Message = m
	case []any:
		for _, b := range m {
			if n, ok := b.(float64); ok {
				e.Message += string(rune(int(n)))
			}
		}
	}
	if raw.ID == "systemd" {
		e.Unit, e.Manager = raw.Of, true
	}
	return nil
}

// log is what the journal of one boot says, as it grows.
type log struct {
	mu      sync.Mutex
	entries []entry
	changed chan struct{} // closed and replaced at each entry
	off     chan struct{} // closed when the machine has ended
	stop    func()        // ends the follower and waits for it
}

// followJournal follows the journal of a boot from its beginning, until stop. The
// follower is a process of this side: in the machine it would be in the way of
// its shutdown.
func followJournal(t *testing.T, m *machine) *log {
	t.Helper()
	boot := strings.ReplaceAll(strings.TrimSpace(m.do(t, "cat", "/proc/sys/kernel/random/boot_id")), "-", "")
	c := exec.CommandContext(context.WithoutCancel(t.Context()), "journalctl", "--directory", filepath.Join(m.disk.root, "var/log/journal"),
		"--follow", "--no-tail", "--output=json", "_BOOT_ID="+boot)
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	l := &log{changed: make(chan struct{}), off: m.done, stop: func() {
		_ = c.Process.Kill()
		<-ended
	}}
	go func() {
		defer close(ended)
		l.take(out)
		_ = c.Wait()
	}()
	return l
}

func (l *log) take(from io.Reader) {
	lines := bufio.NewReader(from)
	for {
		text, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var e entry
		if json.Unmarshal(text, &e) != nil {
			continue
		}
		l.mu.Lock()
		l.entries = append(l.entries, e)
		close(l.changed)
		l.changed = make(chan struct{})
		l.mu.Unlock()
	}
}

// now returns how many entries there are: a place from which to look.
func (l *log) now() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries)
}

// since returns the entries from a place on that match.
func (l *log) since(from int, match func(entry) bool) []entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []entry
	for _, e := range l.entries[from:] {
		if match(e) {
			found = append(found, e)
		}
	}
	return found
}

// await waits for n entries from a place on that match.
func (l *log) await(t *testing.T, what string, from, n int, match func(entry) bool) {
	t.Helper()
	deadline := time.After(patience)
	for next := from; ; {
		l.mu.Lock()
		for ; next < len(l.entries); next++ {
			if match(l.entries[next]) {
				if n--; n == 0 {
					l.mu.Unlock()
					return
				}
			}
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-l.off:
			t.Fatalf("in vain: %s; the machine has ended and its journal with\n%s", what, l.tail(30))
		case <-deadline:
			t.Fatalf("in vain: %s; the journal ends in\n%s", what, l.tail(30))
		}
	}
}

// tail returns the last n entries as text.
func (l *log) tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for _, e := range l.entries[max(0, len(l.entries)-n):] {
		fmt.Fprintln(&b, e)
	}
	return b.String()
}

// said matches what a unit itself wrote.
func said(unit, words string) func(entry) bool {
	return func(e entry) bool { return !e.Manager && e.Unit == unit && strings.Contains(e.Message, words) }
}

// about matches what systemd says of a unit.
func about(unit, words string) func(entry) bool {
	return func(e entry) bool { return e.Manager && e.Unit == unit && strings.Contains(e.Message, words) }
}

// order fails the test unless the entries that match come in this order, the
// last of each: an agent that its gate holds back is stopped and started anew.
func order(t *testing.T, entries []entry, steps ...step) {
	t.Helper()
	last, lastAt := "", -1
	for _, s := range steps {
		at := -1
		for i, e := range entries {
			if s.match(e) {
				at = i
			}
		}
		switch {
		case at < 0:
			t.Errorf("the journal does not show: %s", s.what)
			continue
		case at < lastAt:
			t.Errorf("%q comes before %q", s.what, last)
		}
		t.Logf("%s: %s", s.what, entries[at])
		last, lastAt = s.what, at
	}
}

// step is one thing that a journal shows.
type step struct {
	what  string
	match func(entry) bool
}

// readJournal returns the newest boot in the journal of a disk that nothing is
// booted from.
func readJournal(t *testing.T, d *disk) []entry {
	t.Helper()
	text := must(t, "journalctl", "--directory", filepath.Join(d.root, "var/log/journal"), "--output=json", "--boot=0")
	var all []entry
	for line := range strings.Lines(text) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}
