package conform

import (
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

func clockCases() []testCase {
	return []testCase{
		{name: "time by a request of its own", run: timeAsked},
		{name: "time by the last reply", run: timeSeen},
		{name: "time of a forge that is wrong", run: timeWrong},
		{name: "time that jumps", token: true, run: timeJumps},
		{name: "time goes on", virtual: true, run: timeGoesOn},
		{name: "time of a forge that does not say", run: timeUnknown},
		{name: "time of a forge that is mad", run: timeMad},
		{name: "time without a good credential", run: timeWithoutCredential},
	}
}

// wantTime checks that the forge's time is off from the true one by offset. A
// Date has whole seconds.
func (b *bench) wantTime(offset time.Duration) {
	b.Helper()
	at, err := b.forge.Time(b.Context())
	if err != nil {
		b.Fatalf("time: %v", err)
	}
	if off := time.Until(at) - offset; off > 2*time.Second || off < -3*time.Second {
		b.Errorf("the time is %v off, want %v", off+offset, offset)
	}
}

// allRequests returns how many requests of the case the forge saw beside those
// of exchanges.
func (b *bench) allRequests() int {
	all := len(b.sim.Requests()) - b.before
	return all - b.requests(forgesim.OpToken) - b.requests(forgesim.OpLookup)
}

func timeAsked(b *bench) {
	b.wantTime(0)
	if n := b.allRequests(); n != 1 {
		b.Errorf("%d requests for the time", n)
	}
	b.wantTime(0)
	if n := b.allRequests(); n != 1 {
		b.Errorf("the time was asked for again")
	}
}

func timeSeen(b *bench) {
	b.register(b.request())
	b.wantTime(0)
	if n := b.allRequests(); n != 1 {
		b.Errorf("%d requests, although a reply had been seen", n)
	}
}

func timeWrong(b *bench) {
	for _, offset := range []time.Duration{5 * time.Hour, -7 * time.Hour, 0} {
		remove := b.sim.Inject(forgesim.Fault{Name: forgesim.WrongDate, Offset: offset})
		b.forge = b.enter()
		b.list(b.repo)
		b.wantTime(offset)
		remove()
	}
}

// timeJumps sets the forge's clock while it is being used: one reply alone is
// not believed.
func timeJumps(b *bench) {
	b.list(b.repo)
	for _, offset := range []time.Duration{5 * time.Hour, -7 * time.Hour} {
		b.sim.Inject(forgesim.Fault{Name: forgesim.WrongDate, Offset: offset, Times: 1})
		b.list(b.repo)
		b.wantTime(0)
		b.list(b.repo)
		b.wantTime(0)
	}
	const offset = 5 * time.Hour
	b.sim.Inject(forgesim.Fault{Name: forgesim.WrongDate, Offset: offset})
	b.list(b.repo)
	b.wantTime(0)
	b.list(b.repo)
	b.wantTime(offset)
}

func timeGoesOn(b *bench) {
	b.list(b.repo)
	pass(3 * time.Hour)
	b.wantTime(0)
}

func timeUnknown(b *bench) {
	b.sim.Inject(forgesim.Fault{Name: forgesim.NoDate})
	_, err := b.forge.Time(b.Context())
	if e := b.errorOf(err, false, provision.Transient); e.Next == "" {
		b.Error("no next step")
	}
	b.list(b.repo)
	_, err = b.forge.Time(b.Context())
	b.wantError(err, false, provision.Transient)
	b.sim.ClearFaults()
	b.wantTime(0)
}

func timeMad(b *bench) {
	b.sim.Inject(forgesim.Fault{Name: forgesim.WrongDate, Offset: -30 * 365 * 24 * time.Hour})
	_, err := b.forge.Time(b.Context())
	if e := b.errorOf(err, false, provision.Transient); e.Next == "" {
		b.Error("no next step")
	}
}

func timeWithoutCredential(b *bench) {
	b.sim.Inject(forgesim.Fault{Name: forgesim.CredentialRevoked})
	b.wantTime(0)
}
