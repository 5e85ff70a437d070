package agent_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/provision"
)

// A lost request that lands late, after another refusal ended its record: the
// key that is settled must not be the one that is in use.
func TestKeyGivenUpIsNotUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		asked := 0
		w.forge("tea").register = func(path string) fault {
			if path != "acme/api" {
				return fault{}
			}
			switch asked++; asked {
			case 1:
				return fault{lost: true, late: time.Minute}
			case 2:
				return fault{refuse: &provision.Error{Class: provision.TitleClash, Status: 422}}
			}
			return fault{}
		}
		l := w.start(t, w.options())
		l.awaitReady(t, time.Hour)
		time.Sleep(afterWindow) //nolint:forbidigo // virtual time
		if diff := cmp.Diff(oneEach, w.allKeys()); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
		if s := l.Status(); !s.Ready || len(s.Remaining) != 0 {
			t.Errorf("ready %v, remaining %+v", s.Ready, s.Remaining)
		}
		if got, lent := w.forge("tea").live("acme/api")[0].Key, w.lent["tea/acme/api"]; got != lent {
			t.Error("the key on the forge is not the one that is lent")
		}
		if remnants := l.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 {
			t.Errorf("remnants %v, keys %v", remnants, w.allKeys())
		}
	})
}

// Absence counts from the first list, however long after the request that is.
func TestFirstListLongAfterTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.forge("tea").register = func(path string) fault {
			if path == "acme/api" {
				return fault{lost: true, late: 25 * time.Minute}
			}
			return fault{}
		}
		w.forge("tea").list = func(string) error { return errDead } // the first life never gets a list
		first := w.start(t, w.options())
		synctest.Wait()
		first.kill(t)
		w.reboot()
		w.mu.Lock()
		w.forges["tea"].register, w.forges["tea"].list = nil, nil
		w.mu.Unlock()
		time.Sleep(20 * time.Minute) //nolint:forbidigo // virtual time
		second := w.start(t, w.options())
		second.awaitReady(t, time.Minute)
		time.Sleep(afterWindow) //nolint:forbidigo // virtual time
		if diff := cmp.Diff(oneEach, w.allKeys()); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
		if remnants := second.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 {
			t.Errorf("remnants %v, keys %v", remnants, w.allKeys())
		}
	})
}

// A forge's clock that jumps ahead does not make a lost request old.
func TestClockThatJumpsDoesNotSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		hub := w.forge("hub")
		hub.register = func(path string) fault {
			if path == "acme/one" {
				return fault{lost: true, late: 5 * time.Minute}
			}
			return fault{}
		}
		hub.list = func(string) error { return errDead }
		first := w.start(t, w.options())
		synctest.Wait()
		first.kill(t)
		w.reboot()
		w.mu.Lock()
		hub.register, hub.list = nil, nil
		w.mu.Unlock()
		second := w.start(t, w.options())
		second.awaitReady(t, time.Minute)
		w.mu.Lock()
		hub.offset = time.Hour
		w.mu.Unlock()
		time.Sleep(afterWindow) //nolint:forbidigo // virtual time
		if diff := cmp.Diff(oneEach, w.allKeys()); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
		second.stop(t)
	})
}

// A lost request whose repository then denies us: the key that lands must go.
func TestLostRequestBeforeAFinalRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		asked := 0
		w.forge("tea").register = func(path string) fault {
			if path != "acme/api" {
				return fault{}
			}
			if asked++; asked == 1 {
				return fault{lost: true, late: 5 * time.Minute}
			}
			return fault{refuse: &provision.Error{Class: provision.Denied, Message: "no"}}
		}
		l := w.start(t, w.options())
		time.Sleep(afterWindow) //nolint:forbidigo // virtual time
		if keys := w.forge("tea").live("acme/api"); len(keys) != 0 {
			t.Errorf("the key that landed is still there: %+v", keys)
		}
		if remnants := l.stop(t); len(remnants) != 0 {
			t.Errorf("remnants %+v", remnants)
		}
	})
}

// A refusal that is final and uncertain at once: the key that it may have left
// is settled under its own title.
func TestUncertainClashKeepsItsRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		asked := 0
		w.forge("hub").register = func(path string) fault {
			if path != "acme/one" {
				return fault{}
			}
			if asked++; asked == 1 {
				return fault{lost: true, late: 5 * time.Minute, class: provision.InUseElsewhere}
			}
			return fault{}
		}
		l := w.start(t, w.options())
		l.awaitReady(t, time.Minute)
		time.Sleep(afterWindow) //nolint:forbidigo // virtual time
		if diff := cmp.Diff(oneEach, w.allKeys()); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
		if remnants := l.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 {
			t.Errorf("remnants %v, keys %v", remnants, w.allKeys())
		}
	})
}
