package agent_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent"
	"deploykeyd/provision"
)

// grantsWrite is a forge that makes every key writable.
type grantsWrite struct{ *stubForge }

func (g grantsWrite) Register(ctx context.Context, t provision.Target, req provision.KeyRequest) (provision.Registration, error) {
	req.Access = provision.Write
	return g.stubForge.Register(ctx, t, req)
}

func (g grantsWrite) List(ctx context.Context, t provision.Target) iter.Seq2[provision.Registration, error] {
	return g.stubForge.List(ctx, t)
}

// afterWindow is long enough for every lost request to be settled.
const afterWindow = 3 * agent.LandingWindow

// G5: killed before or after the effect of any step, the next life has exactly
// one key per planned registration, and its stop leaves none.
func TestG5KilledAtEveryStep(t *testing.T) {
	steps := 0
	synctest.Test(t, func(t *testing.T) {
		w, l := readyWorld(t)
		l.stop(t)
		steps = w.steps
	})
	if steps < 30 {
		t.Fatalf("a life has %d steps: the test does not see them", steps)
	}
	for n := 1; n <= steps; n++ {
		for _, after := range []bool{false, true} {
			name := fmt.Sprintf("before step %d", n)
			if after {
				name = fmt.Sprintf("after step %d", n)
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { killAt(t, n, after) })
			})
		}
	}
}

func killAt(t *testing.T, n int, after bool) {
	t.Helper()
	w := newWorld()
	if after {
		w.dieAfter = n
	} else {
		w.dieBefore = n
	}
	first := w.start(t, w.options())
	synctest.Wait()
	if !w.dead { // the step belongs to the stop
		first.stop(t)
	}
	first.kill(t)
	w.reboot()

	second := w.start(t, w.options())
	second.awaitReady(t, time.Minute)
	time.Sleep(afterWindow) //nolint:forbidigo // virtual time
	synctest.Wait()
	if diff := cmp.Diff(oneEach, w.allKeys()); diff != "" {
		t.Errorf("keys of the second life (-want +got):\n%s", diff)
	}
	if remaining := second.Status().Remaining; len(remaining) != 0 {
		t.Errorf("remaining: %+v", remaining)
	}
	if remnants := second.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 || len(w.journal()) != 0 {
		t.Errorf("after the stop: remnants %v, keys %v, records %d", remnants, w.allKeys(), len(w.journal()))
	}
}

// The same kills, then no second life but the teardown hook.
func TestG5RevokeFromTheJournalAfterAKill(t *testing.T) {
	for n := 1; n <= 20; n++ {
		t.Run(fmt.Sprint("after step ", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.dieAfter = n
				l := w.start(t, w.options())
				synctest.Wait()
				l.kill(t)
				w.reboot()
				remnants := revokeOnce(t, w)
				if len(remnants) > 0 { // an intent that may still land: told, not hidden
					time.Sleep(afterWindow) //nolint:forbidigo // virtual time
					remnants = revokeOnce(t, w)
				}
				if len(remnants) != 0 || len(w.allKeys()) != 0 || len(w.journal()) != 0 {
					t.Errorf("remnants %v, keys %v, records %d", remnants, w.allKeys(), len(w.journal()))
				}
			})
		})
	}
}

func revokeOnce(t *testing.T, w *world) []agent.Remnant {
	t.Helper()
	a := agent.New(w.options())
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
	defer cancel()
	return a.Revoke(ctx)
}

func TestLostAnswerIsSettledByTheList(t *testing.T) {
	cases := map[string]fault{
		"took effect":        {lost: true},
		"took no effect":     {lost: true, none: true},
		"takes effect late":  {lost: true, late: 7 * time.Second},
		"effect after 9 min": {lost: true, late: 9 * time.Minute},
	}
	for name, flaw := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				asked := 0
				w.forge("hub").register = func(path string) fault {
					if path != "acme/one" {
						return fault{}
					}
					if asked++; asked == 1 {
						return flaw
					}
					return fault{}
				}
				l := w.start(t, w.options())
				l.awaitReady(t, time.Minute)
				want := 2
				if name == "took effect" {
					want = 1
				}
				if asked != want {
					t.Errorf("asked %d times, want %d", asked, want)
				}
				time.Sleep(afterWindow) //nolint:forbidigo // virtual time
				if diff := cmp.Diff(oneEach, w.allKeys()); diff != "" {
					t.Errorf("keys (-want +got):\n%s", diff)
				}
				if remnants := l.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 {
					t.Errorf("remnants %v, keys %v", remnants, w.allKeys())
				}
			})
		})
	}
}

// A stop soon after a lost answer cannot know; it says so, and the next revoke
// finds what landed meanwhile.
func TestG9StopSaysWhatMayStillLand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		hub := w.forge("hub")
		asked := 0
		hub.register = func(path string) fault {
			if path == "acme/one" {
				if asked++; asked == 1 {
					return fault{lost: true, late: 5 * time.Minute}
				}
			}
			return fault{}
		}
		l := w.start(t, w.options())
		l.awaitReady(t, time.Minute)
		remnants := l.stop(t)
		if len(remnants) != 1 || remnants[0].Target != "acme/one" || !strings.Contains(remnants[0].Reason, "may still take effect") {
			t.Fatalf("remnants %+v", remnants)
		}
		if keys := w.allKeys(); len(keys) != 0 {
			t.Fatalf("keys %v", keys)
		}
		hub.pending.Wait()
		if keys := w.allKeys(); len(keys) != 1 {
			t.Fatalf("the late effect did not come: %v", keys)
		}
		revokeOnce(t, w)
		if keys := w.allKeys(); len(keys) != 0 {
			t.Errorf("the next revoke left %v", keys)
		}
		time.Sleep(afterWindow) //nolint:forbidigo // virtual time
		if remnants := revokeOnce(t, w); len(remnants) != 0 || len(w.journal()) != 0 {
			t.Errorf("remnants %v, records %d", remnants, len(w.journal()))
		}
	})
}

func TestKilledWithALateEffect(t *testing.T) {
	for _, late := range []time.Duration{time.Second, 20 * time.Second, 9 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			tea := w.forge("tea")
			tea.register = func(path string) fault {
				if path == "acme/api" {
					return fault{lost: true, late: late}
				}
				return fault{}
			}
			w.dieAfter = 1000
			first := w.start(t, w.options())
			synctest.Wait()
			first.kill(t)
			w.reboot()
			w.mu.Lock()
			tea.register = nil
			w.mu.Unlock()
			second := w.start(t, w.options())
			second.awaitReady(t, time.Minute)
			time.Sleep(afterWindow) //nolint:forbidigo // virtual time
			if diff := cmp.Diff(oneEach, w.allKeys()); diff != "" {
				t.Errorf("late by %v (-want +got):\n%s", late, diff)
			}
			if remnants := second.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 {
				t.Errorf("remnants %v, keys %v", remnants, w.allKeys())
			}
		})
	}
}

// Random faults on every request: whatever happens, foreign keys stay, and in
// the end nothing of ours does.
func TestRandomFaults(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) { randomLife(t, seed) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func randomLife(t *testing.T, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	w := newWorld()
	calm := false
	transient := func() error {
		if calm || rng.IntN(3) > 0 {
			return nil
		}
		return &provision.Error{Class: provision.Transient, Message: "trouble"}
	}
	for _, name := range []string{"tea", "hub"} {
		f := w.forge(name)
		f.latency = time.Duration(rng.IntN(100)) * time.Millisecond
		f.list = func(string) error { return transient() }
		f.revoke = func(string) error { return transient() }
		f.register = func(string) fault {
			if calm {
				return fault{}
			}
			switch rng.IntN(5) {
			case 0:
				return fault{lost: true}
			case 1:
				return fault{lost: true, none: true}
			case 2:
				return fault{lost: true, late: time.Duration(rng.Int64N(int64(8 * time.Minute)))}
			case 3:
				return fault{refuse: &provision.Error{Class: provision.RateLimited, RetryAfter: time.Duration(rng.Int64N(int64(time.Minute)))}}
			}
			return fault{}
		}
	}
	foreign := foreignKey(t, w.forge("hub"), "acme/one")
	for range seed % 4 {
		w.mu.Lock()
		w.dieAfter = 1 + rng.IntN(60)
		lifetime := time.Duration(rng.Int64N(int64(3 * time.Minute)))
		w.mu.Unlock()
		l := w.start(t, w.options())
		time.Sleep(lifetime) //nolint:forbidigo // virtual time
		l.kill(t)
		w.reboot()
	}
	w.mu.Lock()
	calm = true
	w.mu.Unlock()
	l := w.start(t, w.options())
	l.awaitReady(t, 10*time.Minute)
	time.Sleep(afterWindow) //nolint:forbidigo // virtual time
	want := map[string]int{"tea/acme/api": 1, "tea/acme/rel": 1, "hub/acme/one": 2, "hub/acme/two": 1}
	if diff := cmp.Diff(want, w.allKeys()); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if remnants := l.stop(t); len(remnants) != 0 {
		t.Errorf("remnants %+v", remnants)
	}
	if keys := w.forge("hub").live("acme/one"); len(keys) != 1 || keys[0].ID != foreign.ID {
		t.Errorf("the foreign key did not survive alone: %+v", keys)
	}
	if n := len(w.journal()); n != 0 {
		t.Errorf("%d records", n)
	}
}
