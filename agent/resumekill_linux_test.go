package agent_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent"
	"deploykeyd/provision"
)

// G5 and the parked keys: killed before or after the effect of any step of a
// life, a stop among them, the successor goes on with every key that it can,
// lends the verified ones at once and registers none of them twice.
func TestG5KilledAtEveryStepAndResumed(t *testing.T) {
	steps := 0
	synctest.Test(t, func(t *testing.T) {
		w := newParkedWorld(t)
		l := w.start(t, w.options())
		l.awaitReady(t, time.Second)
		l.stop(t)
		steps = w.steps
	})
	if steps < 30 {
		t.Fatalf("a life has %d steps: the test does not see them", steps)
	}
	for n := 1; n <= steps; n++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("step %d after %v", n, after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newParkedWorld(t)
					w.killedAt(t, n, after)
					w.finish(t, w.run(w.successor(t, nil)))
				})
			})
		}
	}
}

// killedAt lets a life be killed at a step of its work or, when it has fewer, of
// its stop.
func (w *world) killedAt(t *testing.T, n int, after bool) {
	t.Helper()
	if after {
		w.dieAfter = n
	} else {
		w.dieBefore = n
	}
	l := w.start(t, w.options())
	synctest.Wait()
	if !w.dead {
		l.stop(t)
	}
	l.kill(t)
}

// finish checks a life that has resumed another, and stops it.
func (w *world) finish(t *testing.T, l *life) {
	t.Helper()
	goneOn := w.goneOn()
	l.awaitReady(t, time.Minute)
	time.Sleep(afterWindow) //nolint:forbidigo // virtual time
	synctest.Wait()
	if diff := cmp.Diff(oneEach, w.allKeys()); diff != "" {
		t.Errorf("keys of the second life (-want +got):\n%s", diff)
	}
	w.checkLent(t)
	w.checkJournal(t)
	for _, at := range goneOn {
		if n := w.registered()[at]; n != 1 {
			t.Errorf("%s was registered %d times", at, n)
		}
	}
	if remaining := l.Status().Remaining; len(remaining) != 0 {
		t.Errorf("remaining: %+v", remaining)
	}
	if remnants := l.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 || len(w.journal()) != 0 {
		t.Errorf("after the stop: remnants %v, keys %v, records %d", remnants, w.allKeys(), len(w.journal()))
	}
	for _, k := range w.parked {
		if !wiped(k) {
			t.Error("a parked key outlives the stop")
		}
	}
	w.mu.Lock()
	w.dead = false
	w.die()
	w.mu.Unlock()
	if len(w.parked) != 0 {
		t.Errorf("%d keys are parked after the stop", len(w.parked))
	}
}

// A life that is killed while it settles what it did not take over, after it
// was resumed with another configuration, and then resumed with the first.
func TestG5KilledTwice(t *testing.T) {
	for first := 2; first <= 24; first += 3 {
		for second := 1; second <= 22; second++ {
			for _, after := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) { killTwice(t, first, second, after) })
				if t.Failed() {
					t.Fatalf("killed at step %d and then at %d, after %v", first, second, after)
				}
			}
		}
	}
}

func killTwice(t *testing.T, first, second int, after bool) {
	t.Helper()
	w := newParkedWorld(t)
	w.killedAt(t, first, true)
	w.checkJournal(t)
	a := w.successor(t, func(o *agent.Options) {
		o.Forges[0].Repositories[0].Access = provision.Write // was read
		o.Forges[1].Repositories = o.Forges[1].Repositories[:1]
	})
	w.mu.Lock()
	if w.steps = 0; after {
		w.dieAfter = second
	} else {
		w.dieBefore = second
	}
	w.mu.Unlock()
	l := w.run(a)
	time.Sleep(time.Minute) //nolint:forbidigo // virtual time
	l.kill(t)
	w.checkJournal(t)
	third := w.run(w.successor(t, func(*agent.Options) {}))
	third.awaitReady(t, time.Minute)
	time.Sleep(afterWindow) //nolint:forbidigo // virtual time
	if diff := cmp.Diff(oneEach, w.allKeys()); diff != "" {
		t.Errorf("keys of the third life (-want +got):\n%s", diff)
	}
	w.checkLent(t)
	if live := w.forge("tea").live("acme/api"); len(live) != 1 || live[0].Access != provision.Read {
		t.Errorf("acme/api has %+v", live)
	}
	if remnants := third.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 || len(w.journal()) != 0 {
		t.Errorf("remnants %v, keys %v, records %d", remnants, w.allKeys(), len(w.journal()))
	}
}
