package agent_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent"
	"deploykeyd/agent/key"
	"deploykeyd/provision"
)

// What of a life goes on under another configuration: what is lent at once, and
// how often each repository was registered in the end, over both lives.
func TestResumeWithAnotherConfiguration(t *testing.T) {
	all := []string{"hub/acme/one", "hub/acme/two", "tea/acme/api", "tea/acme/rel"}
	for name, c := range map[string]struct {
		change func(*agent.Options)
		lent   []string
		made   map[string]int // where it is not once
		gone   []string       // off the forge after a minute
		alive  int            // parked keys that are not wiped
	}{
		"the same": {change: func(*agent.Options) {}, lent: all, alive: 3},
		"a repository is gone": {
			change: func(o *agent.Options) { o.Forges[0].Repositories = o.Forges[0].Repositories[:1] },
			lent:   all[:3], gone: all[3:], alive: 3,
		},
		"a repository with its own key is gone": {
			change: func(o *agent.Options) { o.Forges[1].Repositories = o.Forges[1].Repositories[:1] },
			lent:   []string{all[0], all[2], all[3]}, gone: all[1:2], alive: 2,
		},
		"repositories are new": {
			change: func(o *agent.Options) {
				for i := range o.Forges {
					o.Forges[i].Repositories = append(o.Forges[i].Repositories, agent.RepositoryAccess{Repository: "acme/new", Access: provision.Read})
				}
			},
			lent: all, alive: 3,
		},
		"access is more": {
			change: func(o *agent.Options) { o.Forges[0].Repositories[0].Access = provision.Write },
			lent:   []string{all[0], all[1], all[3]}, made: map[string]int{"tea/acme/api": 2}, alive: 3,
		},
		"access is less": {
			change: func(o *agent.Options) { o.Forges[0].Repositories[1].Access = provision.Read },
			lent:   all[:3], made: map[string]int{"tea/acme/rel": 2}, alive: 3,
		},
		"another access everywhere": {
			change: func(o *agent.Options) {
				o.Forges[0].Repositories[0].Access, o.Forges[0].Repositories[1].Access = provision.Write, provision.Read
			},
			lent: all[:2], made: map[string]int{"tea/acme/api": 2, "tea/acme/rel": 2}, alive: 2,
		},
		"another spelling": {
			change: func(o *agent.Options) { o.Forges[0].Repositories[0].Repository = "Acme/API" },
			lent:   []string{all[0], all[1], all[3]}, gone: all[2:3], alive: 3,
		},
		"the forge is gone": {change: func(o *agent.Options) { o.Forges = o.Forges[1:] }, lent: all[:2], alive: 2},
		"the forge is of another kind": {
			change: func(o *agent.Options) { o.Forges[0].Kind = provision.GitLab },
			lent:   all[:2], made: map[string]int{"tea/acme/api": 2, "tea/acme/rel": 2}, alive: 2,
		},
		"another fleet":   {change: func(o *agent.Options) { o.Fleet = "cd" }, made: twice(all)},
		"another machine": {change: func(o *agent.Options) { o.Machine = "m2" }, made: twice(all)},
		"another type of key": {
			change: func(o *agent.Options) { o.KeyType = key.ECDSAP256 }, made: twice(all),
		},
		"another boot":   {change: func(o *agent.Options) { o.Boot = "boot-2" }, made: twice(all)},
		"a weak machine": {change: func(o *agent.Options) { o.WeakMachine = true }, lent: all, alive: 3},
		"another time to live": {
			change: func(o *agent.Options) { o.Expire = time.Hour }, lent: all, alive: 3,
		},
		"the entry is split": { // the key stays with one of them
			change: func(o *agent.Options) {
				second := o.Forges[0]
				second.Name = "kettle"
				second.Repositories = second.Repositories[1:]
				o.Forges[0].Repositories = o.Forges[0].Repositories[:1]
				o.Forges = append(o.Forges, second)
			},
			lent: all[:3], made: map[string]int{"tea/acme/rel": 2}, alive: 3,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := resumable(t)
				w.forges["kettle"] = w.forge("tea")
				a := w.successor(t, c.change)
				if diff := cmp.Diff(c.lent, slices.Sorted(maps.Keys(w.builds()))); diff != "" {
					t.Errorf("lent at once (-want +got):\n%s", diff)
				}
				alive := len(w.parked) - len(slices.DeleteFunc(slices.Clone(w.parked), func(k *key.Key) bool { return !wiped(k) }))
				if alive != c.alive {
					t.Errorf("%d of %d parked keys are alive, want %d", alive, len(w.parked), c.alive)
				}
				l := w.run(a)
				l.awaitReady(t, time.Minute)
				time.Sleep(time.Minute) //nolint:forbidigo // virtual time
				for at, n := range w.registered() {
					if n != max(c.made[at], 1) {
						t.Errorf("%s was registered %d times", at, n)
					}
				}
				w.checkLent(t)
				w.checkJournal(t)
				for at, n := range w.allKeys() {
					if want := 1; n != want || slices.Contains(c.gone, at) {
						t.Errorf("%d keys on %s", n, at)
					}
				}
				remnants := l.stop(t)
				if name == "the forge is gone" {
					if len(remnants) != 2 || len(w.forge("hub").live("acme/one")) != 0 {
						t.Errorf("remnants %+v, keys %v", remnants, w.allKeys())
					}
					return
				}
				if len(remnants) != 0 || len(w.allKeys()) != 0 || len(w.journal()) != 0 {
					t.Errorf("remnants %+v, keys %v", remnants, w.allKeys())
				}
			})
		})
	}
}

func twice(all []string) map[string]int {
	made := map[string]int{}
	for _, at := range all {
		made[at] = 2
	}
	return made
}

// The keys of a renamed forge are lent under its new name.
func TestResumeUnderAnotherForgesName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := resumable(t)
		w.forges["kettle"] = w.forge("tea")
		a := w.successor(t, func(o *agent.Options) { o.Forges[0].Name = "kettle" })
		want := []string{"hub/acme/one", "hub/acme/two", "kettle/acme/api", "kettle/acme/rel"}
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(w.builds()))); diff != "" {
			t.Errorf("lent (-want +got):\n%s", diff)
		}
		l := w.run(a)
		l.awaitReady(t, time.Second)
		if n := len(w.registers()); n != 0 {
			t.Errorf("asked to register %d times", n)
		}
		l.stop(t)
	})
}

// Which key a repository gets that the earlier life did not have, or had with
// another access.
func TestResumedPlanSharesItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := resumable(t)
		old := w.builds()["tea/acme/api"]
		l := w.run(w.successor(t, func(o *agent.Options) {
			o.Forges[0].Repositories[0].Access = provision.Write
			for _, r := range []provision.Repository{"acme/new", "acme/newer"} {
				o.Forges[0].Repositories = append(o.Forges[0].Repositories, agent.RepositoryAccess{Repository: r, Access: provision.Read})
			}
		}))
		l.awaitReady(t, time.Minute)
		for at, want := range map[string]bool{"api": false, "rel": true, "new": true, "newer": true} {
			if got := w.builds()["tea/acme/"+at] == old; got != want {
				t.Errorf("%s has the key of the earlier life: %v", at, got)
			}
		}
		l.stop(t)
	})
	synctest.Test(t, func(t *testing.T) { // what cannot have the old key shares a new one
		w := newParkedWorld(t)
		three := func(access provision.Access) func(*agent.Options) {
			return func(o *agent.Options) {
				o.Forges = o.Forges[:1]
				o.Forges[0].Repositories = []agent.RepositoryAccess{
					{Repository: "acme/api", Access: access}, {Repository: "acme/rel", Access: access}, {Repository: "acme/web", Access: provision.Read},
				}
			}
		}
		o := w.options()
		three(provision.Read)(&o)
		first := w.start(t, o)
		first.awaitReady(t, time.Second)
		old := w.builds()["tea/acme/web"]
		first.kill(t)
		l := w.run(w.successor(t, three(provision.Write)))
		l.awaitReady(t, time.Minute)
		if w.builds()["tea/acme/web"] != old || w.builds()["tea/acme/api"] == old || w.builds()["tea/acme/api"] != w.builds()["tea/acme/rel"] {
			t.Errorf("lent %v", w.builds())
		}
		l.stop(t)
	})
}

// Configured otherwise and back again, before what was left over is settled and
// after it.
func TestResumeAfterTheConfigurationWentBack(t *testing.T) {
	for name, settled := range map[string]bool{"before it is settled": false, "after": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := resumable(t)
				if !settled {
					w.forge("tea").list = func(string) error { return errDead }
				}
				second := w.run(w.successor(t, func(o *agent.Options) { o.Forges[0].Repositories[0].Access = provision.Write }))
				second.awaitReady(t, time.Minute)
				second.kill(t)
				w.forge("tea").list = nil
				last := w.successor(t, func(*agent.Options) {})
				if _, lent := w.builds()["tea/acme/api"]; lent == settled {
					t.Errorf("lent at once: %v", lent)
				}
				third := w.run(last)
				third.awaitReady(t, time.Minute)
				time.Sleep(afterWindow) //nolint:forbidigo // virtual time
				if diff := cmp.Diff(oneEach, w.allKeys()); diff != "" {
					t.Errorf("keys (-want +got):\n%s", diff)
				}
				w.checkLent(t)
				if live := w.forge("tea").live("acme/api"); len(live) != 1 || live[0].Access != provision.Read {
					t.Errorf("acme/api has %+v", live)
				}
				if remnants := third.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 {
					t.Errorf("remnants %v, keys %v", remnants, w.allKeys())
				}
			})
		})
	}
}

// A delete that took effect although its life died is never taken for a key
// that is there: the shared key lives on, and the configuration goes back.
func TestWhatIsBeingRevokedIsNotResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := resumable(t)
		a := w.successor(t, func(o *agent.Options) { o.Forges[0].Repositories = o.Forges[0].Repositories[1:] })
		w.forge("tea").revoke = func(string) error {
			w.die()
			return nil // and has taken effect
		}
		second := w.run(a)
		synctest.Wait()
		second.kill(t)
		w.forge("tea").revoke = nil
		if n := len(w.forge("tea").live("acme/api")); n != 0 {
			t.Fatalf("%d keys", n)
		}
		last := w.successor(t, func(*agent.Options) {})
		if _, lent := w.builds()["tea/acme/api"]; lent {
			t.Error("a deleted key is lent")
		}
		w.finish(t, w.run(last))
	})
}

// While the journal cannot say that a registration goes, and its key lives on,
// nothing is deleted; at a stop, when no key is left, that is no reason to wait.
func TestLeftoverOfALivingKeyNeedsTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := resumable(t)
		a := w.successor(t, func(o *agent.Options) { o.Forges[0].Repositories = o.Forges[0].Repositories[1:] })
		w.putErr = errJournal
		l := w.run(a)
		time.Sleep(time.Minute) //nolint:forbidigo // virtual time
		if n := len(w.forge("tea").live("acme/api")); n != 1 {
			t.Errorf("%d keys: deleted without a word in the journal", n)
		}
		if s := l.Status(); len(s.Remaining) != 1 || !strings.Contains(s.Remaining[0].Reason, errJournal.Error()) {
			t.Errorf("remaining %+v", s.Remaining)
		}
		if remnants := l.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 {
			t.Errorf("remnants %v, keys %v", remnants, w.allKeys())
		}
	})
}

// Several records that would do for one repository: the newest counts, and of
// the same time the one that has come furthest.
func TestResumeTakesTheNewestRecord(t *testing.T) {
	for name, c := range map[string]struct {
		age   time.Duration
		state agent.State
		lent  bool // the key of the other life
	}{
		"a newer intent":         {-time.Hour, agent.Intended, false},
		"an older intent":        {time.Hour, agent.Intended, true},
		"an older verified one":  {time.Hour, agent.Verified, true},
		"a newer verified one":   {-time.Hour, agent.Verified, false},
		"as old, and intended":   {0, agent.Intended, true},
		"as old, and registered": {0, agent.Registered, true},
		"newer, and retiring":    {-time.Hour, agent.Retiring, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := resumable(t)
				before := w.lentBefore("acme/one")
				twin := w.twin(t, "acme/one", c.age, c.state)
				w.parked = append(w.parked, twin)
				a := w.successor(t, func(*agent.Options) {})
				if got := w.builds()["hub/acme/one"] == before; got != c.lent {
					t.Errorf("the key of the other life is lent: %v", got)
				}
				if wiped(twin) != c.lent {
					t.Errorf("the twin is wiped: %v", wiped(twin))
				}
				w.finishQuietly(t, w.run(a))
			})
		})
	}
}

// A record whose key is not parked is left over; a parked key that no record
// knows is wiped, and so is a second copy of one.
func TestResumeWithKeysMissingOrUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := resumable(t)
		unknown, err := key.Generate(key.Ed25519)
		if err != nil {
			t.Fatal(err)
		}
		lost := w.lentBefore("acme/two")
		w.parked = slices.DeleteFunc(w.parked, func(k *key.Key) bool { return publicOf(k) == lost })
		w.parked = append(w.parked, unknown, w.parked[0])
		a := w.successor(t, nil)
		if len(w.builds()) != 3 || !wiped(unknown) || wiped(w.parked[0]) {
			t.Errorf("lent %v, unknown wiped %v", w.builds(), wiped(unknown))
		}
		w.finishQuietly(t, w.run(a))
		if w.registered()["hub/acme/two"] != 2 {
			t.Errorf("registered %v", w.registered())
		}
	})
}

// After a revocation has begun nothing is taken over any more.
func TestResumeAfterARevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := resumable(t)
		w.reboot()
		w.park(t)
		a := agent.New(w.options())
		if remnants := a.Revoke(t.Context()); len(remnants) != 0 {
			t.Errorf("remnants %v", remnants)
		}
		a.Resume(w.parked)
		if s := a.Status(); len(w.builds()) != 0 || !s.Resumed.IsZero() || slices.ContainsFunc(w.parked, func(k *key.Key) bool { return !wiped(k) }) {
			t.Errorf("lent %v, status %+v", w.builds(), s)
		}
	})
}
