package conform

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

func faultCases() []testCase {
	return []testCase{
		{name: "cut before the effect", run: func(b *bench) { lost(b, forgesim.Fault{Name: forgesim.CutBefore}, 0) }},
		{name: "cut after the effect", run: func(b *bench) { lost(b, forgesim.Fault{Name: forgesim.CutAfterEffect}, 1) }},
		{name: "error before the effect", run: func(b *bench) { lost(b, forgesim.Fault{Name: forgesim.ErrorBefore}, 0) }},
		{name: "error after the effect", run: func(b *bench) { lost(b, forgesim.Fault{Name: forgesim.ErrorAfterEffect}, 1) }},
		{name: "come again after the effect", run: func(b *bench) {
			lost(b, forgesim.Fault{Name: forgesim.ErrorAfterEffect, Status: http.StatusServiceUnavailable, RetryAfter: comeAgain}, 1)
		}},
		{name: "page for people", run: func(b *bench) { lost(b, forgesim.Fault{Name: forgesim.HTMLBadGateway}, 0) }},
		{name: "reply too large", run: func(b *bench) { lost(b, forgesim.Fault{Name: forgesim.OversizedReply}, 1) }},
		{name: "reply cut short", run: func(b *bench) { lost(b, forgesim.Fault{Name: forgesim.TruncatedReply}, 1) }},
		{name: "late effect", virtual: true, run: lateEffect},
		{name: "trouble that stays", virtual: true, warm: true, run: troubleStays},
		{name: "slow reply past the deadline", virtual: true, run: slowPastDeadline},
		{name: "slow reply past all patience", virtual: true, run: slowPastPatience},
		{name: "held reply", virtual: true, run: heldReply},
		{name: "list too large", run: listTooLarge},
	}
}

// comeAgain is what a proxy asks to wait.
const comeAgain = 30 * time.Second

// lost loses the answer to a registration. It is uncertain, it is not asked for
// again by itself, and the list and a second registration settle it.
func lost(b *bench, fault forgesim.Fault, effect int) {
	r := b.request()
	fault.Op, fault.Times = forgesim.OpRegister, 1
	b.sim.Inject(fault)
	_, err := b.forge.Register(b.Context(), b.target, r)
	e := b.errorOf(err, true, provision.Transient)
	if strings.Contains(e.Message, "<") || fault.Name == forgesim.HTMLBadGateway && !strings.Contains(e.Message, "HTML") {
		b.Errorf("the message is %q", e.Message)
	}
	if e.RetryAfter != fault.RetryAfter {
		b.Errorf("the wait is %v, the forge asked for %v", e.RetryAfter, fault.RetryAfter)
	}
	if n := b.requests(forgesim.OpRegister); n != 1 {
		b.Errorf("the request was sent %d times", n)
	}
	b.wantCount(r.Key, effect)
	if _, found, err := provision.Find(b.Context(), b.forge, b.target, r.Key); err != nil || found != (effect == 1) {
		b.Errorf("the list says %v, %v", found, err)
	}
	made := b.register(r)
	b.wantCount(r.Key, 1)
	b.revoke(made)
	b.wantGone(made)
}

func lateEffect(b *bench) {
	r := b.request()
	const delay = 40 * time.Second
	b.sim.Inject(forgesim.Fault{Name: forgesim.LateEffect, Op: forgesim.OpRegister, Times: 1, Delay: delay})
	_, err := b.forge.Register(b.Context(), b.target, r)
	b.wantError(err, true, provision.Transient)
	if _, found, err := provision.Find(b.Context(), b.forge, b.target, r.Key); err != nil || found {
		b.Errorf("at first the list says %v, %v", found, err)
	}
	pass(delay + time.Second)
	found, ok, err := provision.Find(b.Context(), b.forge, b.target, r.Key)
	if err != nil || !ok {
		b.Fatalf("later the list says %v, %v", ok, err)
	}
	if made := b.register(r); made != found {
		b.Errorf("found %+v, registered %+v", found, made)
	}
	b.revoke(found)
	b.wantGone(found)
}

func troubleStays(b *bench) {
	made := b.register(b.request())
	for _, fault := range []forgesim.FaultName{forgesim.HTMLBadGateway, forgesim.CutBefore, forgesim.TruncatedReply, forgesim.ErrorBefore} {
		remove := b.sim.Inject(forgesim.Fault{Name: fault})
		lists, begin := b.requests(forgesim.OpList), time.Now()
		_, _, err := provision.Find(b.Context(), b.forge, b.target, made.Key)
		b.wantError(err, false, provision.Transient)
		if n := b.requests(forgesim.OpList) - lists; n < 2 || n > 10 {
			b.Errorf("%s: a list was asked for %d times", fault, n)
		}
		if took := time.Since(begin); took > 2*time.Minute {
			b.Errorf("%s: it took %v to give up", fault, took)
		}
		r := b.request()
		_, err = b.forge.Register(b.Context(), b.target, r)
		b.wantError(err, true, provision.Transient)
		remove()
	}
	b.sim.Inject(forgesim.Fault{Name: forgesim.ErrorBefore, Op: forgesim.OpRevoke})
	b.wantError(b.forge.Revoke(b.Context(), b.target, made), true, provision.Transient)
	b.wantCount(made.Key, 1)
}

func slowPastDeadline(b *bench) {
	r := b.request()
	b.sim.Inject(forgesim.Fault{Name: forgesim.SlowReply, Op: forgesim.OpRegister, Times: 1, Delay: 20 * time.Second})
	b.within(5*time.Second, func(ctx context.Context) {
		begin := time.Now()
		_, err := b.forge.Register(ctx, b.target, r)
		b.wantError(err, true, provision.Transient)
		if !errors.Is(err, context.DeadlineExceeded) {
			b.Errorf("the deadline cannot be recognised in: %v", err)
		}
		if took := time.Since(begin); took > 6*time.Second {
			b.Errorf("it took %v", took)
		}
	})
	b.wantCount(r.Key, 1)
	b.register(r)
	b.wantCount(r.Key, 1)
}

func slowPastPatience(b *bench) {
	r := b.request()
	b.sim.Inject(forgesim.Fault{Name: forgesim.SlowReply, Op: forgesim.OpRegister, Times: 1, Delay: time.Hour})
	begin := time.Now()
	_, err := b.forge.Register(b.Context(), b.target, r)
	b.wantError(err, true, provision.Transient)
	if took := time.Since(begin); took > 2*time.Minute {
		b.Errorf("it took %v", took)
	}
	b.wantCount(r.Key, 1)
	if n := b.requests(forgesim.OpRegister); n != 1 {
		b.Errorf("the request was sent %d times", n)
	}
}

func heldReply(b *bench) {
	r := b.request()
	remove := b.sim.Inject(forgesim.Fault{Name: forgesim.HoldReply, Op: forgesim.OpRegister})
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() {
		_, err := b.forge.Register(ctx, b.target, r)
		done <- err
	}()
	if err := b.sim.Await(b.Context(), func() bool { return b.sim.Held() == 1 }); err != nil {
		b.Fatal(err)
	}
	cancel()
	err := <-done
	b.wantError(err, true, provision.Transient)
	if !errors.Is(err, context.Canceled) {
		b.Errorf("the cancellation cannot be recognised in: %v", err)
	}
	remove()
	b.wantCount(r.Key, 1)
}

func listTooLarge(b *bench) {
	b.sim.Inject(forgesim.Fault{Name: forgesim.OversizedReply, Op: forgesim.OpList, Times: 1})
	_, found, err := provision.Find(b.Context(), b.forge, b.target, newKey(b))
	e := b.errorOf(err, false, provision.Transient)
	if found || e.Next == "" {
		b.Errorf("gives %v, %+v", found, e)
	}
}
