package agent_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"deploykeyd/agent"
	"deploykeyd/agent/key"
	"deploykeyd/provision"
)

// world is everything outside the agent: one forge per name, the journal, git
// and the sockets. It can die at any step, as a killed process does: from then
// on nothing the agent does has an effect, while what was under way at the
// forge goes on.
type world struct {
	mu      sync.Mutex
	forges  map[string]*stubForge
	records map[string]agent.Record
	lent    map[string]provision.PublicKey // forge/repository → key that builds can use
	keys    []*key.Key                     // all that were ever lent
	events  []string
	putErr  error
	readErr error // beside the records
	verify  func(forge string, repo provision.Repository) error

	slowVerify time.Duration // what a proof takes, whatever its context says

	steps     int // how many steps were made
	dieBefore int // the step that is not made any more; 0 never
	dieAfter  int // the step after which nothing more happens; 0 never
	dead      bool

	parking  *key.Parking      // of the life that goes on; nil parks nothing
	snapshot func() []*key.Key // what is parked there now
	parked   []*key.Key        // what was parked when the last life died
	made     map[string]int    // forge/path → registrations that came into being there
}

var errDead = errors.New("the process is dead")

func newWorld() *world {
	return &world{
		forges: map[string]*stubForge{}, records: map[string]agent.Record{},
		lent: map[string]provision.PublicKey{}, made: map[string]int{},
	}
}

// step counts a step of the agent and reports whether it takes effect; dies
// says that its outcome does not reach the agent.
func (w *world) step(name string) (effect, dies bool) {
	if w.dead {
		return false, true
	}
	w.steps++
	w.events = append(w.events, name)
	if w.steps == w.dieBefore {
		w.die()
		return false, true
	}
	if w.steps == w.dieAfter {
		w.die()
		return true, true
	}
	return true, false
}

// die ends the life at this instant: what is parked now is what a successor
// gets. The caller holds mu.
func (w *world) die() {
	if w.dead {
		return
	}
	w.dead, w.parked = true, nil
	if w.snapshot != nil {
		w.parked = w.snapshot()
	}
}

// reboot makes the world live again for another agent.
func (w *world) reboot() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead, w.steps, w.dieBefore, w.dieAfter = false, 0, 0, 0
	w.events = nil
	clear(w.lent)
}

func (w *world) happened() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

func (w *world) journal() []agent.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Values(w.records))
}

// Records implements agent.Journal, as Put and Forget do.
func (w *world) Records() ([]agent.Record, error) { return w.journal(), w.readErr }

func (w *world) Put(r agent.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	effect, dies := w.step("put " + string(r.State) + " " + r.Target.Path)
	if w.putErr != nil {
		return w.putErr
	}
	if effect {
		w.records[r.ID()] = r
	}
	if dies {
		return errDead
	}
	return nil
}

func (w *world) Forget(id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	effect, dies := w.step("forget")
	if w.putErr != nil {
		return w.putErr
	}
	if effect {
		delete(w.records, id)
	}
	if dies {
		return errDead
	}
	return nil
}

// Verify implements agent.Verifier: it succeeds when the forge has the key.
func (w *world) Verify(_ context.Context, forge string, repo provision.Repository, k *key.Key) error {
	if w.slowVerify > 0 {
		time.Sleep(w.slowVerify) //nolint:forbidigo // virtual time
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, dies := w.step("verify " + string(repo)); dies {
		return errDead
	}
	if w.verify != nil {
		if err := w.verify(forge, repo); err != nil {
			return err
		}
	}
	public, _ := provision.PublicKeyFromBlob(k.Public())
	for _, r := range w.forges[forge].keys[string(repo)] {
		if r.Key == public {
			return nil
		}
	}
	return &provision.Error{Op: "verify", Forge: forge, Class: provision.Transient, Message: "permission denied (publickey)"}
}

// Publish implements agent.Publisher, as Withdraw does.
func (w *world) Publish(forge string, repo provision.Repository, k *key.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, dies := w.step("publish " + string(repo)); dies {
		return
	}
	w.lent[forge+"/"+string(repo)], _ = provision.PublicKeyFromBlob(k.Public())
	w.keys = append(w.keys, k)
}

func (w *world) Withdraw(forge string, repo provision.Repository, _ *key.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, dies := w.step("withdraw " + string(repo)); dies {
		return
	}
	delete(w.lent, forge+"/"+string(repo))
}

// Used implements agent.Publisher: each repository is used as often as its name
// is long.
func (w *world) Used(_ string, repo provision.Repository) (signatures, refused uint64, last time.Time) {
	return uint64(len(repo)), 1, time.Unix(int64(len(repo)), 0)
}

// life is one run of an agent in a world.
type life struct {
	*agent.Agent
	world  *world
	cancel context.CancelFunc
	done   chan struct{}
}

// options returns what all tests start from: a shared-key forge with two
// repositories and a key-per-repository forge with two.
func (w *world) options() agent.Options {
	return agent.Options{
		Version: "test", Fleet: "ci", Machine: "m1", Boot: "boot-1", KeyType: key.Ed25519, Expire: 24 * time.Hour,
		Journal: w, Verifier: w, Publisher: w, Parking: w.parking,
		Forges: []agent.Forge{
			{
				Name: "tea", Kind: provision.Gitea, URL: "https://tea.test", Forge: w.forge("tea"),
				Repositories: []agent.RepositoryAccess{
					{Repository: "acme/api", Access: provision.Read},
					{Repository: "acme/rel", Access: provision.Write},
				},
			},
			{
				Name: "hub", Kind: provision.GitHub, URL: "https://hub.test", Forge: w.forge("hub"),
				Repositories: []agent.RepositoryAccess{
					{Repository: "acme/one", Access: provision.Read},
					{Repository: "acme/two", Access: provision.Read},
				},
			},
		},
	}
}

func (w *world) start(t *testing.T, o agent.Options) *life {
	t.Helper()
	return w.run(agent.New(o))
}

// run makes a planned life run.
func (w *world) run(a *agent.Agent) *life {
	ctx, cancel := context.WithCancel(context.Background())
	l := &life{Agent: a, world: w, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		a.Run(ctx)
	}()
	return l
}

func (l *life) awaitReady(t *testing.T, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := l.AwaitReady(ctx); err != nil {
		t.Fatalf("not ready within %v: %v\n%+v", within, err, l.Status().Repositories)
	}
}

// readyWorld is a world with a life in which all is ready.
func readyWorld(t *testing.T) (*world, *life) {
	t.Helper()
	w := newWorld()
	l := w.start(t, w.options())
	l.awaitReady(t, time.Second)
	return w, l
}

// crashedWorld is a world whose life was killed when all was ready.
func crashedWorld(t *testing.T) *world {
	t.Helper()
	w, l := readyWorld(t)
	l.kill(t)
	w.reboot()
	return w
}

// stop ends the life as SIGTERM does.
func (l *life) stop(t *testing.T) []agent.Remnant {
	t.Helper()
	l.cancel()
	<-l.done
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	return l.Revoke(ctx)
}

// kill ends the life without any clean-up: the world is dead already, or dies
// now.
func (l *life) kill(t *testing.T) {
	t.Helper()
	l.world.mu.Lock()
	l.world.die()
	l.world.mu.Unlock()
	l.cancel()
	<-l.done
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	l.Revoke(ctx) // ends the goroutines; in a dead world it has no effect
}

// allKeys returns every key on every forge.
func (w *world) allKeys() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := map[string]int{}
	for name, f := range w.forges {
		for path, keys := range f.keys {
			if len(keys) > 0 {
				n[name+"/"+path] = len(keys)
			}
		}
	}
	return n
}
