package main_test

import (
	"os"
	"slices"
	"syscall"
	"testing"
)

// TestACrashKeepsTheKeys has a service manager that holds descriptors and starts
// the daemon again, as systemd does.
func TestACrashKeepsTheKeys(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := newManager(t, s)
	d := m.start(t)
	d.ready(t)
	ids := s.ids()
	b := s.build(t)
	for range 3 {
		last := d.status(t)
		b.another(t)
		d.signal(t, syscall.SIGKILL)
		d.exit(t)
		d = m.start(t)
		d.startedAfter(t, last)
	}
	b.end(t)
	if now := s.ids(); !slices.Equal(now, ids) {
		t.Errorf("the keys were %v and are %v", ids, now)
	}
	m.await(t, "READY=1")
	m.await(t, "WATCHDOG=1")
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	m.await(t, "STOPPING=1")
	if keys := s.keys(); len(keys) != 0 {
		t.Errorf("keys after the stop: %v", keys)
	}
	if held := m.names(); len(held) != 0 {
		t.Errorf("the manager still holds %v", held)
	}
}

// What the manager hands back may be of another time: it is not believed.
func TestParkedKeysOfAnotherJournalAreNotUsed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := newManager(t, s)
	d := m.start(t)
	d.ready(t)
	ids := s.ids()
	d.signal(t, syscall.SIGKILL)
	d.exit(t)
	if err := os.Rename(s.journal(), s.journal()+".away"); err != nil {
		t.Fatal(err)
	}
	d = m.start(t)
	d.ready(t)
	for _, id := range s.ids() {
		if slices.Contains(ids, id) {
			continue
		}
		if code := d.terminate(t); code != 0 {
			t.Errorf("exit status %d", code)
		}
		if now := s.ids(); !slices.Equal(now, ids) {
			t.Errorf("after the stop there are %v, want what the lost journal held: %v", now, ids)
		}
		return
	}
	t.Error("no new key was made")
}

// After a crash the service manager still holds the socket: connecting to it
// works, and nobody answers. The journal is what revoke has then, and a daemon
// that comes later does not carry out what was asked meanwhile.
func TestRevokeWhileOnlyTheManagerHoldsTheSocket(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := newManager(t, s)
	d := m.start(t)
	d.ready(t)
	d.signal(t, syscall.SIGKILL)
	d.exit(t)
	if code, _, stderr := s.do(t, "revoke", "--timeout", "40s"); code != 0 {
		t.Errorf("revoke: exit status %d: %s", code, stderr)
	}
	if keys := s.keys(); len(keys) != 0 {
		t.Errorf("keys: %v", keys)
	}
	d = m.start(t)
	d.ready(t)
	d.logs(t, "who gave it has gone")
	if status := d.status(t); !status.Ready {
		t.Errorf("the next daemon carried out an old command: %+v", status)
	}
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}
