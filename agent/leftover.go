package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"deploykeyd/provision"
)

// leftover is a registration that shall go: one of an earlier life, one whose
// request went unanswered, or, at stop, one that was in use.
//
// One goroutine at a time moves it: its worker, then Revoke.
type leftover struct {
	agent  *Agent
	remote *provision.Registration // seen on the target in this run, if it was
	unseen bool                    // it was in use, taken over, and not seen on the target in this run

	// Guarded by agent.mu for writing and for reading by others.
	record Record
	reason string
	next   string
}

// errMayLand says that an absent key may still appear.
var errMayLand = errors.New("a request to register it went unanswered and may still take effect")

// patience is how long a leftover that needs a person rests between two looks.
const patience = 10 * time.Minute

// run settles the leftover, however long that takes.
func (l *leftover) run(ctx context.Context) {
	var retry backoff
	for {
		err := l.settle(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		wait := retry.after(err)
		if !provision.ClassOf(err).Retryable() {
			wait = patience
		}
		l.log().WarnContext(ctx, "a key may remain on the forge", slog.String("reason", err.Error()), slog.Duration("retry_in", wait))
		if !pause(ctx, wait) {
			return
		}
	}
}

// settle makes one try to see the leftover gone. On success it is forgotten.
func (l *leftover) settle(ctx context.Context) error {
	err := l.takeBack(ctx)
	l.agent.update(func() {
		if err == nil {
			delete(l.agent.leftovers, l.record.ID())
			return
		}
		l.reason, l.next = err.Error(), provision.NextStep(err)
	})
	return err
}

func (l *leftover) takeBack(ctx context.Context) error {
	if l.record.State == Intended && l.record.Outstanding == 0 {
		return l.forget() // nothing was ever sent
	}
	f, err := l.agent.forgeOf(l.record)
	if err != nil {
		return err
	}
	if err := l.spare(ctx, f); err != nil {
		return err
	}
	remote, found, err := f.find(ctx, l.record.Target, l.record.Key)
	if err != nil {
		return err
	}
	if found {
		if remote, found, err = l.remove(ctx, f, remote); err != nil {
			return err
		}
	}
	if found {
		return l.failure(provision.Transient, fmt.Sprintf("the forge still lists the key (id %s) after it was deleted", remote.ID), "")
	}
	return l.absent(ctx, f)
}

// remove deletes the key and looks again.
func (l *leftover) remove(ctx context.Context, f *forgeState, remote provision.Registration) (provision.Registration, bool, error) {
	if err := l.checkOurs(remote); err != nil {
		return remote, true, err
	}
	if err := l.retire(ctx, remote); err != nil {
		return remote, true, err
	}
	if err := l.delete(ctx, f, remote); err != nil {
		return remote, true, err
	}
	return f.find(ctx, l.record.Target, l.record.Key)
}

// retire makes the decision to delete durable. While the key is alive, because
// other repositories use it, nothing is deleted before that: a successor would
// take the registration for one to go on with.
func (l *leftover) retire(ctx context.Context, remote provision.Registration) error {
	rec := l.record
	switch rec.State {
	case Retiring:
		return nil
	case Intended: // one lost request has landed
		rec.Outstanding = max(rec.Outstanding-1, 0)
	case Registered, Verified:
	}
	rec.RemoteID, rec.State = remote.ID, Retiring
	if err := l.agent.options.Journal.Put(rec); err != nil {
		if l.agent.ring.holds(rec.Key) {
			return fmt.Errorf("write the journal: %w", err)
		}
		l.log().WarnContext(ctx, "the journal does not say that the key is being revoked", slog.String("error", err.Error()))
	}
	l.agent.update(func() { l.record = rec })
	return nil
}

// checkOurs proves that remote is ours to delete: the very key of the record
// under the very title that the record's owner tag is.
func (l *leftover) checkOurs(remote provision.Registration) error {
	tag, err := provision.ParseOwnerTag(remote.Title)
	if err != nil || remote.Title != l.record.Title || remote.Key != l.record.Key || !tag.Names(remote.Key) {
		return l.failure(provision.Invalid,
			fmt.Sprintf("the key has the title %q there, which is not what was given to it: it is not deleted", cut(remote.Title, 80)),
			"look at the key on the forge and delete it there by hand if it is this one")
	}
	return nil
}

// delete asks the forge to remove remote, if that is ours.
func (l *leftover) delete(ctx context.Context, f *forgeState, remote provision.Registration) error {
	if err := l.checkOurs(remote); err != nil {
		return err
	}
	l.log().InfoContext(ctx, "revoking", slog.String("remote_id", remote.ID), slog.String("title", remote.Title))
	return f.revoke(ctx, l.record.Target, remote)
}

// absent forgets a key that a complete list does not show, once nothing can
// bring it there any more.
func (l *leftover) absent(ctx context.Context, f *forgeState) error {
	now, err := f.now(ctx)
	if err != nil {
		return err
	}
	if !l.record.mayLand(now) {
		return l.forget()
	}
	if l.record.AbsentSince.IsZero() {
		rec := l.record
		rec.AbsentSince = now
		if err := l.store(rec); err != nil {
			return err
		}
	}
	return &provision.Error{
		Op: "revoke", Forge: l.record.Forge, Target: l.record.Target, Class: provision.Transient, Err: errMayLand,
		Message: errMayLand.Error() + " until " + l.record.AbsentSince.Forge.Add(LandingWindow).UTC().Format(time.RFC3339),
		Next:    "run deploykeyd revoke after that time, or leave it to the next start",
	}
}

// store changes the record, in memory in any case.
func (l *leftover) store(rec Record) error {
	l.agent.update(func() { l.record = rec })
	if err := l.agent.options.Journal.Put(rec); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

func (l *leftover) forget() error {
	if err := l.agent.options.Journal.Forget(l.record.ID()); err != nil {
		// The key is not on the forge: what stays in the journal costs the next
		// start one more list, no more.
		l.log().Warn("the journal still holds a key that is gone", slog.String("error", err.Error()))
	}
	l.log().Info("gone", slog.String("title", l.record.Title))
	return nil
}

// spare keeps hands off what a living copy of this machine may have made.
func (l *leftover) spare(ctx context.Context, f *forgeState) error {
	if !l.agent.options.WeakMachine || l.record.Boot == l.agent.options.Boot {
		return nil
	}
	now, err := f.now(ctx)
	if err != nil {
		return err
	}
	if l.record.expired(now) {
		return nil
	}
	return l.failure(provision.Denied,
		"it was made in another boot, and only a machine-id tells this machine from its copies: it is left alone until it expires at "+
			l.record.Expires.UTC().Format(time.RFC3339),
		"give the machine an identity of its own: a cloud-init instance-id, or machine: in the configuration")
}

func (l *leftover) failure(class provision.Class, message, next string) error {
	return &provision.Error{
		Op: "revoke", Forge: l.record.Forge, Target: l.record.Target, Class: class, Message: message, Next: next,
	}
}

func (l *leftover) log() *slog.Logger {
	return l.agent.log.With(
		slog.String("forge", l.record.Forge), slog.String("target", l.record.Target.String()),
		slog.String("fingerprint", l.record.Key.Fingerprint()))
}

// remnant is the leftover as the exit list and the status show it.
func (l *leftover) remnant() Remnant {
	return Remnant{
		Forge: l.record.Forge, Target: l.record.Target.String(), Title: l.record.Title,
		Fingerprint: l.record.Key.Fingerprint(), RemoteID: l.record.RemoteID, Reason: l.reason, Next: l.next,
	}
}

// forgeOf returns the configured forge that can reach the record's target: the
// same forge by URL, and among several entries of it the one that fits best.
func (a *Agent) forgeOf(rec Record) (*forgeState, error) {
	var best *forgeState
	for _, f := range a.forges {
		if f.URL == rec.ForgeURL && (best == nil || f.fits(rec) > best.fits(rec)) {
			best = f
		}
	}
	if best == nil {
		return nil, &provision.Error{
			Op: "revoke", Forge: rec.Forge, Target: rec.Target, Class: provision.Denied,
			Message: "no forge with the address " + rec.ForgeURL + " is configured any more, so there is no credential to revoke with",
			Next:    "put the forge back into the configuration until its keys are revoked, or delete the key on the forge by hand",
		}
	}
	return best, nil
}

// fits says how likely the credential of f may revoke what rec tells of: an
// entry for the very target before one for its owner, whose credential may be
// good for that owner alone, and that before one that has kept its name.
func (f *forgeState) fits(rec Record) int {
	repo, _ := rec.Target.Repository()
	sameOwner := func(r RepositoryAccess) bool { return strings.EqualFold(r.Repository.Owner(), repo.Owner()) }
	switch {
	case f.has(rec.Target):
		return 3
	case slices.ContainsFunc(f.Repositories, sameOwner):
		return 2
	case f.Name == rec.Forge:
		return 1
	}
	return 0
}

func (f *forgeState) has(t provision.Target) bool {
	repo, ok := t.Repository()
	return ok && slices.ContainsFunc(f.Repositories, func(r RepositoryAccess) bool {
		return provision.Same(r.Repository, repo)
	})
}

// abandon hands over a record that no registration goes on with.
func (a *Agent) abandon(rec Record) {
	l := &leftover{agent: a, record: rec, reason: errMayLand.Error()}
	a.update(func() { a.leftovers[rec.ID()] = l })
	a.workers.Go(func() { l.run(a.work) })
}

// cut returns at most n bytes of s, for messages.
func cut(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
