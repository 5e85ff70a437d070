package agent_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"deploykeyd/provision"
)

// stubForge is a forge in memory with the faults that matter to a life cycle.
type stubForge struct {
	world   *world
	name    string
	keys    map[string][]provision.Registration
	nextID  int
	offset  time.Duration // of the forge's clock from the machine's
	latency time.Duration
	slow    map[string]time.Duration // latency of deletes, by path
	hang    string                   // the path whose deletes hang and do nothing
	// register, when set, decides about a request; list and revoke likewise.
	register func(path string) fault
	list     func(path string) error
	revoke   func(path string) error
	pending  sync.WaitGroup // late effects
}

// fault is what becomes of a request to register.
type fault struct {
	refuse error           // a definite refusal: no effect
	lost   bool            // the answer does not come back
	none   bool            // with lost: and it has no effect either
	late   time.Duration   // with lost: it takes effect that much later
	class  provision.Class // with lost: what the uncertain error says, if not transient
}

func (w *world) forge(name string) *stubForge {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.forges[name] == nil {
		w.forges[name] = &stubForge{world: w, name: name, keys: map[string][]provision.Registration{}}
	}
	return w.forges[name]
}

func (f *stubForge) wait(ctx context.Context) error {
	f.world.mu.Lock()
	latency := f.latency
	f.world.mu.Unlock()
	if latency == 0 {
		return nil
	}
	select {
	case <-time.After(latency):
		return nil
	case <-ctx.Done():
		return &provision.Error{Op: "request", Forge: f.name, Class: provision.Transient, Uncertain: true, Message: "cut", Err: ctx.Err()}
	}
}

func (f *stubForge) Time(context.Context) (time.Time, error) { return time.Now().Add(f.offset), nil }

func (f *stubForge) Register(ctx context.Context, t provision.Target, req provision.KeyRequest) (provision.Registration, error) {
	lost := &provision.Error{Op: "register", Forge: f.name, Target: t, Class: provision.Transient, Uncertain: true, Message: "no answer"}
	w := f.world
	w.mu.Lock()
	effect, dies := w.step("register " + t.Path)
	var flaw fault
	if f.register != nil && effect {
		flaw = f.register(t.Path)
	}
	if flaw.class != "" {
		lost.Class = flaw.class
	}
	switch {
	case !effect:
	case flaw.refuse != nil:
		w.mu.Unlock()
		return provision.Registration{}, flaw.refuse
	case flaw.none:
	case flaw.late > 0:
		f.pending.Go(func() {
			time.Sleep(flaw.late) //nolint:forbidigo // virtual time
			w.mu.Lock()
			defer w.mu.Unlock()
			f.add(t, req)
		})
	default:
		reg := f.add(t, req)
		w.mu.Unlock()
		if dies || flaw.lost {
			return provision.Registration{}, lost
		}
		return reg, f.wait(ctx)
	}
	w.mu.Unlock()
	return provision.Registration{}, lost
}

func (f *stubForge) add(t provision.Target, req provision.KeyRequest) provision.Registration {
	for _, r := range f.keys[t.Path] {
		if r.Key == req.Key {
			return r
		}
	}
	f.nextID++
	f.world.made[f.name+"/"+t.Path]++
	r := provision.Registration{
		ID: fmt.Sprint(f.nextID), Title: req.Title, Key: req.Key, Access: req.Access, Created: time.Now().Add(f.offset),
	}
	f.keys[t.Path] = append(f.keys[t.Path], r)
	return r
}

func (f *stubForge) List(ctx context.Context, t provision.Target) iter.Seq2[provision.Registration, error] {
	return func(yield func(provision.Registration, error) bool) {
		w := f.world
		w.mu.Lock()
		_, dies := w.step("list " + t.Path)
		keys := slices.Clone(f.keys[t.Path])
		var err error
		if f.list != nil {
			err = f.list(t.Path)
		}
		w.mu.Unlock()
		if dies {
			err = errDead
		}
		if err == nil {
			err = f.wait(ctx)
		}
		if err != nil {
			yield(provision.Registration{}, err)
			return
		}
		for _, r := range keys {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (f *stubForge) Revoke(ctx context.Context, t provision.Target, reg provision.Registration) error {
	w := f.world
	w.mu.Lock()
	if f.hang == t.Path {
		w.mu.Unlock()
		<-ctx.Done()
		return &provision.Error{Op: "revoke", Forge: f.name, Class: provision.Transient, Message: "cut", Err: ctx.Err()}
	}
	effect, dies := w.step("delete " + t.Path)
	var err error
	if f.revoke != nil && effect {
		err = f.revoke(t.Path)
	}
	if effect && err == nil {
		f.keys[t.Path] = slices.DeleteFunc(f.keys[t.Path], func(r provision.Registration) bool { return r.ID == reg.ID })
	}
	w.mu.Unlock()
	if dies {
		return errDead
	}
	if errors.Is(err, errSaysGone) {
		return nil
	}
	if err != nil {
		return err
	}
	if slow := f.slow[t.Path]; slow > 0 {
		time.Sleep(slow) //nolint:forbidigo // virtual time
	}
	w.mu.Lock()
	w.events = append(w.events, "deleted "+t.Path)
	w.mu.Unlock()
	return f.wait(ctx)
}

// errSaysGone makes a forge claim a deletion that it does not make.
var errSaysGone = errors.New("claims to have deleted")

func (f *stubForge) live(path string) []provision.Registration {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	return slices.Clone(f.keys[path])
}
