package agent_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"deploykeyd/agent"
	"deploykeyd/agent/key"
	"deploykeyd/provision"
)

func TestStopObeysItsDeadlineWhileARequestIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.forge("tea").latency = time.Hour
		w.forge("hub").latency = time.Hour
		l := w.start(t, w.options())
		time.Sleep(time.Second) //nolint:forbidigo // virtual time
		began := time.Now()
		remnants := l.stop(t)
		if took := time.Since(began); took > 26*time.Second || len(remnants) != 4 {
			t.Errorf("took %v, remnants %+v", took, remnants)
		}
	})
}

// What waits for a slot is neither intended nor sent once the stop has begun.
func TestNothingBeginsAfterTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.forge("hub").latency = time.Second
		o := w.options()
		o.Forges = o.Forges[1:]
		o.RequestsPerForge = 1
		l := w.start(t, o)
		time.Sleep(500 * time.Millisecond) //nolint:forbidigo // virtual time
		if n := len(w.journal()); n != 1 {
			t.Errorf("%d intents with one request under way", n)
		}
		if remnants := l.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 {
			t.Errorf("remnants %+v, keys %v", remnants, w.allKeys())
		}
		asked := 0
		for _, e := range w.happened() {
			if strings.HasPrefix(e, "register") {
				asked++
			}
		}
		if asked != 1 {
			t.Errorf("%d registrations were asked for, want the one under way: %v", asked, w.happened())
		}
	})
}

// A proof that ends after the stop has begun lends nothing.
func TestNothingIsLentAfterTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.slowVerify = 2 * time.Second
		l := w.start(t, w.options())
		time.Sleep(time.Second) //nolint:forbidigo // virtual time
		l.stop(t)
		if events := w.happened(); len(w.lent) != 0 || slices.ContainsFunc(events, func(e string) bool { return strings.HasPrefix(e, "publish") }) {
			t.Errorf("lent %v: %v", w.lent, events)
		}
	})
}

// A forge that lets the stop wait does not keep the keys alive with it.
func TestG2KeysAreWipedBeforeTheyAreRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := readyWorld(t)
		deletes := 0
		alive := func(string) error {
			deletes++
			for _, k := range w.keys {
				if !wiped(k) {
					t.Errorf("a key is alive at delete %d", deletes)
				}
			}
			return nil
		}
		w.forge("tea").revoke, w.forge("hub").revoke = alive, alive
		l.stop(t)
		if len(w.keys) != 4 || deletes != 4 {
			t.Fatalf("%d keys were lent, %d deleted", len(w.keys), deletes)
		}
	})
}

// A key that is replaced is wiped, unless other repositories go on using it.
func TestG2ReplacedKeyIsWiped(t *testing.T) {
	for _, c := range []struct {
		forge, path string
		wiped       bool
	}{{"hub", "acme/one", true}, {"tea", "acme/api", false}} {
		synctest.Test(t, func(t *testing.T) {
			w, l := readyWorld(t)
			old := slices.IndexFunc(w.keys, func(k *key.Key) bool {
				public, _ := provision.PublicKeyFromBlob(k.Public())
				return public == w.lent[c.forge+"/"+c.path]
			})
			w.mu.Lock()
			w.forges[c.forge].keys[c.path] = nil
			w.mu.Unlock()
			if s, err := l.Verify(t.Context()); err != nil || !s.Ready {
				t.Fatalf("%s: ready %v, %v", c.path, s.Ready, err)
			}
			if got := wiped(w.keys[old]); got != c.wiped {
				t.Errorf("%s: the replaced key is wiped: %v", c.path, got)
			}
			// Once the last repository has another key, nothing is left to use it.
			w.mu.Lock()
			clear(w.forges["tea"].keys)
			w.mu.Unlock()
			if s, err := l.Verify(t.Context()); err != nil || !s.Ready {
				t.Fatalf("%s: ready %v, %v", c.path, s.Ready, err)
			}
			if !wiped(w.keys[old]) {
				t.Errorf("%s: the replaced key outlives its last use", c.path)
			}
			l.stop(t)
		})
	}
}

func wiped(k *key.Key) bool {
	_, err := k.Sign([]byte("x"), "")
	return errors.Is(err, key.ErrWiped)
}

func TestStatusShowsTheUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		o := w.options()
		o.Forges[0].Repositories[0].Socket = "/run/deploykeyd/r/1.sock"
		l := w.start(t, o)
		l.awaitReady(t, time.Second)
		s := l.Status()
		want := agent.Use{Signatures: uint64(len("acme/api")), Refused: 1, LastUsed: time.Unix(int64(len("acme/api")), 0)}
		if r := s.Repositories[0]; r.Use != want || r.Socket != "/run/deploykeyd/r/1.sock" {
			t.Errorf("repository %+v", r)
		}
		if len(s.Forges) != 2 || s.Forges[0].Forge != "tea" || s.Forges[0].Refused != 1 || s.Forges[0].Signatures != 0 {
			t.Errorf("forges %+v", s.Forges)
		}
		l.stop(t)
	})
}

func TestDeleteThatFailsOnceIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		failures := map[string]int{}
		w.forge("tea").revoke = func(path string) error {
			if failures[path]++; failures[path] == 1 {
				return &provision.Error{Class: provision.Transient, Message: "trouble"}
			}
			return nil
		}
		l := w.start(t, w.options())
		l.awaitReady(t, time.Second)
		if remnants := l.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 || failures["acme/api"] != 2 {
			t.Errorf("remnants %v, keys %v, deletes %v", remnants, w.allKeys(), failures)
		}
	})
}

// What may still land is told and not waited for.
func TestStopDoesNotWaitForALostRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.forge("hub").register = func(string) fault { return fault{lost: true, none: true} }
		l := w.start(t, w.options())
		time.Sleep(10 * time.Second) //nolint:forbidigo // virtual time
		began := time.Now()
		remnants := l.stop(t)
		if took := time.Since(began); took > 2*time.Second || len(remnants) != 2 {
			t.Errorf("took %v, remnants %+v", took, remnants)
		}
	})
}

// One lost request that landed between the list and the stop is all there was.
func TestLostRequestIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		asked := 0
		w.forge("hub").register = func(path string) fault {
			if path == "acme/one" {
				if asked++; asked == 1 {
					return fault{lost: true, late: 100 * time.Millisecond}
				}
			}
			return fault{}
		}
		l := w.start(t, w.options())
		time.Sleep(500 * time.Millisecond) //nolint:forbidigo // virtual time: before the first retry
		if remnants := l.stop(t); asked != 1 || len(remnants) != 0 || len(w.allKeys()) != 0 {
			t.Errorf("asked %d times, remnants %+v, keys %v", asked, remnants, w.allKeys())
		}
	})
}

func TestRevocationsJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := readyWorld(t)
		w.mu.Lock()
		w.forges["hub"].latency = time.Hour
		w.mu.Unlock()

		byCommand := make(chan []agent.Remnant, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			byCommand <- l.Revoke(ctx)
		}()
		time.Sleep(time.Second) //nolint:forbidigo // virtual time
		began := time.Now()
		remnants := l.stop(t) // has 25 s
		if took := time.Since(began); took > 26*time.Second || len(remnants) != 2 {
			t.Errorf("the stop took %v with %+v", took, remnants)
		}
		w.mu.Lock()
		w.forges["hub"].latency = 0 // the command has time left, and goes on
		w.mu.Unlock()
		if remnants := <-byCommand; len(remnants) != 0 || len(w.allKeys()) != 0 {
			t.Errorf("the command ended with %+v, keys %v", remnants, w.allKeys())
		}
	})
}

func TestStopBeforeTheWorkBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a := agent.New(w.options())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if remnants := a.Revoke(t.Context()); len(remnants) != 0 {
			t.Errorf("remnants %v", remnants)
		}
		a.Run(ctx)
		if events := w.happened(); len(events) != 0 {
			t.Errorf("work began after the revocation: %v", events)
		}
	})
}

func TestUnreadableRecordsAreRemnantsBesideTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := crashedWorld(t)
		w.readErr = errors.New("unusable record 7")
		second := w.start(t, w.options())
		second.awaitReady(t, time.Minute)
		remnants := second.stop(t)
		if len(remnants) != 1 || !strings.Contains(remnants[0].Reason, "unusable record 7") || remnants[0].Next == "" {
			t.Errorf("remnants %+v", remnants)
		}
		if keys := w.allKeys(); len(keys) != 0 {
			t.Errorf("what could be read was not revoked: %v", keys)
		}
	})
}

// One delete that hangs leaves the other keys of its forge proven gone.
func TestHangingDeleteKeepsNoListWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := readyWorld(t)
		w.mu.Lock()
		w.forges["tea"].hang = "acme/api"
		w.mu.Unlock()
		remnants := l.stop(t)
		if len(remnants) != 1 || remnants[0].Target != "acme/api" {
			t.Errorf("remnants %+v", remnants)
		}
	})
}

// After the end no revocation begins again, however much time its caller has.
func TestNothingIsRevokedAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := readyWorld(t)
		w.mu.Lock()
		w.forges["hub"].latency = time.Hour
		w.mu.Unlock()
		patient := make(chan []agent.Remnant, 1)
		go func() { patient <- l.Revoke(context.Background()) }()
		time.Sleep(time.Second) //nolint:forbidigo // virtual time
		l.cancel()
		l.Close()
		events := len(w.happened())
		if remnants := <-patient; len(remnants) != 2 {
			t.Errorf("remnants %+v", remnants)
		}
		if remnants := l.Revoke(t.Context()); len(remnants) != 2 || len(w.happened()) != events {
			t.Errorf("remnants %+v, %v", remnants, w.happened()[events:])
		}
	})
}
