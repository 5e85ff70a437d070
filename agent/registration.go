package agent

import (
	"context"
	"log/slog"
	"time"

	"deploykeyd/agent/key"
	"deploykeyd/provision"
)

// registration is one repository's way from a plan to a key that builds can
// use. Its worker goroutine alone moves it; others only look.
type registration struct {
	agent   *Agent
	forge   *forgeState
	access  RepositoryAccess
	target  provision.Target
	planned *plannedKey
	again   chan chan struct{} // a request to try now; closed when tried
	retry   backoff
	later   time.Duration // added to the expiry, to make another title
	reprove bool          // asked to be proven again, and not proven since
	lost    bool          // a request went unanswered and no list has been seen since

	// Guarded by agent.mu for writing and for reading by others.
	key       *key.Key // nil until it is needed
	public    provision.PublicKey
	record    Record                  // zero until intended
	remote    *provision.Registration // seen on the target in this run
	published bool
	condition Condition
	reason    string
	next      string
}

func newRegistration(a *Agent, f *forgeState, access RepositoryAccess, planned *plannedKey) *registration {
	return &registration{
		agent: a, forge: f, access: access, planned: planned,
		target:    provision.RepositoryTarget(access.Repository),
		again:     make(chan chan struct{}),
		condition: ConditionWaiting, reason: "not registered yet",
	}
}

// run tries until the repository is verified or a person is needed, and again
// whenever it is asked to.
func (r *registration) run(ctx context.Context) {
	var done chan struct{}
	for {
		wait := r.attempt(ctx)
		if done != nil {
			close(done)
			done = nil
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		select {
		case <-timer:
		case done = <-r.again:
			r.reprove = true
		case <-ctx.Done():
			return
		}
	}
}

// attempt goes as far as it can and returns when to go on by itself; 0 means
// that there is nothing to do until somebody asks.
func (r *registration) attempt(ctx context.Context) time.Duration {
	if err := r.advance(ctx); err != nil {
		return r.stumble(ctx, err)
	}
	r.retry.reset()
	return 0
}

func (r *registration) advance(ctx context.Context) error {
	if r.condition == ConditionVerified && !r.reprove {
		return nil
	}
	if r.record.held() && (r.reprove || r.remote == nil) {
		if err := r.recheck(ctx); err != nil {
			return err
		}
	}
	if !r.record.held() {
		if err := r.register(ctx); err != nil {
			return err
		}
	}
	if err := r.checkAccess(); err != nil {
		return err
	}
	return r.verify(ctx)
}

// recheck asks the forge whether it still has the key. One that somebody has
// deleted there is replaced by another.
func (r *registration) recheck(ctx context.Context) error {
	remote, found, err := r.forge.find(ctx, r.target, r.public)
	switch {
	case err != nil && r.remote == nil && r.record.State == Registered: // its access is not known yet
		return err
	case err != nil: // a list that cannot be had says nothing about the key: git will
		r.log().WarnContext(ctx, "the forge's list cannot be asked for the key", slog.String("reason", err.Error()))
		return nil
	case found:
		r.agent.update(func() { r.remote = &remote })
		return nil
	}
	r.log().WarnContext(ctx, "the key was deleted on the forge; making another", slog.String("title", r.record.Title))
	rec := r.record
	r.agent.update(func() {
		r.withdraw()
		r.remote, r.condition = nil, ConditionWaiting
	})
	if err := r.giveUp(rec); err != nil {
		return err
	}
	return r.renewKey()
}

// checkAccess refuses a key that may do more than was asked for. One that was
// verified has passed it, in this life or the one that it was taken over from.
func (r *registration) checkAccess() error {
	if r.remote == nil || r.access.Access != provision.Read || r.remote.Access != provision.Write {
		return nil
	}
	return &provision.Error{
		Op: "register", Forge: r.forge.Name, Target: r.target, Class: provision.Invalid,
		Message: "the forge gave the key write access although read was asked for",
		Next:    "look at the forge: it does not honour read-only deploy keys; the key is not lent to builds and is revoked at stop",
	}
}

// verify proves the key with real git and lends it to the builds.
func (r *registration) verify(ctx context.Context) error {
	if err := acquire(ctx, r.agent.verifications); err != nil {
		return err
	}
	err := r.agent.options.Verifier.Verify(ctx, r.forge.Name, r.access.Repository, r.key)
	release(r.agent.verifications)
	if err != nil {
		return err
	}
	rec := r.record
	rec.State, rec.VerifiedAt = Verified, time.Now().UTC()
	if err := r.agent.options.Journal.Put(rec); err != nil {
		r.log().WarnContext(ctx, "the journal does not say verified", slog.String("error", err.Error()))
	}
	r.reprove = false
	r.agent.update(func() { r.publish(rec) })
	r.log().InfoContext(ctx, "verified", slog.String("access", string(r.access.Access)))
	return nil
}

// stumble shows why the repository does not go on, and returns when to retry.
func (r *registration) stumble(ctx context.Context, err error) time.Duration {
	if ctx.Err() != nil {
		return 0
	}
	class := provision.ClassOf(err)
	condition := ConditionFailed
	wait := time.Duration(0)
	if class.Retryable() {
		wait = r.retry.after(err)
		switch {
		case r.condition == ConditionVerified:
			condition = ConditionVerified // a forge in trouble takes no earlier proof back
		case r.record.held():
			condition = ConditionRegistered
		default:
			condition = ConditionWaiting
		}
	}
	r.agent.update(func() {
		r.condition, r.reason, r.next = condition, err.Error(), provision.NextStep(err)
		if condition == ConditionFailed {
			r.withdraw()
		}
	})
	if condition == ConditionFailed {
		r.disprove(ctx)
	}
	r.log().WarnContext(ctx, "repository is not usable",
		slog.String("reason", err.Error()), slog.String("next", provision.NextStep(err)),
		slog.String("class", string(class)), slog.Duration("retry_in", wait))
	return wait
}

// disprove takes an earlier proof back in the journal: a successor must not lend
// what this life no longer does.
func (r *registration) disprove(ctx context.Context) {
	rec := r.record
	if rec.State != Verified {
		return
	}
	rec.State, rec.VerifiedAt = Registered, time.Time{}
	if err := r.agent.options.Journal.Put(rec); err != nil {
		r.log().WarnContext(ctx, "the journal still says verified", slog.String("error", err.Error()))
	}
	r.agent.update(func() { r.record = rec })
}

// publish lends the key to the builds, unless the agent has begun to stop. The
// caller holds agent.mu.
func (r *registration) publish(rec Record) {
	r.record = rec
	if r.agent.revokesLocked() {
		return
	}
	r.agent.options.Publisher.Publish(r.forge.Name, r.access.Repository, r.key)
	r.published = true
	r.condition, r.reason, r.next = ConditionVerified, "", ""
}

// withdraw ends the lending. The caller holds agent.mu.
func (r *registration) withdraw() {
	if r.published {
		r.agent.options.Publisher.Withdraw(r.forge.Name, r.access.Repository, r.key)
		r.published = false
	}
}

func (r *registration) log() *slog.Logger {
	l := r.agent.log.With(slog.String("forge", r.forge.Name), slog.String("repository", string(r.access.Repository)))
	if r.public.IsZero() {
		return l
	}
	return l.With(slog.String("fingerprint", r.public.Fingerprint()))
}
