package agent

import (
	"context"
	"time"

	"deploykeyd/provision"
)

// forgeState is what all work on one forge shares: its clock and its slots for
// requests.
type forgeState struct {
	Forge
	slots chan struct{} // one per request at a time
	clock chan struct{} // held by the one that asks for the time first
}

func newForgeState(f Forge, requests int) *forgeState {
	return &forgeState{Forge: f, slots: make(chan struct{}, requests), clock: make(chan struct{}, 1)}
}

// acquire takes a slot; release gives it back.
func acquire(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func release(slots chan struct{}) { <-slots }

// now returns the time by the forge's clock. A forge without the ability is
// taken to agree with the machine. Where no reply has told the time yet, one
// caller asks and the others wait for it.
func (f *forgeState) now(ctx context.Context) (time.Time, error) {
	c, ok := f.Forge.Forge.(provision.Clock)
	if !ok {
		return time.Now(), nil
	}
	if err := acquire(ctx, f.clock); err != nil {
		return time.Time{}, err
	}
	defer release(f.clock)
	return c.Time(ctx)
}

func (f *forgeState) register(ctx context.Context, t provision.Target, req provision.KeyRequest) (provision.Registration, error) {
	if err := acquire(ctx, f.slots); err != nil {
		return provision.Registration{}, notSent(f.Name, t, err)
	}
	defer release(f.slots)
	return f.Forge.Forge.Register(ctx, t, req)
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

// notSent is the error of a request that was given up before it began.
func notSent(forge string, t provision.Target, cause error) error {
	return &provision.Error{
		Op: "register", Forge: forge, Target: t, Class: provision.Transient,
		Message: "the request was not sent", Err: cause,
	}
}
