// Package conform owns the one suite of tests that every adapter passes, so
// that five forges stay one to those who use them.
//
// It runs an adapter against forgesim: each case on virtual time without
// sockets, and those that need not wait over real sockets as well. It knows
// nothing of any adapter.
package conform

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// Opener makes an adapter.
type Opener func(t *testing.T, l Login) provision.Forge

// Run runs the whole suite with a token.
func Run(t *testing.T, kind provision.Kind, open Opener) {
	t.Helper()
	run(t, kind, open, nil, cases())
}

// RunExchange runs the suite with a credential that is exchanged for access
// tokens, an App of GitHub or an OAuth consumer of Bitbucket Cloud, and in place
// of the cases that are about tokens those that are about exchanges.
func RunExchange(t *testing.T, kind provision.Kind, open Opener) {
	t.Helper()
	all := slices.DeleteFunc(cases(), func(c testCase) bool { return c.token })
	run(t, kind, open, newHolder(t, kind), slices.Concat(all, exchangeCases()))
}

func run(t *testing.T, kind provision.Kind, open Opener, h *holder, all []testCase) {
	t.Helper()
	t.Run("virtual", func(t *testing.T) {
		for _, c := range all {
			t.Run(c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					pass(untilNow)
					sim, err := forgesim.New(forgesim.Options{Kinds: []provision.Kind{kind}})
					if err != nil {
						t.Fatal(err)
					}
					defer closeSim(t, sim)
					h.join(sim.Forge(kind))
					runCase(t, c, sim.Forge(kind), open, h, true)
				})
			})
		}
	})
	t.Run("sockets", func(t *testing.T) {
		sim, err := forgesim.Start(t.Context(), forgesim.Options{Kinds: []provision.Kind{kind}})
		if err != nil {
			t.Fatal(err)
		}
		defer closeSim(t, sim)
		h.join(sim.Forge(kind))
		for _, c := range all {
			if !c.virtual {
				t.Run(c.name, func(t *testing.T) { runCase(t, c, sim.Forge(kind), open, h, false) })
			}
		}
	})
}

// untilNow moves a bubble's clock, which begins in the year 2000, to a time that
// adapters believe of a forge.
const untilNow = 27 * 365 * 24 * time.Hour

// pass lets virtual time go by.
func pass(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

func closeSim(t *testing.T, sim *forgesim.Sim) {
	t.Helper()
	if err := sim.Close(); err != nil {
		t.Errorf("close forgesim: %v", err)
	}
}

// testCase is one behaviour.
type testCase struct {
	name    string
	virtual bool // too long for real time, looks into the transport, or spoils the forge for others
	token   bool // about a token that is the credential itself
	warm    bool // its faults are not to meet an exchange
	run     func(b *bench)
}

func cases() []testCase {
	return slices.Concat(registerCases(), listCases(), revokeCases(), refusalCases(), rateCases(), faultCases(), clockCases())
}

// bench is what a case works with: a repository of its own with one foreign
// key on it, and an adapter with all rights.
type bench struct {
	*testing.T
	kind    provision.Kind
	traits  provision.Traits
	sim     *forgesim.Forge
	opener  Opener
	holder  *holder // nil when a token is used
	forge   *witness
	target  provision.Target
	repo    string
	foreign []forgesim.Key // made by somebody else: must stay as they are
	secrets []string       // that must not appear anywhere
	spy     *spy           // nil over real sockets
	before  int            // requests made before this case
}

func runCase(t *testing.T, c testCase, sim *forgesim.Forge, open Opener, h *holder, virtual bool) {
	t.Helper()
	b := &bench{
		T: t, kind: sim.Kind(), traits: provision.TraitsOf(sim.Kind()), sim: sim,
		opener: open, holder: h,
	}
	if virtual {
		b.spy = &spy{T: t, inner: sim.Transport()}
	}
	b.repo = b.addRepository(c.name)
	b.target = provision.RepositoryTarget(provision.Repository(b.repo))
	b.forge = b.enter()
	b.addForeign(b.repo, "someone's laptop")
	if c.warm && h != nil {
		b.list(b.repo)
	}
	b.before = len(sim.Requests())
	c.run(b)
	sim.ClearFaults()
	sim.SetPolicy(true)
	b.checkForeign()
	b.checkRequests()
}

func (b *bench) addRepository(name string) string {
	b.Helper()
	repo := "acme/" + strings.ReplaceAll(name, " ", "-")
	if err := b.sim.AddRepository(repo, forgesim.RepositoryOptions{}); err != nil {
		b.Fatal(err)
	}
	return repo
}

func (b *bench) addForeign(repo, title string) forgesim.Key {
	b.Helper()
	k := b.sim.AddKey(repo, title, newKey(b), provision.Read)
	b.foreign = append(b.foreign, k)
	return k
}

// request returns a request for a new key with read access.
func (b *bench) request() provision.KeyRequest {
	b.Helper()
	return b.requestFor(newKey(b))
}

func (b *bench) requestFor(key provision.PublicKey) provision.KeyRequest {
	b.Helper()
	tag, err := provision.NewOwnerTag("conform", "machine-1", key, time.Now().Add(24*time.Hour), b.traits.TitleLimit)
	if err != nil {
		b.Fatal(err)
	}
	return provision.KeyRequest{Title: tag.String(), Key: key, Access: provision.Read}
}

// newKey returns a public key whose private half nobody keeps.
func newKey(t testing.TB) provision.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	var blob []byte
	for _, part := range [][]byte{[]byte("ssh-ed25519"), public} {
		blob = binary.BigEndian.AppendUint32(blob, uint32(len(part))) //nolint:gosec // G115: 32 bytes at most
		blob = append(blob, part...)
	}
	key, err := provision.PublicKeyFromBlob(blob)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// register registers a key, which must succeed.
func (b *bench) register(r provision.KeyRequest) provision.Registration {
	b.Helper()
	made, err := b.forge.Register(b.Context(), b.target, r)
	if err != nil {
		b.Fatalf("register: %v", err)
	}
	return made
}

// list returns all that the adapter lists, which must succeed.
func (b *bench) list(repo string) []provision.Registration {
	b.Helper()
	var all []provision.Registration
	for r, err := range b.forge.List(b.Context(), provision.RepositoryTarget(provision.Repository(repo))) {
		if err != nil {
			b.Fatalf("list: %v", err)
		}
		all = append(all, r)
	}
	return all
}

// count returns how often the truth has a key on the case's repository.
func (b *bench) count(key provision.PublicKey) int {
	n := 0
	for _, k := range b.sim.Keys(b.repo) {
		if k.Key == key {
			n++
		}
	}
	return n
}

func (b *bench) wantCount(key provision.PublicKey, want int) {
	b.Helper()
	if got := b.count(key); got != want {
		b.Errorf("the repository has the key %d times, want %d", got, want)
	}
}

// requests returns how many requests of the case the forge saw for op.
func (b *bench) requests(op forgesim.Op) int {
	n := 0
	for _, r := range b.sim.Requests()[b.before:] {
		if r.Op == op {
			n++
		}
	}
	return n
}

// within runs f under a time limit.
func (b *bench) within(limit time.Duration, f func(ctx context.Context)) {
	ctx, cancel := context.WithTimeout(b.Context(), limit)
	defer cancel()
	f(ctx)
}

func (b *bench) checkForeign() {
	b.Helper()
	all := b.sim.AllKeys()
	for _, want := range b.foreign {
		if !slices.ContainsFunc(all, func(k forgesim.Key) bool { return k.ID == want.ID && k.Title == want.Title && k.Key == want.Key }) {
			b.Errorf("somebody else's key %q was touched", want.Title)
		}
	}
}

// checkRequests looks for credentials where servers and proxies log them.
func (b *bench) checkRequests() {
	b.Helper()
	for _, r := range b.sim.Requests()[b.before:] {
		b.wantNoSecret("a request", fmt.Sprintf("%s %s?%s", r.Method, r.Path, r.Query))
	}
}

// jwtBegin is how every JWT begins: {" in base64.
const jwtBegin = "eyJ"

func (b *bench) wantNoSecret(what, text string) {
	b.Helper()
	secrets := b.secrets
	if b.holder != nil {
		secrets = slices.Concat(secrets, b.sim.IssuedTokens())
		if strings.Contains(text, jwtBegin) {
			b.Errorf("%s shows a JWT: %s", what, text)
		}
	}
	for _, s := range secrets {
		if strings.Contains(text, s) {
			b.Errorf("%s shows the credential: %s", what, text)
		}
	}
}
