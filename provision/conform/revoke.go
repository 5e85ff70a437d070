package conform

import (
	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

func revokeCases() []testCase {
	return []testCase{
		{name: "revoke", run: revoke},
		{name: "revoke what another has revoked", run: revokeAbsent},
		{name: "revoke one of two keys", run: revokeOneOfTwo},
		{name: "revoke without an id", run: revokeNoID},
		{name: "revoke what was not seen", run: revokeUnseen},
		{name: "revoke by an id of another repository", run: revokeForeignID},
		{name: "revoke by an id of another key", run: revokeOtherKeysID},
		{name: "revoke after a passing trouble", run: revokeRecovers},
		{name: "revoke what is hidden", token: true, run: revokeHidden},
	}
}

// wantGone checks that a key is on no list and not on the forge.
func (b *bench) wantGone(r provision.Registration) {
	b.Helper()
	b.wantCount(r.Key, 0)
	for _, at := range b.list(b.repo) {
		if at.ID == r.ID || at.Key == r.Key {
			b.Errorf("the list still has %+v", at)
		}
	}
}

func (b *bench) revoke(r provision.Registration) {
	b.Helper()
	if err := b.forge.Revoke(b.Context(), b.target, r); err != nil {
		b.Fatalf("revoke: %v", err)
	}
}

func revoke(b *bench) {
	made := b.register(b.request())
	b.revoke(made)
	if b.requests(forgesim.OpRevoke) != 1 || b.requests(forgesim.OpList) != 0 {
		b.Errorf("%d deletions and %d lists, want one deletion", b.requests(forgesim.OpRevoke), b.requests(forgesim.OpList))
	}
	b.wantGone(made)
	b.revoke(made)
	b.wantGone(made)
}

func revokeAbsent(b *bench) {
	made := b.register(b.request())
	if !b.sim.DeleteKey(b.repo, made.ID) {
		b.Fatal("the key is not there")
	}
	b.revoke(made)
	b.wantGone(made)
}

func revokeOneOfTwo(b *bench) {
	one, two := b.register(b.request()), b.register(b.request())
	b.revoke(one)
	b.wantGone(one)
	b.wantCount(two.Key, 1)
}

func revokeNoID(b *bench) {
	made := b.register(b.request())
	made.ID = ""
	b.wantError(b.forge.Revoke(b.Context(), b.target, made), false, provision.Invalid)
	b.wantCount(made.Key, 1)
}

// revokeUnseen revokes with an adapter that has not seen the key: it looks
// before it deletes.
func revokeUnseen(b *bench) {
	made := b.register(b.request())
	b.forge = b.enter()
	b.revoke(made)
	if b.requests(forgesim.OpList) == 0 {
		b.Error("the id was sent without having been seen")
	}
	b.wantGone(made)
}

func revokeForeignID(b *bench) {
	elsewhere := b.addRepository("revoke-by-id-elsewhere")
	foreign := b.addForeign(elsewhere, "theirs")
	r := provision.Registration{ID: foreign.ID, Title: foreign.Title, Key: foreign.Key}
	// It is not on this repository: absent already.
	b.revoke(r)
	b.list(elsewhere)
	b.revoke(r)
	if n := b.requests(forgesim.OpRevoke); n != 0 {
		b.Errorf("the id was sent %d times", n)
	}
}

func revokeOtherKeysID(b *bench) {
	made := b.register(b.request())
	foreign := b.foreign[0]
	made.ID = foreign.ID
	b.list(b.repo)
	b.wantError(b.forge.Revoke(b.Context(), b.target, made), false, provision.Invalid)
	if n := b.requests(forgesim.OpRevoke); n != 0 {
		b.Errorf("the id was sent %d times", n)
	}
}

func revokeRecovers(b *bench) {
	for _, fault := range []forgesim.FaultName{
		forgesim.HTMLBadGateway, forgesim.CutBefore, forgesim.CutAfterEffect, forgesim.ErrorAfterEffect, forgesim.ErrorBefore,
	} {
		made := b.register(b.request())
		b.sim.Inject(forgesim.Fault{Name: fault, Op: forgesim.OpRevoke, Times: 1})
		b.revoke(made)
		b.wantGone(made)
	}
}

// revokeHidden revokes with a credential that does not see the repository any
// more: the forge says 404, and the key is live.
func revokeHidden(b *bench) {
	username, _ := b.sim.Credential()
	if username != "" {
		username = "weak@acme.example"
	}
	const secret = "0123456789-weak-0123456789"
	b.sim.AddToken(forgesim.Token{Username: username, Secret: secret, AdminOf: []string{b.repo}})
	b.forge = b.login(username, secret)
	made := b.register(b.request())
	b.sim.AddToken(forgesim.Token{Username: username, Secret: secret})
	err := b.forge.Revoke(b.Context(), b.target, made)
	b.wantError(err, false, provision.NotFound, provision.Denied)
	b.wantCount(made.Key, 1)
}
