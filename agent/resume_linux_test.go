package agent_test

import (
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent"
	"deploykeyd/agent/key"
	"deploykeyd/provision"
)

// What became of a request that was under way when the life was killed.
func TestResumedRequestIsSettledByTheList(t *testing.T) {
	for name, c := range map[string]struct {
		flaw fault
		asks int // in the second life
	}{
		"took effect":       {fault{lost: true}, 0},
		"took no effect":    {fault{lost: true, none: true}, 1},
		"takes effect late": {fault{lost: true, late: 5 * time.Minute}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newParkedWorld(t)
				w.forge("tea").register = func(path string) fault {
					if path == "acme/api" {
						return c.flaw
					}
					return fault{}
				}
				w.forge("tea").list = func(string) error { return errDead }
				l := w.start(t, w.options())
				synctest.Wait()
				l.kill(t)
				w.forge("tea").register, w.forge("tea").list = nil, nil
				second := w.run(w.successor(t, nil))
				second.awaitReady(t, time.Minute)
				if got := w.registers(); got["acme/api"] != c.asks || len(got) > 1 {
					t.Errorf("the second life asked to register %v", got)
				}
				w.finish(t, second)
			})
		})
	}
}

// A registered key that was not proven goes on to be, without a new one; where
// the list cannot be had the key is not lent.
func TestResumedBeforeItIsProven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParkedWorld(t)
		w.verify = func(string, provision.Repository) error { return errDead }
		l := w.start(t, w.options())
		synctest.Wait()
		l.kill(t)
		w.verify = nil
		w.forge("hub").list = func(string) error { return &provision.Error{Class: provision.Transient, Message: "trouble"} }
		second := w.run(w.successor(t, nil))
		synctest.Wait()
		if len(w.builds()) != 2 || len(w.registers()) != 0 {
			t.Errorf("lent %v, asked to register %v", w.builds(), w.registers())
		}
		if r := second.Status().Repositories[2]; r.Condition != agent.ConditionRegistered {
			t.Errorf("%+v", r)
		}
		w.mu.Lock()
		w.forges["hub"].list = nil
		w.mu.Unlock()
		w.finish(t, second)
	})
}

// A key that may do too much is found out again.
func TestResumedKeyWithTooMuchAccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParkedWorld(t)
		o := w.options()
		o.Forges[0].Forge = grantsWrite{w.forge("tea")}
		l := w.start(t, o)
		synctest.Wait()
		l.kill(t)
		second := w.run(w.successor(t, nil))
		synctest.Wait()
		if s := second.Status().Repositories[0]; s.Condition != agent.ConditionFailed || w.registered()["tea/acme/api"] != 1 {
			t.Errorf("%+v, registered %v", s, w.registered())
		}
		if remnants := second.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 {
			t.Errorf("remnants %v, keys %v", remnants, w.allKeys())
		}
	})
}

// G4: what failed its proof in one life is not lent by the next before git has
// read it again.
func TestG4DisprovedIsNotResumedAsVerified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParkedWorld(t)
		l := w.start(t, w.options())
		l.awaitReady(t, time.Second)
		w.mu.Lock()
		w.verify = func(_ string, repo provision.Repository) error {
			if repo == "acme/one" {
				return &provision.Error{Class: provision.Denied, Message: "no more"}
			}
			return nil
		}
		w.mu.Unlock()
		if _, err := l.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.kill(t)
		second := w.run(w.successor(t, nil))
		synctest.Wait()
		if _, lent := w.builds()["hub/acme/one"]; lent || len(w.builds()) != 3 {
			t.Errorf("lent %v", w.builds())
		}
		w.verify = nil
		if _, err := second.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.finish(t, second)
	})
}

// The repository needed a key of its own, because its forge knew the first.
func TestResumedAfterTheKeyWasRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParkedWorld(t)
		refused := map[string]bool{}
		for _, name := range []string{"tea", "hub"} {
			w.forge(name).register = func(path string) fault {
				if refused[name] || path == "acme/rel" || path == "acme/two" {
					return fault{}
				}
				refused[name] = true
				return fault{refuse: &provision.Error{Class: provision.InUseElsewhere, Status: 422}}
			}
		}
		l := w.start(t, w.options())
		l.awaitReady(t, time.Minute)
		before := w.builds()
		l.kill(t)
		if len(w.parked) != 4 {
			t.Errorf("%d keys are parked, want two of each forge", len(w.parked))
		}
		second := w.run(w.successor(t, nil))
		second.awaitReady(t, time.Second)
		if before["tea/acme/api"] == before["tea/acme/rel"] || !maps.Equal(before, w.builds()) {
			t.Errorf("lent before %v, after %v", before, w.builds())
		}
		w.finish(t, second)
	})
}

func TestVerifyWorksOnWhatWasResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := resumable(t)
		w.forge("hub").keys["acme/one"] = nil // somebody deleted it
		l := w.run(w.successor(t, nil))
		l.awaitReady(t, time.Second)
		if s, err := l.Verify(t.Context()); err != nil || !s.Ready {
			t.Errorf("%v, %+v", err, s)
		}
		w.checkLent(t)
		if w.registered()["hub/acme/one"] != 2 || w.registered()["tea/acme/api"] != 1 {
			t.Errorf("registered %v", w.registered())
		}
		if remnants := l.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 {
			t.Errorf("remnants %v, keys %v", remnants, w.allKeys())
		}
	})
}

// resumable is a world whose life was killed when all was ready.
func resumable(t *testing.T) *world {
	t.Helper()
	w := newParkedWorld(t)
	l := w.start(t, w.options())
	l.awaitReady(t, time.Second)
	l.kill(t)
	return w
}

// A life that was resumed whole is ready without asking anybody anything, and
// says since when it goes on.
func TestResumedIsReadyWithoutARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := resumable(t)
		l := w.run(w.successor(t, nil))
		l.awaitReady(t, time.Second)
		time.Sleep(afterWindow) //nolint:forbidigo // virtual time
		if got := len(w.happened()); got != 4 {
			t.Errorf("more than the four keys were lent: %v", w.happened())
		}
		s := l.Status()
		if !s.Ready || s.Resumed.IsZero() || len(s.Warnings) != 0 || s.Repositories[0].Verified.IsZero() {
			t.Errorf("status %+v", s)
		}
		l.stop(t)
	})
}

// G6: what was taken over is looked for before it is deleted, and deletes still
// come before the lists that prove them.
func TestG6ResumedKeysAreSeenBeforeTheyAreDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := resumable(t)
		l := w.run(w.successor(t, func(o *agent.Options) {
			o.Forges = o.Forges[:1]
			o.Forges[0].Repositories = o.Forges[0].Repositories[:1]
		}))
		l.awaitReady(t, time.Second)
		time.Sleep(time.Minute) //nolint:forbidigo // virtual time: the others are settled
		w.mu.Lock()
		w.events = nil
		w.mu.Unlock()
		l.stop(t)
		want := []string{"withdraw acme/api", "list acme/api", "delete acme/api", "deleted acme/api", "list acme/api", "forget"}
		if diff := cmp.Diff(want, w.happened()); diff != "" {
			t.Errorf("steps (-want +got):\n%s", diff)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := resumable(t)
		foreign := foreignKey(t, w.forge("hub"), "acme/one")
		w.mu.Lock()
		keys := w.forges["hub"].keys["acme/one"]
		keys[1].ID = keys[0].ID // the id was given away again
		w.forges["hub"].keys["acme/one"] = keys[1:]
		w.mu.Unlock()
		l := w.run(w.successor(t, nil))
		l.awaitReady(t, time.Second)
		if remnants := l.stop(t); len(remnants) != 0 {
			t.Errorf("remnants %+v", remnants)
		}
		if left := w.forge("hub").live("acme/one"); len(left) != 1 || left[0].Key != foreign.Key {
			t.Errorf("left %+v", left)
		}
	})
}

// Deletes and lists of what was taken over leave each other room as ever.
func TestStopAfterResumeDeletesBeforeItProves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := resumable(t)
		for _, name := range []string{"tea", "hub"} {
			w.forge(name).latency = 50 * time.Millisecond
		}
		l := w.run(w.successor(t, nil))
		l.awaitReady(t, time.Second)
		began := time.Now()
		if remnants := l.stop(t); len(remnants) != 0 || time.Since(began) > 200*time.Millisecond {
			t.Errorf("remnants %v after %v", remnants, time.Since(began))
		}
		n := 0
		for _, e := range w.happened() {
			if strings.HasPrefix(e, "list ") || strings.HasPrefix(e, "delete ") {
				n++
			}
		}
		if n != 3*4 {
			t.Errorf("%d requests for four keys: %v", n, w.happened())
		}
	})
}

// Keys that cannot be parked serve, and the status says what that means.
func TestKeysThatCannotBeParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParkedWorld(t)
		if err := w.parking.Close(); err != nil {
			t.Fatal(err)
		}
		o := w.options()
		o.Warnings = []string{"w"}
		l := w.start(t, o)
		l.awaitReady(t, time.Second)
		if s := l.Status(); len(s.Warnings) != 2 || s.Warnings[0] != "w" {
			t.Errorf("warnings %q", s.Warnings)
		}
		l.stop(t)
		if s := l.Status(); len(s.Warnings) != 1 {
			t.Errorf("warnings after the stop %q", s.Warnings)
		}
	})
}

// Keys of every type are recognised as what the configuration asks for.
func TestEveryTypeOfKeyIsResumed(t *testing.T) {
	for _, kind := range key.Types() {
		synctest.Test(t, func(t *testing.T) {
			w := newParkedWorld(t)
			one := func(o *agent.Options) {
				o.KeyType, o.Forges = kind, o.Forges[:1]
			}
			o := w.options()
			one(&o)
			l := w.start(t, o)
			l.awaitReady(t, time.Minute)
			l.kill(t)
			second := w.run(w.successor(t, one))
			second.awaitReady(t, time.Second)
			if n := len(w.registers()); n != 0 || len(w.builds()) != 2 {
				t.Errorf("%s: asked to register %d, lent %v", kind, n, w.builds())
			}
			second.stop(t)
		})
	}
}
