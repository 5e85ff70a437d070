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
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// Login says how an adapter reaches the emulated forge.
type Login struct {
	Name      string // of the forge in the configuration
	URL       string
	Username  string // empty where the forge takes a token alone
	TokenFile string // only this process may read it
	Transport http.RoundTripper
	UserAgent string
}

// Opener makes an adapter.
type Opener func(t *testing.T, l Login) provision.Forge

// Run runs the whole suite.
func Run(t *testing.T, kind provision.Kind, open Opener) {
	t.Helper()
	t.Run("virtual", func(t *testing.T) {
		for _, c := range cases() {
			t.Run(c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					pass(untilNow)
					sim, err := forgesim.New(forgesim.Options{Kinds: []provision.Kind{kind}})
					if err != nil {
						t.Fatal(err)
					}
					defer closeSim(t, sim)
					runCase(t, c, sim.Forge(kind), open, true)
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
		for _, c := range cases() {
			if !c.virtual {
				t.Run(c.name, func(t *testing.T) { runCase(t, c, sim.Forge(kind), open, false) })
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
	virtual bool // too long for real time, or looks into the transport
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
	open    Opener
	forge   *witness
	target  provision.Target
	repo    string
	foreign []forgesim.Key // made by somebody else: must stay as they are
	secrets []string       // that must not appear anywhere
	spy     *spy           // nil over real sockets
	before  int            // requests made before this case
}

func runCase(t *testing.T, c testCase, sim *forgesim.Forge, open Opener, virtual bool) {
	t.Helper()
	b := &bench{
		T: t, kind: sim.Kind(), traits: provision.TraitsOf(sim.Kind()), sim: sim, open: open,
		before: len(sim.Requests()),
	}
	if virtual {
		b.spy = &spy{T: t, inner: sim.Transport()}
	}
	b.repo = b.addRepository(c.name)
	b.target = provision.RepositoryTarget(provision.Repository(b.repo))
	b.forge = b.login(sim.Credential())
	b.addForeign(b.repo, "someone's laptop")
	c.run(b)
	sim.ClearFaults()
	sim.SetPolicy(true)
	b.checkForeign()
	b.checkRequests()
}

// login returns an adapter that uses a credential, watched.
func (b *bench) login(username, token string) *witness {
	b.Helper()
	w, _ := b.loginFile(username, token)
	return w
}

// loginFile is login that tells where the token is, so that it can be replaced.
func (b *bench) loginFile(username, token string) (w *witness, file string) {
	b.Helper()
	file = filepath.Join(b.TempDir(), "token")
	b.writeToken(file, token)
	l := Login{Name: "forge-under-test", URL: b.sim.URL(), Username: username, TokenFile: file, UserAgent: "deploykeyd/conform"}
	if b.spy != nil {
		l.Transport = b.spy
	}
	return &witness{bench: b, inner: b.open(b.T, l)}, file
}

func (b *bench) writeToken(file, token string) {
	b.Helper()
	b.secrets = append(b.secrets, token)
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		b.Fatal(err)
	}
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

func (b *bench) wantNoSecret(what, text string) {
	b.Helper()
	for _, s := range b.secrets {
		if strings.Contains(text, s) {
			b.Errorf("%s shows the credential: %s", what, text)
		}
	}
}
