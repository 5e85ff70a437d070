package conform

import (
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"sync"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// exchangeCases are about access tokens that come and go while their adapter
// lives.
func exchangeCases() []testCase {
	return []testCase{
		{name: "token is kept", run: tokenKept},
		{name: "token runs out", virtual: true, run: tokenRunsOut},
		{name: "token for a whole day", virtual: true, run: tokenAllDay},
		{name: "token ends in mid-life", run: tokenEnds},
		{name: "token ends while a reply is lost", run: tokenEndsInLoss},
		{name: "token ends under many", run: tokenEndsUnderMany},
		{name: "exchange in trouble", virtual: true, run: exchangeInTrouble},
		{name: "exchange too often", virtual: true, run: exchangeTooOften},
		{name: "exchange of what is unknown", run: exchangeUnknown},
		{name: "exchange that the forge no longer grants", virtual: true, run: exchangeDenied},
		{name: "exchange with a replaced secret", virtual: true, run: exchangeReplaced},
		{name: "exchange by a wrong clock", run: exchangeWrongClock},
	}
}

// endTokens makes the forge forget every access token that it has handed out.
func (b *bench) endTokens() {
	for _, secret := range b.sim.IssuedTokens() {
		b.secrets = append(b.secrets, secret)
		b.sim.RevokeToken(secret)
	}
}

func (b *bench) wantExchanges(want int) {
	b.Helper()
	if n := b.requests(forgesim.OpToken); n != want {
		b.Errorf("%d tokens were asked for, want %d", n, want)
	}
}

func tokenKept(b *bench) {
	made := b.register(b.request())
	b.list(b.repo)
	b.revoke(made)
	b.wantExchanges(1)
}

// life is longer than any access token's.
const life = 3 * time.Hour

func tokenRunsOut(b *bench) {
	first := b.register(b.request())
	pass(life)
	r := b.request()
	second := b.register(r)
	b.wantCount(r.Key, 1)
	b.wantExchanges(2)
	if n := b.requests(forgesim.OpRegister); n != 2 {
		b.Errorf("%d registrations were sent: a token that has run out was used", n)
	}
	pass(life)
	b.revoke(first)
	b.revoke(second)
	b.wantGone(first)
	b.wantGone(second)
}

// tokenAllDay works all day long. Nothing is ever refused.
func tokenAllDay(b *bench) {
	for range 24 * 12 {
		b.list(b.repo)
		pass(5 * time.Minute)
	}
	for _, r := range b.sim.Requests()[b.before:] {
		if r.Status != http.StatusOK && r.Status != http.StatusCreated {
			b.Errorf("%s %s was refused: %d", r.Method, r.Path, r.Status)
		}
	}
	if n := b.requests(forgesim.OpToken); n > 48 {
		b.Errorf("%d tokens in a day", n)
	}
}

// tokenEnds takes the token away that the adapter is using. It gets another, and
// the registration is made once.
func tokenEnds(b *bench) {
	b.list(b.repo)
	b.endTokens()
	r := b.request()
	made := b.register(r)
	b.wantCount(r.Key, 1)
	b.endTokens()
	b.list(b.repo)
	b.endTokens()
	b.revoke(made)
	b.wantGone(made)
}

// tokenEndsInLoss loses the reply to a registration and the token with it.
func tokenEndsInLoss(b *bench) {
	r := b.request()
	b.sim.Inject(forgesim.Fault{Name: forgesim.CutAfterEffect, Op: forgesim.OpRegister, Times: 1})
	_, err := b.forge.Register(b.Context(), b.target, r)
	b.wantError(err, true, provision.Transient)
	b.endTokens()
	found, ok, err := provision.Find(b.Context(), b.forge, b.target, r.Key)
	if err != nil || !ok {
		b.Fatalf("the list says %v, %v", ok, err)
	}
	b.endTokens()
	if made := b.register(r); made != found {
		b.Errorf("found %+v, registered %+v", found, made)
	}
	b.wantCount(r.Key, 1)
}

func tokenEndsUnderMany(b *bench) {
	b.list(b.repo)
	b.endTokens()
	const n = 12
	requests := make([]provision.KeyRequest, n)
	var wg sync.WaitGroup
	for i := range requests {
		requests[i] = b.request()
		wg.Go(func() {
			if _, err := b.forge.Register(b.Context(), b.target, requests[i]); err != nil {
				b.Errorf("register: %v", err)
			}
		})
	}
	wg.Wait()
	for _, r := range requests {
		b.wantCount(r.Key, 1)
	}
	b.wantExchanges(2)
}

// exchangeInTrouble has the exchange go wrong once. Nothing else is sent then,
// so nothing is uncertain, and the next try works.
func exchangeInTrouble(b *bench) {
	for _, fault := range []forgesim.Fault{
		{Name: forgesim.CutBefore},
		{Name: forgesim.CutAfterEffect},
		{Name: forgesim.ErrorBefore, Status: http.StatusServiceUnavailable, RetryAfter: comeAgain},
		{Name: forgesim.ErrorAfterEffect},
		{Name: forgesim.HTMLBadGateway},
		{Name: forgesim.TruncatedReply},
		{Name: forgesim.OversizedReply},
	} {
		b.forge = b.enter()
		r := b.request()
		before := b.requests(forgesim.OpRegister)
		fault.Op, fault.Times = forgesim.OpToken, 1
		b.sim.Inject(fault)
		_, err := b.forge.Register(b.Context(), b.target, r)
		e := b.errorOf(err, false, provision.Transient)
		if b.requests(forgesim.OpRegister) != before {
			b.Errorf("%s: a registration was sent without a token", fault.Name)
		}
		if e.RetryAfter != fault.RetryAfter {
			b.Errorf("%s: the wait is %v, the forge asked for %v", fault.Name, e.RetryAfter, fault.RetryAfter)
		}
		pass(max(fault.RetryAfter, time.Second))
		b.register(r)
		b.wantCount(r.Key, 1)
	}
}

// exchangeTooOften has the exchange refused for the rate, with a time to come
// again and without one. Nobody asks before that.
func exchangeTooOften(b *bench) {
	for _, asked := range []time.Duration{comeAgain, 0} {
		b.forge = b.enter()
		b.sim.Inject(forgesim.Fault{Name: forgesim.TooManyRequests, Op: forgesim.OpToken, Times: 1, RetryAfter: asked})
		wait := asked
		if wait == 0 {
			wait = time.Minute
		}
		before := b.requests(forgesim.OpToken)
		for range 3 {
			_, err := b.forge.Register(b.Context(), b.target, b.request())
			if e := b.errorOf(err, false, provision.RateLimited); e.RetryAfter != wait {
				b.Errorf("the wait is %v, want %v", e.RetryAfter, wait)
			}
			pass(wait / 4)
			wait -= wait / 4
		}
		if n := b.requests(forgesim.OpToken) - before; n != 1 {
			b.Errorf("%d exchanges were tried before the time", n)
		}
		pass(wait)
		r := b.request()
		b.register(r)
		b.wantCount(r.Key, 1)
	}
}

// exchangeUnknown uses a secret that is not the forge's.
func exchangeUnknown(b *bench) {
	b.sim.Inject(forgesim.Fault{Name: forgesim.CredentialRevoked, Op: forgesim.OpToken})
	b.wantRefused(b.target, provision.BadCredential)
	if n := b.requests(forgesim.OpRegister) + b.requests(forgesim.OpList); n != 0 {
		b.Errorf("%d requests were made without a token", n)
	}
}

// exchangeDenied takes the right away from an App or a consumer that is in use.
func exchangeDenied(b *bench) {
	made := b.register(b.request())
	if b.holder.key == nil {
		b.sim.EditConsumer(holderID, func(c *forgesim.Consumer) { c.Public = true })
	} else {
		b.sim.SuspendInstallation(installation, true)
	}
	b.endTokens()
	b.wantRefused(b.target, provision.Denied, provision.BadCredential)
	err := b.forge.Revoke(b.Context(), b.target, made)
	b.wantError(err, false, provision.Denied, provision.BadCredential)
	b.wantCount(made.Key, 1)
}

// exchangeReplaced gives the App or consumer another secret, and the adapter's
// file as well.
func exchangeReplaced(b *bench) {
	forge, file := b.enterFile()
	b.forge = forge
	b.list(b.repo)
	b.endTokens()
	if b.holder.key == nil {
		const fresh = "fresh-9876543210"
		b.sim.EditConsumer(holderID, func(c *forgesim.Consumer) { c.Secret = fresh })
		b.writeSecret(file, fresh)
	} else {
		fresh, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			b.Fatal(err)
		}
		b.sim.SetAppKeys(appID, &fresh.PublicKey)
		b.writeSecret(file, keyText(fresh))
	}
	r := b.request()
	b.register(r)
	b.wantCount(r.Key, 1)
}

// exchangeWrongClock has the forge and the machine disagree about the time.
func exchangeWrongClock(b *bench) {
	for _, offset := range []time.Duration{5 * time.Minute, -5 * time.Minute, 5 * time.Hour, -7 * time.Hour} {
		remove := b.sim.Inject(forgesim.Fault{Name: forgesim.WrongDate, Offset: offset})
		b.forge = b.enter()
		r := b.request()
		made := b.register(r)
		b.wantCount(r.Key, 1)
		b.revoke(made)
		b.wantGone(made)
		remove()
	}
}
