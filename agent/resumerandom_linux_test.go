package agent_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent"
	"deploykeyd/agent/key"
	"deploykeyd/provision"
)

// Random faults, kills, reloads and configurations: whatever happens, the
// journal knows every key on a forge, foreign keys stay, what is lent in the end
// is what the forges have, and a stop leaves none.
func TestG5RandomLivesResumed(t *testing.T) {
	for seed := range uint64(150) {
		synctest.Test(t, func(t *testing.T) { randomResumes(t, seed) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func randomResumes(t *testing.T, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 2))
	w := newParkedWorld(t)
	calm := w.storm(rng)
	foreign := foreignKey(t, w.forge("hub"), "acme/one")
	for range 1 + seed%5 {
		a := w.successor(t, func(o *agent.Options) { shuffle(rng, o) })
		w.mu.Lock()
		if w.steps = 0; rng.IntN(2) == 0 {
			w.dieAfter = 1 + rng.IntN(40)
		}
		lifetime := time.Duration(rng.Int64N(int64(3 * time.Minute)))
		grace := time.Duration(rng.Int64N(int64(20*time.Second))) - 10*time.Second // of a reload; none for a kill
		w.mu.Unlock()
		l := w.run(a)
		time.Sleep(lifetime) //nolint:forbidigo // virtual time
		if grace > 0 {
			l.handOver(t, grace)
		}
		l.kill(t)
	}
	calm()
	l := w.run(w.successor(t, func(*agent.Options) {}))
	l.awaitReady(t, 10*time.Minute)
	time.Sleep(afterWindow) //nolint:forbidigo // virtual time
	want := map[string]int{"tea/acme/api": 1, "tea/acme/rel": 1, "hub/acme/one": 2, "hub/acme/two": 1}
	if diff := cmp.Diff(want, w.allKeys()); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	w.checkLent(t)
	if remnants := l.stop(t); len(remnants) != 0 || len(w.journal()) != 0 {
		t.Errorf("remnants %+v, records %d", remnants, len(w.journal()))
	}
	if keys := w.forge("hub").live("acme/one"); len(keys) != 1 || keys[0].ID != foreign.ID || len(w.allKeys()) != 1 {
		t.Errorf("left: %v", w.allKeys())
	}
}

// storm makes the forges unreliable until calm is called.
func (w *world) storm(rng *rand.Rand) (calm func()) {
	over := false
	trouble := func(string) error {
		if over || rng.IntN(3) > 0 {
			return nil
		}
		return &provision.Error{Class: provision.Transient, Message: "trouble"}
	}
	for _, name := range []string{"tea", "hub"} {
		f := w.forge(name)
		f.latency = time.Duration(rng.IntN(100)) * time.Millisecond
		f.list, f.revoke = trouble, trouble
		f.register = func(string) fault {
			if over {
				return fault{}
			}
			switch rng.IntN(8) {
			case 0:
				return fault{lost: true}
			case 1:
				return fault{lost: true, none: true}
			case 2:
				return fault{lost: true, late: time.Duration(rng.Int64N(int64(8 * time.Minute)))}
			case 3:
				return fault{refuse: &provision.Error{Class: provision.TitleClash, Status: 422}}
			case 4:
				return fault{refuse: &provision.Error{Class: provision.InUseElsewhere, Status: 422}}
			}
			return fault{}
		}
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		over = true
	}
}

// shuffle changes a configuration in ways that a reload may meet.
func shuffle(rng *rand.Rand, o *agent.Options) {
	for i := range o.Forges {
		f := &o.Forges[i]
		for j := range f.Repositories {
			if rng.IntN(4) == 0 {
				f.Repositories[j].Access = provision.Write
			}
		}
		if rng.IntN(4) == 0 {
			f.Repositories = f.Repositories[rng.IntN(2):]
		}
		if rng.IntN(4) == 0 {
			f.Repositories = append(f.Repositories, agent.RepositoryAccess{Repository: "acme/extra", Access: provision.Read})
		}
	}
	if rng.IntN(10) == 0 {
		o.Fleet = "cd"
	}
	if rng.IntN(10) == 0 {
		o.KeyType = key.ECDSAP256
	}
}
