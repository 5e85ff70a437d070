package agent

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"deploykeyd/agent/key"
	"deploykeyd/provision"
)

// register brings a key onto the target. A clash that another key or another
// title may get around is tried once more with that.
func (r *registration) register(ctx context.Context) error {
	if err := r.ensureKey(); err != nil {
		return err
	}
	err := r.registerOnce(ctx)
	switch provision.ClassOf(err) { //nolint:exhaustive // the other classes say nothing about key or title
	case provision.InUseElsewhere:
		if rec := r.record; rec.State != "" { // uncertain as well: what it may bring is settled with its own key
			if err := r.giveUp(rec); err != nil {
				return err
			}
		}
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

func (r *registration) ensureKey() error {
	if r.key != nil {
		return nil
	}
	k, err := r.planned.get()
	if err != nil {
		return err
	}
	r.agent.update(func() { r.key, r.public = k, publicKey(k) })
	return nil
}

// renewKey takes a fresh key for this repository alone, and wipes the one
// before unless other repositories use it.
func (r *registration) renewKey() error {
	k, err := r.agent.ring.generate()
	if err != nil {
		return err
	}
	var unused *key.Key
	r.agent.update(func() {
		before := r.key
		r.key, r.public = k, publicKey(k)
		if before != nil && !r.agent.usesLocked(before, r.planned) {
			unused = before
		}
	})
	if unused != nil {
		r.agent.ring.drop(unused)
	}
	return nil
}

// usesLocked reports whether a repository uses k, or may come to use it because
// it has not taken its planned key yet. The caller holds mu.
func (a *Agent) usesLocked(k *key.Key, planned *plannedKey) bool {
	return slices.ContainsFunc(a.registrations, func(r *registration) bool {
		return r.key == k || r.key == nil && r.planned == planned && planned.key == k
	})
}

// registerOnce asks the list about a lost request, then puts the intent first
// and the request after it.
func (r *registration) registerOnce(ctx context.Context) error {
	if r.lost {
		if found, err := r.settle(ctx); found || err != nil {
			return err
		}
	}
	remote, sent, err := r.request(ctx)
	switch {
	case err == nil:
		return r.registered(remote)
	case !sent:
		return err
	case provision.IsUncertain(err):
		r.lost = true
		r.log().WarnContext(ctx, "the answer to a registration was lost; asking the forge's list", slog.String("reason", err.Error()))
		if found, listErr := r.settle(ctx); found || listErr != nil {
			return listErr
		}
		return err
	}
	return r.refused(err)
}

// request makes the intent durable and sends it. Both happen in the forge's
// slot: what waits for one is not yet intended, and does not begin once the
// work has ended. It reports whether it got as far as to send.
func (r *registration) request(ctx context.Context) (remote provision.Registration, sent bool, err error) {
	if err := acquire(ctx, r.forge.slots); err != nil {
		return remote, false, err
	}
	defer release(r.forge.slots)
	if err := r.intend(ctx); err != nil {
		return remote, false, err
	}
	//nolint:contextcheck // a stop lets a request under way be answered
	remote, err = r.forge.Forge.Forge.Register(r.agent.requests, r.target, provision.KeyRequest{
		Title: r.record.Title, Key: r.public, Access: r.access.Access, Expires: r.record.Expires,
	})
	return remote, true, err
}

// intend makes the decision durable, before anything is sent.
func (r *registration) intend(ctx context.Context) error {
	now, err := r.forge.now(ctx)
	if err != nil {
		return err
	}
	rec := r.record
	if rec.Outstanding == 0 { // nothing is out under an older tag
		tag, err := provision.NewOwnerTag(r.agent.options.Fleet, r.agent.options.Machine, r.public,
			now.Forge.Add(r.agent.options.Expire+r.later), provision.TraitsOf(r.forge.Kind).TitleLimit)
		if err != nil {
			return &provision.Error{Op: "register", Forge: r.forge.Name, Target: r.target, Class: provision.Invalid, Message: err.Error()}
		}
		rec = Record{
			Forge: r.forge.Name, ForgeURL: r.forge.URL, Kind: r.forge.Kind, Target: r.target,
			Key: r.public, Title: tag.String(), Access: r.access.Access, State: Intended,
			Boot: r.agent.options.Boot, IntendedAt: time.Now().UTC(), Expires: tag.Expires,
		}
	}
	rec.Outstanding++
	rec.Asked, rec.AbsentSince = now, Moment{}
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
	if rec.Outstanding == 0 {
		err := r.agent.options.Journal.Forget(rec.ID())
		if err == nil {
			return nil
		}
		r.log().Warn("a refused intent stays in the journal", slog.String("error", err.Error()))
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
	r.lost = false
	return false, nil
}

// registered records that the forge has the key. A journal that cannot be
// written is no reason to give the key up: its intent is durable.
func (r *registration) registered(remote provision.Registration) error {
	rec := r.record
	rec.State, rec.RemoteID, rec.AbsentSince = Registered, remote.ID, Moment{}
	rec.Outstanding--
	if err := r.agent.options.Journal.Put(rec); err != nil {
		r.log().Warn("the journal still holds an intent", slog.String("error", err.Error()))
	}
	r.lost = false
	r.agent.update(func() {
		r.record, r.remote = rec, &remote
		r.condition, r.reason, r.next = ConditionRegistered, "not verified yet", ""
	})
	r.log().Info("registered", slog.String("remote_id", remote.ID), slog.String("title", rec.Title))
	return nil
}
