package forgesim

import (
	"context"
	"slices"
	"time"
)

// faults are the faults of a forge in the order of their injection.
type faults struct{ active []*activeFault }

// activeFault is an injected fault.
type activeFault struct {
	Fault
	used     int
	released chan time.Time // closed to let held replies go
}

// spent reports whether the fault has met all requests that it was to meet.
func (a *activeFault) spent() bool { return a.Times > 0 && a.used >= a.Times }

// fate is what the faults make of one request.
type fate struct {
	Fault                                       // the deciding fault; zero for none
	hold                       <-chan time.Time // of HoldReply
	slow                       time.Duration
	offset                     time.Duration
	noDate, revoked, policyOff bool
}

// Inject makes the forge misbehave until remove is called or the fault has met
// Times requests. It panics when Fault.Check finds an error.
func (f *Forge) Inject(fault Fault) (remove func()) {
	if err := fault.Check(); err != nil {
		panic("forgesim: " + err.Error())
	}
	a := &activeFault{Fault: fault, released: make(chan time.Time)}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.active = append(f.faults.active, a)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		i := slices.Index(f.faults.active, a)
		if i < 0 {
			return
		}
		f.faults.active = slices.Delete(f.faults.active, i, i+1)
		close(a.released)
	}
}

// ClearFaults removes every fault and lets held replies go.
func (f *Forge) ClearFaults() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.faults.active {
		close(a.released)
	}
	f.faults.active = nil
}

// Faults returns the faults that can still happen.
func (f *Forge) Faults() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []Fault
	for _, a := range f.faults.active {
		if !a.spent() {
			all = append(all, a.Fault)
		}
	}
	return all
}

// Held returns how many replies and SSH commands are being held by HoldReply.
func (f *Forge) Held() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held
}

// Release lets the replies go that are being held now, and returns how many
// they were. The faults stay.
func (f *Forge) Release() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.faults.active {
		close(a.released)
		a.released = make(chan time.Time)
	}
	return f.held
}

// fateOf decides what happens to an API request and counts the faults that it
// uses.
func (f *Forge) fateOf(op Op, repository string) fate {
	return f.fateAmong(op, repository, func(FaultName) bool { return true })
}

// fateAmong is fateOf with some of the faults out of the question.
func (f *Forge) fateAmong(op Op, repository string, possible func(FaultName) bool) fate {
	f.mu.Lock()
	defer f.mu.Unlock()
	var result fate
	for _, a := range f.faults.active {
		if a.spent() || !possible(a.Name) || !a.meets(op, repository) || !a.modifies() && result.Name != "" {
			continue
		}
		a.used++
		if a.modifies() {
			result.modify(a.Fault)
			continue
		}
		result.Fault = a.Fault
		result.hold = a.released
	}
	return result
}

func (x *fate) modify(f Fault) {
	switch f.Name { //nolint:exhaustive // the rest decides, see Fault.modifies
	case SlowReply:
		x.slow += f.Delay
	case WrongDate:
		x.offset += f.Offset
	case NoDate:
		x.noDate = true
	case CredentialRevoked:
		x.revoked = true
	case PolicyOff:
		x.policyOff = true
	}
}

// uptake returns how long a key on the repository stays unknown to SSH.
// f.mu is held.
func (f *Forge) uptake(repository string) time.Duration {
	var longest time.Duration
	for _, a := range f.faults.active {
		if a.Name == DelayedSSH && (a.Repository == "" || holds([]string{a.Repository}, repository)) {
			longest = max(longest, a.Delay)
		}
	}
	return longest
}

// hold waits for a release, counted in Held meanwhile.
func (f *Forge) hold(ctx context.Context, released <-chan time.Time) error {
	f.count(1)
	defer f.count(-1)
	return f.sim.await(ctx, released)
}

func (f *Forge) count(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held += n
	f.event()
}
