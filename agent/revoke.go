package agent

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"deploykeyd/provision"
)

// answerGrace is how long a stop waits for the answers of requests under way,
// rather than cut them and be left with keys that may still land, and as long
// again for the answers to its own deletes.
const answerGrace = 5 * time.Second

// revocation is one Revoke at work, which others may join.
type revocation struct {
	shorten  context.CancelFunc
	done     chan struct{}
	cut      bool // ended by its context; valid once done
	remnants []Remnant
}

// Revoke ends the work: it withdraws every key from the builds, takes it off
// every forge, and believes that only when the forge's own list no longer has
// it. It returns what may remain when all is done or ctx ends; none means that
// no key of this machine is on any forge. Without a Run before, it settles what
// the journal holds.
//
// It may be called again, and at the same time: the second caller joins the
// revocation at work, and ends it when its own ctx ends first.
func (a *Agent) Revoke(ctx context.Context) []Remnant {
	for {
		r := a.joinRevocation(ctx)
		if r == nil {
			return a.remnants()
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			r.shorten()
			<-r.done // bounded: everything under way obeys a context that has ended
		}
		if !r.cut || len(r.remnants) == 0 || ctx.Err() != nil {
			return r.remnants
		}
		// Somebody with less time cut it short: there is more of ours.
	}
}

// Close ends a revocation that is at work and lets none begin any more: from
// then on the agent needs neither journal nor forges.
func (a *Agent) Close() {
	a.mu.Lock()
	a.closed = true
	r := a.revocation
	a.mu.Unlock()
	if r != nil {
		r.shorten()
		<-r.done
	}
}

// joinRevocation returns the revocation at work, and begins one where there is
// none. After Close it returns nil.
func (a *Agent) joinRevocation(ctx context.Context) *revocation {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.revocation != nil {
		return a.revocation
	}
	if a.closed {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &revocation{shorten: cancel, done: make(chan struct{})}
	a.revocation = r
	go func() {
		defer cancel()
		remnants := a.revoke(ctx)
		a.mu.Lock()
		defer a.mu.Unlock()
		r.remnants, r.cut = remnants, ctx.Err() != nil
		a.revocation = nil
		close(r.done)
	}()
	return r
}

func (a *Agent) revoke(ctx context.Context) []Remnant {
	a.load()
	a.update(func() {
		a.phase = Stopping
		for _, r := range a.registrations {
			r.withdraw()
		}
	})
	a.options.Parking.Wipe() // a crash from here on leaves nothing to go on with
	a.stopWork()
	a.endWorkers(ctx, graceOf(ctx))
	a.ring.wipe() // what follows needs the public halves alone
	a.retireRegistrations()

	// Deletes come before lists, forge by forge: one that hangs holds up no other.
	byForge := map[string][]*leftover{}
	a.mu.Lock()
	for _, l := range a.sortedLeftovers() {
		byForge[l.record.ForgeURL] = append(byForge[l.record.ForgeURL], l)
	}
	a.mu.Unlock()
	// One delete that hangs does not keep the lists of the others waiting either.
	deletes, cancel := context.WithTimeout(ctx, graceOf(ctx))
	defer cancel()
	each(slices.Collect(maps.Values(byForge)), func(list []*leftover) {
		each(list, func(l *leftover) { l.firstDelete(deletes) })
		each(list, func(l *leftover) { l.settleBy(ctx) })
	})

	a.update(func() {
		a.phase = Revoked
		for _, r := range a.registrations {
			r.condition, r.reason, r.next = ConditionWaiting, "revoked: restart the daemon for a new key", ""
		}
	})
	remnants := a.remnants()
	a.log.InfoContext(ctx, "revoked", slog.Int("keys_that_may_remain", len(remnants)))
	return remnants
}

// graceOf returns what one stage of a stop may take of ctx's time.
func graceOf(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return min(answerGrace, time.Until(deadline)/3)
	}
	return answerGrace
}

// endWorkers waits until no worker does anything any more. Requests under way
// have the grace to be answered, at most until ctx ends.
func (a *Agent) endWorkers(ctx context.Context, grace time.Duration) {
	idle := make(chan struct{})
	go func() {
		a.workers.Wait()
		close(idle)
	}()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	case <-ctx.Done():
	}
	a.stopRequests()
	<-idle // bounded: everything under way obeys a context that has ended
}

// retireRegistrations makes a leftover of every registration that may be on a
// forge.
func (a *Agent) retireRegistrations() {
	a.update(func() {
		for _, r := range a.registrations {
			if r.record.State == "" {
				continue
			}
			a.leftovers[r.record.ID()] = &leftover{
				agent: a, record: r.record, remote: r.remote, unseen: r.remote == nil && r.record.held(),
				reason: "not revoked yet",
			}
			r.record, r.remote = Record{}, nil
			r.condition, r.reason, r.next = ConditionRetiring, "being revoked", ""
		}
	})
}

// firstDelete asks for the deletion of a key that this run has seen on its
// target, without looking at the result: the lists come when all deletes are
// out. One that was taken over and never looked at is looked for first.
func (l *leftover) firstDelete(ctx context.Context) {
	if l.remote == nil && !l.unseen {
		return
	}
	f, err := l.agent.forgeOf(l.record)
	if err == nil && l.unseen {
		err = l.look(ctx, f)
	}
	if err == nil && l.remote != nil {
		err = l.delete(ctx, f, *l.remote)
	}
	if err != nil {
		l.log().WarnContext(ctx, "delete failed, trying again", slog.String("reason", err.Error()))
	}
}

func (l *leftover) look(ctx context.Context, f *forgeState) error {
	remote, found, err := f.find(ctx, l.record.Target, l.record.Key)
	if found {
		l.remote = &remote
	}
	return err
}

// settleBy settles the leftover, trying again until ctx ends. It does not wait
// for what may still land: that can take longer than any stop.
func (l *leftover) settleBy(ctx context.Context) {
	var retry backoff
	for {
		err := l.settle(ctx)
		if err == nil || !provision.ClassOf(err).Retryable() || errors.Is(err, errMayLand) {
			return
		}
		if !pause(ctx, retry.after(err)) {
			l.agent.update(func() { l.reason = "time ran out: " + l.reason })
			return
		}
	}
}

// remnants returns what may remain, in a stable order.
func (a *Agent) remnants() []Remnant {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.remnantsLocked()
}

func (a *Agent) remnantsLocked() []Remnant {
	remnants := make([]Remnant, 0, len(a.leftovers))
	for _, l := range a.sortedLeftovers() {
		remnants = append(remnants, l.remnant())
	}
	if a.unreadable != nil {
		remnants = append(remnants, unreadableRemnant(a.unreadable))
	}
	return remnants
}

// unreadableRemnant stands for what a journal may hold beyond what could be
// read.
func unreadableRemnant(cause error) Remnant {
	return Remnant{
		Forge: "an unknown forge", Target: "a repository", Title: "a key that the journal cannot tell",
		Reason: cause.Error(), Next: "look for keys titled deploykeyd:… of this machine on the forges and delete them by hand",
	}
}

// each calls f for all items at once and waits for them. The forges' slots
// bound how many requests that makes.
func each[T any](items []T, f func(T)) {
	var wg sync.WaitGroup
	for _, item := range items {
		wg.Go(func() { f(item) })
	}
	wg.Wait()
}
