package agent_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent"
	"deploykeyd/provision"
)

var oneEach = map[string]int{"tea/acme/api": 1, "tea/acme/rel": 1, "hub/acme/one": 1, "hub/acme/two": 1}

func TestLifeRegistersVerifiesPublishesAndRevokes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := readyWorld(t)

		if diff := cmp.Diff(oneEach, w.allKeys()); diff != "" {
			t.Errorf("keys on the forges (-want +got):\n%s", diff)
		}
		if len(w.lent) != 4 {
			t.Errorf("builds can use %d repositories, want 4", len(w.lent))
		}
		tea := w.lent["tea/acme/api"]
		if tea != w.lent["tea/acme/rel"] {
			t.Error("a shared-key forge got two keys")
		}
		if w.lent["hub/acme/one"] == w.lent["hub/acme/two"] {
			t.Error("a key-per-repository forge got one key for two repositories")
		}
		for path, want := range map[string]provision.Access{"acme/api": provision.Read, "acme/rel": provision.Write} {
			if got := w.forge("tea").live(path)[0].Access; got != want {
				t.Errorf("%s: access %s, want %s", path, got, want)
			}
		}
		for _, rec := range w.journal() {
			if rec.State != agent.Verified || rec.Outstanding != 0 || rec.RemoteID == "" {
				t.Errorf("record %+v is not a verified one", rec)
			}
		}

		if remnants := l.stop(t); len(remnants) != 0 {
			t.Errorf("remnants: %+v", remnants)
		}
		if keys := w.allKeys(); len(keys) != 0 {
			t.Errorf("keys after the stop: %v", keys)
		}
		if n := len(w.journal()); n != 0 {
			t.Errorf("%d records after the stop", n)
		}
		if len(w.lent) != 0 {
			t.Error("builds can still use keys after the stop")
		}
	})
}

// The order that crash safety and G4, G9 rest on.
func TestStepsComeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		o := w.options()
		o.Forges = o.Forges[:1]
		o.Forges[0].Repositories = o.Forges[0].Repositories[:1]
		l := w.start(t, o)
		l.awaitReady(t, time.Second)
		l.stop(t)
		want := []string{
			"put intended acme/api", "register acme/api", "put registered acme/api", "verify acme/api",
			"put verified acme/api", "publish acme/api",
			"withdraw acme/api", "delete acme/api", "deleted acme/api", "list acme/api", "forget",
		}
		if diff := cmp.Diff(want, w.happened()); diff != "" {
			t.Errorf("steps (-want +got):\n%s", diff)
		}
	})
}

func TestStopDeletesBeforeItLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.forge("tea").latency = 50 * time.Millisecond
		w.forge("tea").slow = map[string]time.Duration{"acme/rel": 200 * time.Millisecond}
		o := w.options()
		o.Forges = o.Forges[:1]
		l := w.start(t, o)
		l.awaitReady(t, 5*time.Second)
		began := time.Now()
		l.stop(t)
		if took := time.Since(began); took > 350*time.Millisecond {
			t.Errorf("the stop took %v: not in parallel", took)
		}
		events := w.happened()
		firstList := slices.IndexFunc(events, func(e string) bool { return strings.HasPrefix(e, "list") })
		lastDeleted := slices.Index(events, "deleted acme/rel")
		if firstList < 0 || lastDeleted < 0 || firstList < lastDeleted {
			t.Errorf("a list before the last delete was answered: %v", events)
		}
	})
}

func TestG4ReadyOnlyAfterEveryRepositoryIsVerified(t *testing.T) {
	for _, anyOne := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.verify = func(_ string, repo provision.Repository) error {
				if repo == "acme/two" {
					return &provision.Error{Op: "verify", Class: provision.Denied, Message: "not this key"}
				}
				return nil
			}
			o := w.options()
			o.ReadyAny = anyOne
			l := w.start(t, o)
			synctest.Wait()
			if got := l.Status().Ready; got != anyOne {
				t.Errorf("ready any %v: ready is %v with one of four failed", anyOne, got)
			}
			if _, lent := w.lent["hub/acme/two"]; lent {
				t.Error("an unverified key was lent to the builds")
			}
			w.mu.Lock()
			w.verify = nil
			w.mu.Unlock()
			s, err := l.Verify(t.Context())
			if err != nil || !s.Ready {
				t.Errorf("after verify: ready %v, error %v", s.Ready, err)
			}
			l.stop(t)
		})
	}
}

func TestVerifiedAgainAndRefusedIsWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := readyWorld(t)
		w.mu.Lock()
		w.verify = func(string, provision.Repository) error {
			return &provision.Error{Op: "verify", Class: provision.Denied, Message: "no more"}
		}
		w.mu.Unlock()
		s, err := l.Verify(t.Context())
		if err != nil || s.Ready || len(w.lent) != 0 {
			t.Errorf("ready %v, lent %d, error %v: a key that opens nothing stays lent", s.Ready, len(w.lent), err)
		}
		if got := s.Repositories[0].Condition; got != agent.ConditionFailed {
			t.Errorf("condition %s", got)
		}
		l.stop(t)
	})
}

func TestFinalRefusalsFailAloneAndLeaveNothing(t *testing.T) {
	for _, class := range []provision.Class{
		provision.Invalid, provision.BadCredential, provision.Denied, provision.PolicyForbids, provision.NotFound, provision.Moved,
	} {
		t.Run(string(class), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				asked := 0
				w.forge("tea").register = func(path string) fault {
					if path != "acme/rel" {
						return fault{}
					}
					asked++
					return fault{refuse: &provision.Error{Op: "register", Class: class, Status: 403, Message: "no", Next: "do this"}}
				}
				l := w.start(t, w.options())
				time.Sleep(time.Hour) //nolint:forbidigo // virtual time
				synctest.Wait()
				if asked != 1 {
					t.Errorf("asked %d times: a final refusal is not worth a retry", asked)
				}
				for _, r := range l.Status().Repositories {
					want := agent.ConditionVerified
					if r.Repository == "acme/rel" {
						want = agent.ConditionFailed
						if r.Next != "do this" || !strings.Contains(r.Reason, "no") {
							t.Errorf("reason %q, next %q", r.Reason, r.Next)
						}
					}
					if r.Condition != want {
						t.Errorf("%s is %s, want %s", r.Repository, r.Condition, want)
					}
				}
				if n := len(w.journal()); n != 3 {
					t.Errorf("%d records, want 3: a refused intent stays", n)
				}
				if remnants := l.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 {
					t.Errorf("remnants %v, keys %v", remnants, w.allKeys())
				}
			})
		})
	}
}

func TestRateLimitIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		first := true
		w.forge("tea").register = func(string) fault {
			if first {
				first = false
				return fault{refuse: &provision.Error{Class: provision.RateLimited, RetryAfter: time.Hour}}
			}
			return fault{}
		}
		began := time.Now()
		l := w.start(t, w.options())
		l.awaitReady(t, 2*time.Hour)
		if took := time.Since(began); took < time.Hour {
			t.Errorf("came back after %v, the forge asked for an hour", took)
		}
		l.stop(t)
	})
}

func TestKeyInUseElsewhereAndTitleClashAreGotAround(t *testing.T) {
	for _, class := range []provision.Class{provision.InUseElsewhere, provision.TitleClash} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			asked := 0
			w.forge("hub").register = func(path string) fault {
				if path != "acme/one" {
					return fault{}
				}
				if asked++; asked == 1 {
					return fault{refuse: &provision.Error{Class: class, Status: 422}}
				}
				return fault{}
			}
			l := w.start(t, w.options())
			l.awaitReady(t, time.Second)
			if diff := cmp.Diff(oneEach, w.allKeys()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", class, diff)
			}
			if remnants := l.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 {
				t.Errorf("%s: remnants %v, keys %v", class, remnants, w.allKeys())
			}
		})
	}
}

func TestJournalThatCannotBeWrittenRegistersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.putErr = errors.New("no space left on device")
		l := w.start(t, w.options())
		time.Sleep(5 * time.Minute) //nolint:forbidigo // virtual time
		synctest.Wait()
		if keys := w.allKeys(); len(keys) != 0 {
			t.Fatalf("registered %v without a durable intent", keys)
		}
		s := l.Status().Repositories[0]
		if !strings.Contains(s.Reason, "no space left") || s.Next == "" {
			t.Errorf("reason %q, next %q", s.Reason, s.Next)
		}
		w.mu.Lock()
		w.putErr = nil
		w.mu.Unlock()
		l.awaitReady(t, 5*time.Minute)
		w.mu.Lock()
		w.putErr = errors.New("no space left on device")
		w.mu.Unlock()
		if remnants := l.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 {
			t.Errorf("with a full disk at stop: remnants %v, keys %v", remnants, w.allKeys())
		}
	})
}

func TestTagsFollowTheForgesClock(t *testing.T) {
	for _, offset := range []time.Duration{-9 * time.Hour, 9 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.forge("tea").offset = offset
			l := w.start(t, w.options())
			l.awaitReady(t, time.Second)
			tag, err := provision.ParseOwnerTag(w.forge("tea").live("acme/api")[0].Title)
			if err != nil {
				t.Fatal(err)
			}
			want := time.Now().Add(offset + 24*time.Hour)
			if d := tag.Expires.Sub(want).Abs(); d > time.Minute {
				t.Errorf("tag expires at %v, want about %v by the forge's clock", tag.Expires, want)
			}
			if remnants := l.stop(t); len(remnants) != 0 {
				t.Errorf("remnants: %v", remnants)
			}
		})
	}
}

func TestForgeThatGrantsWriteForReadIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		tea := w.forge("tea")
		o := w.options()
		o.Forges = o.Forges[:1]
		o.Forges[0].Forge = grantsWrite{tea}
		l := w.start(t, o)
		synctest.Wait()
		if s := l.Status().Repositories[0]; s.Condition != agent.ConditionFailed || !strings.Contains(s.Reason, "write access") {
			t.Errorf("%+v", s)
		}
		if _, lent := w.lent["tea/acme/api"]; lent {
			t.Error("the key was lent")
		}
		if remnants := l.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 {
			t.Errorf("remnants %v, keys %v", remnants, w.allKeys())
		}
	})
}

func TestKeyDeletedOnTheForgeIsReplacedOnVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := readyWorld(t)
		w.mu.Lock()
		old := w.lent["tea/acme/api"]
		w.forges["tea"].keys["acme/api"] = nil
		w.mu.Unlock()
		s, err := l.Verify(t.Context())
		if err != nil || !s.Ready || s.Repositories[0].Reason != "" {
			t.Errorf("ready %v, error %v, %+v", s.Ready, err, s.Repositories[0])
		}
		if live := w.forge("tea").live("acme/api"); len(live) != 1 || live[0].Key == old || w.lent["tea/acme/api"] != live[0].Key {
			t.Errorf("keys %+v, lent %v", live, w.lent["tea/acme/api"])
		}
		if remnants := l.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 {
			t.Errorf("remnants %v, keys %v", remnants, w.allKeys())
		}
	})
}

func TestTroubleWhileProvingAgainPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := readyWorld(t)
		w.mu.Lock()
		w.verify = func(string, provision.Repository) error {
			return &provision.Error{Op: "verify", Class: provision.Transient, Message: "timeout"}
		}
		w.mu.Unlock()
		s, err := l.Verify(t.Context())
		if r := s.Repositories[0]; err != nil || !s.Ready || r.Condition != agent.ConditionVerified || !strings.Contains(r.Reason, "timeout") {
			t.Errorf("error %v, ready %v, %+v", err, s.Ready, r)
		}
		w.mu.Lock()
		w.verify = nil
		w.mu.Unlock()
		time.Sleep(5 * time.Minute) //nolint:forbidigo // virtual time
		if r := l.Status().Repositories[0]; r.Reason != "" {
			t.Errorf("a reason that has passed is still shown: %+v", r)
		}
		l.stop(t)
	})
}

// A credential that has run out takes no proven key from the builds: git decides.
func TestVerifyWithoutAListLeavesItToGit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := readyWorld(t)
		w.mu.Lock()
		w.forges["tea"].list = func(string) error { return &provision.Error{Class: provision.BadCredential, Message: "expired"} }
		w.mu.Unlock()
		s, err := l.Verify(t.Context())
		if err != nil || !s.Ready || len(w.lent) != 4 {
			t.Errorf("ready %v, lent %d, error %v", s.Ready, len(w.lent), err)
		}
		l.kill(t)
	})
}
