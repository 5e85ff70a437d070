package conform

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

func registerCases() []testCase {
	return []testCase{
		{name: "register", run: register},
		{name: "register for writing", run: registerWrite},
		{name: "register sends no comment and always the access", virtual: true, run: registerBody},
		{name: "register again", run: registerAgain},
		{name: "register many at once", run: registerMany},
		{name: "register what cannot be", run: registerNonsense},
		{name: "register after the end", run: registerCancelled},
		{name: "register with a replaced credential", token: true, run: registerReplacedCredential},
	}
}

func register(b *bench) {
	r := b.request()
	made := b.register(r)
	if made.Title != r.Title || made.Access != provision.Read || made.Created.IsZero() {
		b.Errorf("gives %+v", made)
	}
	for _, k := range b.sim.Keys(b.repo) {
		if k.Key == r.Key && (k.ID != made.ID || k.Title != r.Title || k.Access != provision.Read) {
			b.Errorf("the forge has %+v", k)
		}
	}
	b.wantCount(r.Key, 1)
	if tag, err := provision.ParseOwnerTag(made.Title); err != nil || !tag.Names(made.Key) {
		b.Errorf("the title does not come back as an owner tag: %v", err)
	}
}

func registerWrite(b *bench) {
	r := b.request()
	r.Access = provision.Write
	made, err := b.forge.Register(b.Context(), b.target, r)
	if !b.traits.WriteAccess {
		e := b.errorOf(err, false, provision.Invalid, provision.PolicyForbids)
		if !strings.Contains(e.Next, "read") || b.requests(forgesim.OpRegister) != 0 {
			b.Errorf("next is %q after %d requests", e.Next, b.requests(forgesim.OpRegister))
		}
		b.wantCount(r.Key, 0)
		return
	}
	if err != nil || made.Access != provision.Write {
		b.Fatalf("gives %+v, %v", made, err)
	}
	for _, k := range b.sim.Keys(b.repo) {
		if k.Key == r.Key && k.Access != provision.Write {
			b.Errorf("the forge has %+v", k)
		}
	}
}

func registerBody(b *bench) {
	accesses := []provision.Access{provision.Read}
	if b.traits.WriteAccess {
		accesses = append(accesses, provision.Write)
	}
	for i, access := range accesses {
		r := b.request()
		r.Access = access
		b.register(r)
		if len(b.spy.bodies) != i+1 {
			b.Fatalf("%d requests had a body", len(b.spy.bodies))
		}
		body := b.spy.bodies[i]
		if !strings.Contains(body, `"`+r.Key.String()+`"`) {
			b.Errorf("the key is not sent as it is: %s", body)
		}
		if b.traits.WriteAccess && !strings.Contains(body, fmt.Sprintf(`"read_only":%v`, access == provision.Read)) {
			b.Errorf("access %s is left to the forge: %s", access, body)
		}
	}
}

func registerAgain(b *bench) {
	r := b.request()
	first := b.register(r)
	second := b.register(r)
	if second != first {
		b.Errorf("first %+v, then %+v", first, second)
	}
	// Another title for a key that is there changes nothing.
	r.Title += "x"
	if third := b.register(r); third != first {
		b.Errorf("first %+v, then %+v", first, third)
	}
	b.wantCount(r.Key, 1)
}

func registerMany(b *bench) {
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
}

func registerNonsense(b *bench) {
	good := b.request()
	for name, change := range map[string]func(*provision.Target, *provision.KeyRequest){
		"no key":   func(_ *provision.Target, r *provision.KeyRequest) { r.Key = provision.PublicKey{} },
		"no title": func(_ *provision.Target, r *provision.KeyRequest) { r.Title = "" },
		"a long title": func(_ *provision.Target, r *provision.KeyRequest) {
			r.Title = strings.Repeat("x", b.traits.TitleLimit+1)
		},
		"no access":         func(_ *provision.Target, r *provision.KeyRequest) { r.Access = "" },
		"unknown access":    func(_ *provision.Target, r *provision.KeyRequest) { r.Access = "admin" },
		"no repository":     func(t *provision.Target, _ *provision.KeyRequest) { *t = provision.Target{} },
		"no owner":          func(t *provision.Target, _ *provision.KeyRequest) { t.Path = "app" },
		"a path upwards":    func(t *provision.Target, _ *provision.KeyRequest) { t.Path = "acme/.." },
		"a fragment":        func(t *provision.Target, _ *provision.KeyRequest) { t.Path = "acme/app#x" },
		"an escaped slash":  func(t *provision.Target, _ *provision.KeyRequest) { t.Path = "acme/app%2Fkeys" },
		"too many segments": func(t *provision.Target, _ *provision.KeyRequest) { t.Path = "acme/app/keys" },
	} {
		target, request := b.target, good
		change(&target, &request)
		_, err := b.forge.Register(b.Context(), target, request)
		if e := b.errorOf(err, false, provision.Invalid); e.Status != 0 {
			b.Errorf("%s: the forge was asked", name)
		}
	}
	if n := b.requests(forgesim.OpRegister); n != 0 {
		b.Errorf("%d requests were sent", n)
	}
	for _, err := range b.forge.List(b.Context(), provision.Target{Path: "acme/.."}) {
		b.wantError(err, false, provision.Invalid)
	}
	err := b.forge.Revoke(b.Context(), provision.Target{Path: "acme/.."}, provision.Registration{ID: "1"})
	b.wantError(err, false, provision.Invalid)
}

func registerCancelled(b *bench) {
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	r := b.request()
	_, err := b.forge.Register(ctx, b.target, r)
	if b.wantError(err, false, provision.Transient); !errors.Is(err, context.Canceled) {
		b.Errorf("the cancellation cannot be recognised in: %v", err)
	}
	b.wantCount(r.Key, 0)
}

func registerReplacedCredential(b *bench) {
	username, old := b.sim.Credential()
	forge, file := b.enterFile()
	b.forge = forge
	b.list(b.repo)
	fresh := "fresh-" + strings.Repeat("0123456789abcdef", 2)
	if username == "" {
		b.sim.AddToken(forgesim.Token{Username: "root", Secret: fresh, Admin: true})
	} else {
		b.sim.AddToken(forgesim.Token{Username: username, Secret: fresh, Admin: true})
	}
	b.sim.RevokeToken(old)
	defer b.sim.AddToken(forgesim.Token{Username: username, Secret: old, Admin: true})
	b.writeSecret(file, fresh)
	r := b.request()
	b.register(r)
	b.wantCount(r.Key, 1)
}
