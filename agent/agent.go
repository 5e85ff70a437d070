package agent

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"deploykeyd/agent/key"
	"deploykeyd/provision"
)

// Options says what an Agent shall do, and with what.
type Options struct {
	Version string
	Fleet   string
	Machine string // identifies the machine in owner tags
	Boot    string // boot id
	// WeakMachine is true where a copy of this machine's image could have the
	// same Machine: what another boot left is then only touched once expired.
	WeakMachine bool

	Forges   []Forge
	KeyType  key.Type
	Expire   time.Duration // how long an owner tag lets a key live
	ReadyAny bool          // one verified repository is enough to be ready

	Journal   Journal
	Verifier  Verifier
	Publisher Publisher
	Parking   *key.Parking // where the keys outlive this process; nil parks none

	RequestsPerForge int          // API requests of one forge at a time; 0 means 16
	Verifications    int          // git processes at a time; 0 means 4
	Warnings         []string     // shown in the status as they are
	Logger           *slog.Logger // nil discards
}

// Forge is one configured forge and what is wanted on it.
type Forge struct {
	Name         string
	Kind         provision.Kind
	URL          string // identifies the forge across changes of its name
	Forge        provision.Forge
	Repositories []RepositoryAccess
}

// RepositoryAccess is a repository and what the builds may do with it.
type RepositoryAccess struct {
	Repository provision.Repository
	Access     provision.Access
	Socket     string // the repository's own, as the status shows it; empty without
}

// Agent carries one life. Run it once; Revoke ends its work, and so does Suspend.
type Agent struct {
	options Options
	log     *slog.Logger
	started time.Time

	forges        []*forgeState   // one per configured forge
	registrations []*registration // fixed after New
	ring          *keyring        // every key of this life
	verifications chan struct{}   // one slot per git process
	workers       sync.WaitGroup  // grows only while phase is Serving and work goes on, or from a worker

	// work ends when no new step may begin; requests ends some time later, so
	// that a request under way is answered rather than cut.
	work         context.Context //nolint:containedctx // owned: these end the agent's own goroutines
	stopWork     context.CancelFunc
	requests     context.Context //nolint:containedctx // as above
	stopRequests context.CancelFunc

	mu         sync.Mutex // guards what follows and the mutable parts of registrations
	loaded     bool
	unreadable error                // why the journal may hold more than could be read
	leftovers  map[string]*leftover // by record ID
	revocation *revocation          // the one at work; nil without
	closed     bool                 // no revocation may begin any more
	suspended  bool                 // the work was left to a successor
	resumed    time.Time            // when keys were taken over from a predecessor; zero if none were
	phase      Phase
	ready      time.Time     // when the agent became ready; zero if it is not
	changed    chan struct{} // closed and replaced at every change
}

// New plans the keys. It neither makes one, nor reads the journal, nor talks to
// a forge.
func New(o Options) *Agent {
	if o.RequestsPerForge == 0 {
		o.RequestsPerForge = 16
	}
	if o.Verifications == 0 {
		o.Verifications = 4
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Agent{
		options: o, log: o.Logger, started: time.Now(),
		ring:          &keyring{kind: o.KeyType, parking: o.Parking, log: o.Logger},
		verifications: make(chan struct{}, o.Verifications),
		leftovers:     map[string]*leftover{},
		phase:         Starting,
		changed:       make(chan struct{}),
	}
	a.work, a.stopWork = context.WithCancel(context.Background())
	a.requests, a.stopRequests = context.WithCancel(context.Background())
	for _, f := range o.Forges {
		state := newForgeState(f, o.RequestsPerForge)
		a.forges = append(a.forges, state)
		for _, repositories := range planKeys(f) {
			planned := &plannedKey{ring: a.ring}
			for _, repo := range repositories {
				a.registrations = append(a.registrations, newRegistration(a, state, repo, planned))
			}
		}
	}
	return a
}

// Run settles what earlier lives left and Resume did not take over, registers,
// verifies and publishes every planned key, and goes on until ctx ends. It
// revokes nothing that is in use: the caller does that with Revoke.
func (a *Agent) Run(ctx context.Context) {
	unhook := context.AfterFunc(ctx, a.stopWork)
	defer unhook()
	a.load()
	a.beginWork()
	<-ctx.Done()
	a.stopWork() // the hook may not have run yet
}

// beginWork starts a worker for every leftover and registration, unless the
// agent was told to stop before it began.
func (a *Agent) beginWork() {
	a.update(func() {
		if a.phase != Starting || a.work.Err() != nil {
			return
		}
		a.phase = Serving
		if n := len(a.leftovers); n > 0 {
			a.log.Info("settling what an earlier life left", slog.Int("records", n))
		}
		for _, l := range a.leftovers {
			a.workers.Go(func() { l.run(a.work) })
		}
		for _, r := range a.registrations {
			a.workers.Go(func() { r.run(a.work) })
		}
	})
}

// load reads the journal once: every record is of an earlier life. What cannot
// be read may be a key that remains, and is shown as such.
func (a *Agent) load() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.loaded {
		return
	}
	records, err := a.options.Journal.Records()
	if err != nil {
		a.log.Error("the journal cannot be read whole", slog.String("error", err.Error()))
		a.unreadable = err
	}
	for _, rec := range records {
		a.leftovers[rec.ID()] = &leftover{agent: a, record: rec, reason: "left by an earlier life, not settled yet"}
	}
	a.loaded = true
}

// AwaitReady returns nil once the agent is ready, or ctx's cause.
func (a *Agent) AwaitReady(ctx context.Context) error {
	for {
		a.mu.Lock()
		ready, changed := !a.ready.IsZero(), a.changed
		a.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Verify makes every repository be tried again now: those that failed, and those
// whose key somebody deleted on the forge, are registered again, and all are
// proven again. It returns the status after that. A repository that was proven
// before and could not be reached now stays verified, with the reason.
func (a *Agent) Verify(ctx context.Context) (Status, error) {
	var waiting []chan struct{}
	for _, r := range a.registrations {
		done := make(chan struct{})
		select {
		case r.again <- done:
			waiting = append(waiting, done)
		case <-a.work.Done():
			return a.Status(), a.ended()
		case <-ctx.Done():
			return a.Status(), context.Cause(ctx)
		}
	}
	for _, done := range waiting {
		select {
		case <-done:
		case <-a.work.Done():
			return a.Status(), a.ended()
		case <-ctx.Done():
			return a.Status(), context.Cause(ctx)
		}
	}
	return a.Status(), nil
}

// ended says why nothing is verified any more.
func (a *Agent) ended() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.suspended && !a.revokesLocked() {
		return errors.New("verify: another process is taking over: ask again")
	}
	return errors.New("verify: the agent is stopping or has revoked its keys: restart it for new ones")
}

// revokesLocked reports whether a revocation has begun or was done. The caller
// holds mu.
func (a *Agent) revokesLocked() bool {
	return a.revocation != nil || a.phase == Stopping || a.phase == Revoked
}

// update changes the state under the lock and tells everybody who waits.
func (a *Agent) update(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
	isReady := a.readyLocked()
	switch {
	case isReady && a.ready.IsZero():
		a.ready = time.Now()
		a.log.Info("ready", slog.Duration("after", time.Since(a.started)))
	case !isReady && !a.ready.IsZero():
		a.ready = time.Time{}
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *Agent) readyLocked() bool {
	if a.phase != Serving {
		return false
	}
	verified := 0
	for _, r := range a.registrations {
		if r.condition == ConditionVerified {
			verified++
		}
	}
	if a.options.ReadyAny {
		return verified > 0
	}
	return verified == len(a.registrations)
}

// sortedLeftovers returns the leftovers in a stable order. The caller holds mu.
func (a *Agent) sortedLeftovers() []*leftover {
	ids := slices.Sorted(maps.Keys(a.leftovers))
	list := make([]*leftover, 0, len(ids))
	for _, id := range ids {
		list = append(list, a.leftovers[id])
	}
	return list
}
