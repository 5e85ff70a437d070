package conform

import (
	"context"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

func rateCases() []testCase {
	return []testCase{
		{name: "too many registrations", virtual: true, run: tooManyRegistrations},
		{name: "too many requests with a time", virtual: true, run: tooManyWithTime},
		{name: "too many requests without a time", virtual: true, run: tooManyWithoutTime},
		{name: "too many requests past the deadline", virtual: true, run: tooManyPastDeadline},
		{name: "too many requests for an hour", virtual: true, warm: true, run: tooManyForAnHour},
		{name: "too many requests without end", virtual: true, warm: true, run: tooManyWithoutEnd},
		{name: "too many requests while waiting ends", virtual: true, warm: true, run: tooManyCancelled},
	}
}

// A registration is not repeated by the client: whether the key is still wanted
// after the wait is the caller's to say.
func tooManyRegistrations(b *bench) {
	const wait = 37 * time.Second
	r := b.request()
	b.sim.Inject(forgesim.Fault{Name: forgesim.TooManyRequests, Op: forgesim.OpRegister, Times: 1, RetryAfter: wait})
	begin := time.Now()
	_, err := b.forge.Register(b.Context(), b.target, r)
	if e := b.errorOf(err, false, provision.RateLimited); e.RetryAfter != wait {
		b.Errorf("the wait is %v", e.RetryAfter)
	}
	if took := time.Since(begin); took > time.Second || b.requests(forgesim.OpRegister) != 1 {
		b.Errorf("sent %d times in %v", b.requests(forgesim.OpRegister), took)
	}
	b.wantCount(r.Key, 0)
	b.register(r)
	b.wantCount(r.Key, 1)
}

func tooManyWithTime(b *bench) {
	for _, op := range []forgesim.Op{forgesim.OpList, forgesim.OpRevoke} {
		const wait = 37 * time.Second
		r := b.request()
		b.sim.Inject(forgesim.Fault{Name: forgesim.TooManyRequests, Op: op, Times: 1, RetryAfter: wait})
		begin := time.Now()
		made := b.register(r)
		b.list(b.repo)
		b.revoke(made)
		if took := time.Since(begin); took < wait || took > wait+5*time.Second {
			b.Errorf("%s: it took %v", op, took)
		}
		b.wantGone(made)
	}
}

func tooManyWithoutTime(b *bench) {
	before := b.requests(forgesim.OpList)
	b.sim.Inject(forgesim.Fault{Name: forgesim.TooManyRequests, Op: forgesim.OpList, Times: 1})
	begin := time.Now()
	b.list(b.repo)
	if took := time.Since(begin); took < 100*time.Millisecond || took > 2*time.Minute {
		b.Errorf("it took %v", took)
	}
	if n := b.requests(forgesim.OpList) - before; n != 2 {
		b.Errorf("the request was sent %d times", n)
	}
}

func tooManyPastDeadline(b *bench) {
	r := b.request()
	const wait = 30 * time.Second
	b.sim.Inject(forgesim.Fault{Name: forgesim.TooManyRequests, Op: forgesim.OpRegister, Times: 1, RetryAfter: wait})
	b.within(10*time.Second, func(ctx context.Context) {
		begin := time.Now()
		_, err := b.forge.Register(ctx, b.target, r)
		if e := b.errorOf(err, false, provision.RateLimited); e.RetryAfter != wait {
			b.Errorf("the wait is %v", e.RetryAfter)
		}
		if took := time.Since(begin); took > time.Second {
			b.Errorf("it took %v to say that there is not enough time", took)
		}
	})
	b.wantCount(r.Key, 0)
}

func tooManyForAnHour(b *bench) {
	b.sim.Inject(forgesim.Fault{Name: forgesim.TooManyRequests, RetryAfter: time.Hour})
	begin := time.Now()
	_, err := b.forge.Register(b.Context(), b.target, b.request())
	if e := b.errorOf(err, false, provision.RateLimited); e.RetryAfter != time.Hour {
		b.Errorf("the wait is %v", e.RetryAfter)
	}
	if took := time.Since(begin); took > time.Second {
		b.Errorf("it took %v to say how long", took)
	}
}

func tooManyWithoutEnd(b *bench) {
	b.sim.Inject(forgesim.Fault{Name: forgesim.TooManyRequests, RetryAfter: time.Second})
	begin := time.Now()
	_, _, err := provision.Find(b.Context(), b.forge, b.target, b.request().Key)
	if e := b.errorOf(err, false, provision.RateLimited); e.RetryAfter != time.Second {
		b.Errorf("the wait is %v", e.RetryAfter)
	}
	if n, took := b.requests(forgesim.OpList), time.Since(begin); n < 2 || n > 10 || took > 2*time.Minute {
		b.Errorf("the request was sent %d times in %v", n, took)
	}
}

func tooManyCancelled(b *bench) {
	b.sim.Inject(forgesim.Fault{Name: forgesim.TooManyRequests, RetryAfter: 90 * time.Second})
	ctx, cancel := context.WithCancel(b.Context())
	timer := time.AfterFunc(10*time.Second, cancel)
	defer timer.Stop()
	begin := time.Now()
	_, _, err := provision.Find(ctx, b.forge, b.target, b.request().Key)
	b.wantError(err, false, provision.RateLimited)
	if took := time.Since(begin); took < 9*time.Second || took > 11*time.Second {
		b.Errorf("it took %v to stop waiting", took)
	}
}
