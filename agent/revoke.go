package agent

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"deploykeyd/provision"
)

// answerGrace is how long a stop waits for the answers of requests under way,
// rather than cut them and be left with keys that may still land.
const answerGrace = 5 * time.Second

// Revoke ends the work: it withdraws every key from the builds, takes it off
// every forge, and believes that only when the forge's own list no longer has
// it. It returns what may remain when all is done or ctx ends; none means that
// no key of this machine is on any forge. Without a Run before, it settles what
// the journal holds. It may be called again.
func (a *Agent) Revoke(ctx context.Context) ([]Remnant, error) {
	if err := acquire(ctx, a.revoking); err != nil {
		return a.remnants(), err
	}
	defer release(a.revoking)
	if err := a.load(); err != nil {
		return nil, err
	}
	a.update(func() {
		a.phase = Stopping
		for _, r := range a.registrations {
			r.withdraw()
		}
	})
	a.stopWork()
	a.endWorkers(ctx)
	a.retireRegistrations()

	// Deletes come before lists, forge by forge: one that hangs holds up no other.
	byForge := map[string][]*leftover{}
	for _, l := range a.leftoverList() {
		byForge[l.record.ForgeURL] = append(byForge[l.record.ForgeURL], l)
	}
	each(slices.Collect(maps.Values(byForge)), func(list []*leftover) {
		each(list, func(l *leftover) { l.firstDelete(ctx) })
		each(list, func(l *leftover) { l.settleBy(ctx) })
	})

	remnants := a.remnants()
	a.update(func() {
		a.phase = Revoked
		for _, r := range a.registrations {
			r.condition, r.reason = ConditionWaiting, "revoked: restart the daemon for a new key"
		}
		for _, k := range a.keys {
			k.Wipe()
		}
	})
	a.log.InfoContext(ctx, "revoked", slog.Int("keys_that_may_remain", len(remnants)))
	return remnants, nil
}

// endWorkers waits until no worker does anything any more.
func (a *Agent) endWorkers(ctx context.Context) {
	idle := make(chan struct{})
	go func() {
		a.workers.Wait()
		close(idle)
	}()
	grace := answerGrace
	if deadline, ok := ctx.Deadline(); ok {
		grace = min(grace, time.Until(deadline)/3)
	}
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
				agent: a, record: r.record, remote: r.remote, reason: "not revoked yet",
			}
			r.record, r.remote = Record{}, nil
			r.condition, r.reason, r.next = ConditionRetiring, "being revoked", ""
		}
	})
}

// firstDelete asks for the deletion of a key whose id this run knows, without
// looking at the result: the lists come when all deletes are out.
func (l *leftover) firstDelete(ctx context.Context) {
	if l.remote == nil {
		return
	}
	f, err := l.agent.forgeOf(l.record)
	if err == nil {
		err = l.delete(ctx, f, *l.remote)
	}
	if err != nil {
		l.log().WarnContext(ctx, "delete failed, trying again", slog.String("reason", err.Error()))
	}
}

// settleBy settles the leftover, trying again until ctx ends. It does not wait
// for what may still land: that can take longer than any stop.
func (l *leftover) settleBy(ctx context.Context) {
	var retry backoff
	for {
		err := l.settle(ctx)
		if err == nil || !provision.ClassOf(err).Retryable() || isMayLand(err) {
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
	list := a.leftoverList()
	a.mu.Lock()
	defer a.mu.Unlock()
	remnants := make([]Remnant, 0, len(list))
	for _, l := range list {
		remnants = append(remnants, l.remnant())
	}
	return remnants
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
