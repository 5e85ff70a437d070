package agent_test

import (
	"context"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"deploykeyd/agent"
)

// handOver ends a life as a reload does, and returns how long that took.
func (l *life) handOver(t *testing.T, within time.Duration) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	began := time.Now()
	if err := l.Suspend(ctx); err != nil {
		t.Errorf("suspend: %v", err)
	}
	return time.Since(began)
}

func TestSuspendedLifeGoesOnInItsSuccessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParkedWorld(t)
		l := w.start(t, w.options())
		l.awaitReady(t, time.Second)
		steps, before := len(w.happened()), w.builds()
		if took := l.handOver(t, 5*time.Second); took > 0 {
			t.Errorf("with nothing to do it took %v", took)
		}
		if got := w.happened()[steps:]; len(got) != 0 || !maps.Equal(before, w.builds()) {
			t.Errorf("suspending made steps: %v", got)
		}
		if s := l.Status(); !s.Ready || s.Repositories[0].Condition != agent.ConditionVerified {
			t.Errorf("status %+v", s)
		}
		if _, err := l.Verify(t.Context()); err == nil || !strings.Contains(err.Error(), "ask again") {
			t.Errorf("verify: %v", err)
		}
		for range 2 {
			l.handOver(t, time.Second) // again
		}
		l.kill(t) // executed anew
		w.finish(t, w.run(w.successor(t, nil)))
	})
}

// Requests under way are answered, and nothing new begins.
func TestSuspendWaitsForAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParkedWorld(t)
		w.forge("tea").latency, w.forge("hub").latency = 2*time.Second, 2*time.Second
		o := w.options()
		o.RequestsPerForge = 1
		l := w.start(t, o)
		time.Sleep(time.Second) //nolint:forbidigo // virtual time
		if took := l.handOver(t, 10*time.Second); took != time.Second {
			t.Errorf("it took %v", took)
		}
		for _, rec := range w.journal() {
			if rec.State != agent.Registered || rec.Outstanding != 0 {
				t.Errorf("in doubt: %+v", rec)
			}
		}
		if n := len(w.journal()); n != 2 {
			t.Errorf("%d records, want those of the two requests under way", n)
		}
		l.kill(t)
		w.forge("tea").latency, w.forge("hub").latency = 0, 0
		second := w.run(w.successor(t, nil))
		second.awaitReady(t, time.Second)
		if got := w.registers(); len(got) != 2 {
			t.Errorf("the successor asked to register %v", got)
		}
		w.finish(t, second)
	})
}

// A forge that does not answer holds a reload up for the grace of a stop, or as
// long as the caller has; what is in doubt then the successor settles.
func TestSuspendIsBounded(t *testing.T) {
	for name, c := range map[string]struct{ within, took time.Duration }{
		"by its grace":   {time.Minute, 5 * time.Second},
		"by its context": {2 * time.Second, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newParkedWorld(t)
				w.forge("hub").latency = time.Hour
				l := w.start(t, w.options())
				time.Sleep(time.Second) //nolint:forbidigo // virtual time
				if took := l.handOver(t, c.within); took != c.took {
					t.Errorf("it took %v", took)
				}
				l.kill(t)
				w.forge("hub").latency = 0
				w.finish(t, w.run(w.successor(t, nil)))
			})
		})
	}
}

// A stop that comes while a life is being suspended, or after, revokes.
func TestStopOfASuspendedLifeRevokes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParkedWorld(t)
		l := w.start(t, w.options())
		l.awaitReady(t, time.Second)
		l.handOver(t, time.Second)
		if remnants := l.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 || len(w.builds()) != 0 || len(w.journal()) != 0 {
			t.Errorf("remnants %v, keys %v, lent %v", remnants, w.allKeys(), w.builds())
		}
		if err := l.Suspend(t.Context()); err == nil || !strings.Contains(err.Error(), "restart the daemon") {
			t.Errorf("suspend after the stop: %v", err)
		}
		l.kill(t)
		if len(w.parked) != 0 {
			t.Errorf("%d keys are parked", len(w.parked))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newParkedWorld(t)
		w.forge("hub").latency = 3 * time.Second
		l := w.start(t, w.options())
		time.Sleep(time.Second) //nolint:forbidigo // virtual time
		suspended := make(chan error, 1)
		go func() { suspended <- l.Suspend(context.Background()) }()
		time.Sleep(time.Second) //nolint:forbidigo // virtual time
		if remnants := l.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 {
			t.Errorf("remnants %v, keys %v", remnants, w.allKeys())
		}
		if err := <-suspended; err == nil {
			t.Error("handed over although a revocation began")
		}
	})
}

// Suspended before it ran, a life begins nothing.
func TestSuspendBeforeTheWorkBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := resumable(t)
		a := w.successor(t, nil)
		if err := a.Suspend(t.Context()); err != nil {
			t.Fatal(err)
		}
		steps := len(w.happened())
		l := w.run(a)
		time.Sleep(time.Minute) //nolint:forbidigo // virtual time
		if got := w.happened()[steps:]; len(got) != 0 || l.Status().Phase != agent.Starting {
			t.Errorf("it began: %v, %s", got, l.Status().Phase)
		}
		l.kill(t)
		w.finish(t, w.run(w.successor(t, nil)))
	})
}
