package agent

import (
	"context"
	"sync/atomic"
	"time"

	"deploykeyd/provision"
)

// forgeState is what all work on one forge shares: its clock and its slots for
// requests.
type forgeState struct {
	Forge
	slots chan struct{} // one per request at a time
	clock chan struct{} // held by the one that asks for the time

	unanswered atomic.Int64 // how often that was in vain
	why        error        // the last time; guarded by clock
}

func newForgeState(f Forge, requests int) *forgeState {
	return &forgeState{Forge: f, slots: make(chan struct{}, requests), clock: make(chan struct{}, 1)}
}

// acquire takes a slot; release gives it back. A context that has ended gets
// none, even where one is free.
func acquire(ctx context.Context, slots chan struct{}) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func release(slots chan struct{}) { <-slots }

// now returns the moment by the forge's clock and ours. A forge without the
// ability is taken to agree with the machine. Where no reply has told the time
// yet, one caller asks and the others wait for it, also for its failure: a forge
// that does not answer would else keep each of them waiting in turn.
func (f *forgeState) now(ctx context.Context) (Moment, error) {
	c, ok := f.Forge.Forge.(provision.Clock)
	if !ok {
		now := time.Now()
		return Moment{Forge: now, Local: now}, nil
	}
	before := f.unanswered.Load()
	if err := acquire(ctx, f.clock); err != nil {
		return Moment{}, err
	}
	defer release(f.clock)
	if f.unanswered.Load() != before {
		return Moment{}, f.why
	}
	t, err := c.Time(ctx)
	if err != nil && ctx.Err() == nil {
		f.why = err
		f.unanswered.Add(1)
	}
	return Moment{Forge: t, Local: time.Now()}, err
}

func (f *forgeState) find(ctx context.Context, t provision.Target, k provision.PublicKey) (provision.Registration, bool, error) {
	if err := acquire(ctx, f.slots); err != nil {
		return provision.Registration{}, false, err
	}
	defer release(f.slots)
	return provision.Find(ctx, f.Forge.Forge, t, k)
}

func (f *forgeState) revoke(ctx context.Context, t provision.Target, r provision.Registration) error {
	if err := acquire(ctx, f.slots); err != nil {
		return err
	}
	defer release(f.slots)
	return f.Forge.Forge.Revoke(ctx, t, r)
}
