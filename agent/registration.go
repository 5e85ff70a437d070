package agent

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"deploykeyd/agent/key"
	"deploykeyd/provision"
)

// registration is one repository's way from a plan to a key that builds can
// use. Its worker goroutine alone moves it; others only look.
type registration struct {
	agent  *Agent
	forge  *forgeState
	access RepositoryAccess
	target provision.Target
	again  chan chan struct{} // a request to try now; closed when tried
	retry  backoff
	later  time.Duration // added to the expiry, to make another title

	// Guarded by agent.mu for writing and for reading by others.
	key       *key.Key
	public    provision.PublicKey
	record    Record                  // zero until intended
	remote    *provision.Registration // seen on the target in this run
	lost      bool                    // a request went unanswered and no list has been seen since
	published bool
	condition Condition
	reason    string
	next      string
}

func newRegistration(a *Agent, f *forgeState, access RepositoryAccess, k *key.Key) *registration {
	r := &registration{
		agent: a, forge: f, access: access, key: k,
		target:    provision.RepositoryTarget(access.Repository),
		again:     make(chan chan struct{}),
		condition: ConditionWaiting, reason: "not registered yet",
	}
	r.public = publicKey(k)
	return r
}

func publicKey(k *key.Key) provision.PublicKey {
	public, err := provision.PublicKeyFromBlob(k.Public())
	if err != nil { // our own key in the standard form: only a programming error gets here
		panic(fmt.Sprintf("agent: own public key: %v", err))
	}
	return public
}

// run tries until the repository is verified or a person is needed, and again
// whenever it is asked to.
func (r *registration) run(ctx context.Context) {
	var done chan struct{}
	for {
		wait := r.attempt(ctx, done != nil)
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
		case <-ctx.Done():
			return
		}
	}
}

// attempt goes as far as it can and returns when to go on by itself; 0 means
// that there is nothing to do until somebody asks.
func (r *registration) attempt(ctx context.Context, asked bool) time.Duration {
	if err := r.advance(ctx, asked); err != nil {
		return r.stumble(ctx, err)
	}
	r.retry.reset()
	return 0
}

func (r *registration) advance(ctx context.Context, asked bool) error {
	if r.remote == nil {
		if err := r.register(ctx); err != nil {
			return err
		}
	}
	if r.condition == ConditionVerified && !asked {
		return nil
	}
	if err := r.checkAccess(); err != nil {
		return err
	}
	return r.verify(ctx)
}

// checkAccess refuses a key that may do more than was asked for.
func (r *registration) checkAccess() error {
	if r.access.Access != provision.Read || r.remote.Access != provision.Write {
		return nil
	}
	return &provision.Error{
		Op: "register", Forge: r.forge.Name, Target: r.target, Class: provision.Invalid,
		Message: "the forge gave the key write access although read was asked for",
		Next:    "look at the forge: it does not honour read-only deploy keys; the key is not lent to builds and is revoked at stop",
	}
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
		case r.remote != nil:
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
	r.log().WarnContext(ctx, "repository is not usable",
		slog.String("reason", err.Error()), slog.String("next", provision.NextStep(err)),
		slog.String("class", string(class)), slog.Duration("retry_in", wait))
	return wait
}

// register brings a key onto the target. A clash that another key or another
// title may get around is tried once more with that.
func (r *registration) register(ctx context.Context) error {
	err := r.registerOnce(ctx)
	switch provision.ClassOf(err) { //nolint:exhaustive // the other classes say nothing about key or title
	case provision.InUseElsewhere:
		if err := r.renewKey(); err != nil {
			return err
		}
	case provision.TitleClash:
		r.later += time.Second
	default:
		return err
	}
	return r.registerOnce(ctx)
}

// renewKey takes a fresh key for this repository alone.
func (r *registration) renewKey() error {
	k, err := r.agent.newKey()
	if err != nil {
		return err
	}
	r.agent.update(func() { r.key, r.public = k, publicKey(k) })
	return nil
}

// registerOnce puts the intent first, then the request, and after a lost answer
// the forge's own list.
func (r *registration) registerOnce(ctx context.Context) error {
	if err := r.intend(ctx); err != nil {
		return err
	}
	if r.lost {
		if found, err := r.settle(ctx); found || err != nil {
			return err
		}
	}
	return r.ask(ctx)
}

// intend makes the decision durable, before anything is sent.
func (r *registration) intend(ctx context.Context) error {
	now, err := r.forge.now(ctx)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	rec := r.record
	if rec.State == "" {
		tag, err := provision.NewOwnerTag(r.agent.options.Fleet, r.agent.options.Machine, r.public,
			now.Add(r.agent.options.Expire+r.later), provision.TraitsOf(r.forge.Kind).TitleLimit)
		if err != nil {
			return &provision.Error{Op: "register", Forge: r.forge.Name, Target: r.target, Class: provision.Invalid, Message: err.Error()}
		}
		rec = Record{
			Forge: r.forge.Name, ForgeURL: r.forge.URL, Kind: r.forge.Kind, Target: r.target,
			Key: r.public, Title: tag.String(), Access: r.access.Access, State: Intended,
			Boot: r.agent.options.Boot, IntendedAt: time.Now().UTC(), Expires: tag.Expires,
		}
	}
	if r.lost {
		return nil // a list comes first, and may make the next request needless
	}
	rec.Outstanding++
	rec.Asked, rec.AbsentSince = now, time.Time{}
	return r.store(rec)
}

// store writes rec to the journal and, if that worked, makes it the record.
func (r *registration) store(rec Record) error {
	if err := r.agent.options.Journal.Put(rec); err != nil {
		return &provision.Error{
			Op: "register", Forge: r.forge.Name, Target: r.target, Class: provision.Transient,
			Message: "the journal cannot be written, so nothing is registered: " + err.Error(),
			Next:    "free space on, or mend, the file system of the state directory", Err: err,
		}
	}
	r.agent.update(func() { r.record = rec })
	return nil
}

// ask sends the request that intend made durable.
func (r *registration) ask(ctx context.Context) error {
	if ctx.Err() != nil {
		return r.refused(notSent(r.forge.Name, r.target, context.Cause(ctx)))
	}
	//nolint:contextcheck // a stop lets a request under way be answered
	remote, err := r.forge.register(r.agent.requests, r.target, provision.KeyRequest{
		Title: r.record.Title, Key: r.public, Access: r.access.Access, Expires: r.record.Expires,
	})
	switch {
	case err == nil:
		return r.registered(remote)
	case provision.IsUncertain(err):
		r.agent.update(func() { r.lost = true })
		r.log().WarnContext(ctx, "the answer to a registration was lost; asking the forge's list", slog.String("reason", err.Error()))
		if found, listErr := r.settle(ctx); found || listErr != nil {
			return listErr
		}
		return err
	}
	return r.refused(err)
}

// refused takes back an intent that the forge definitely refused.
func (r *registration) refused(err error) error {
	rec := r.record
	rec.Outstanding--
	if provision.ClassOf(err).Retryable() {
		if storeErr := r.store(rec); storeErr != nil {
			return storeErr
		}
		return err
	}
	if giveUpErr := r.giveUp(rec); giveUpErr != nil {
		return giveUpErr
	}
	return err
}

// giveUp ends a record that this registration does not go on with. What earlier
// requests for its key may still bring is left to be settled, and then the next
// try needs another key: what settles the old one would take back the new.
func (r *registration) giveUp(rec Record) error {
	r.agent.update(func() { r.record = Record{} })
	forgotten := false
	if rec.Outstanding == 0 {
		err := r.agent.options.Journal.Forget(rec.ID())
		if err != nil {
			r.log().Warn("a refused intent stays in the journal", slog.String("error", err.Error()))
		}
		forgotten = err == nil
	}
	if forgotten {
		return nil
	}
	r.agent.abandon(rec)
	return r.renewKey()
}

// settle asks the list what became of a lost request, and reports whether the
// key is there.
func (r *registration) settle(ctx context.Context) (bool, error) {
	remote, found, err := r.forge.find(ctx, r.target, r.public)
	if err != nil {
		return false, err
	}
	if found {
		return true, r.registered(remote)
	}
	now, err := r.forge.now(ctx)
	if err != nil {
		return false, err
	}
	rec := r.record
	rec.AbsentSince = now
	if err := r.store(rec); err != nil {
		return false, err
	}
	r.agent.update(func() { r.lost = false })
	// The next request is a further one that may land: it needs its own intent.
	return false, r.intend(ctx)
}

// registered records that the forge has the key. A journal that cannot be
// written is no reason to give the key up: its intent is durable.
func (r *registration) registered(remote provision.Registration) error {
	rec := r.record
	rec.State, rec.RemoteID, rec.AbsentSince = Registered, remote.ID, time.Time{}
	rec.Outstanding--
	if err := r.agent.options.Journal.Put(rec); err != nil {
		r.log().Warn("the journal still holds an intent", slog.String("error", err.Error()))
	}
	r.agent.update(func() {
		r.record, r.remote, r.lost = rec, &remote, false
		r.condition, r.reason, r.next = ConditionRegistered, "not verified yet", ""
	})
	r.log().Info("registered", slog.String("remote_id", remote.ID), slog.String("title", rec.Title))
	return nil
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
	r.agent.update(func() { r.publish(rec) })
	r.log().InfoContext(ctx, "verified", slog.String("access", string(r.access.Access)))
	return nil
}

// publish lends the key to the builds, unless the agent has begun to stop. The
// caller holds agent.mu.
func (r *registration) publish(rec Record) {
	r.record = rec
	if r.agent.phase != Serving {
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
	return r.agent.log.With(
		slog.String("forge", r.forge.Name), slog.String("repository", string(r.access.Repository)),
		slog.String("fingerprint", r.public.Fingerprint()))
}
