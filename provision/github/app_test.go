package github_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/credential"
	"deploykeyd/provision/forgesim"
	"deploykeyd/provision/github"
)

// appKey is the App's key of all tests.
var appKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// appSim returns an emulated GitHub with an App on acme, and how to sign in.
func appSim(t *testing.T, installations ...forgesim.Installation) (*forgesim.Forge, github.Options) {
	t.Helper()
	sim, err := forgesim.New(forgesim.Options{Kinds: []provision.Kind{provision.GitHub}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	f := sim.Forge(provision.GitHub)
	for _, path := range []string{"acme/api", "acme/web"} {
		if err := f.AddRepository(path, forgesim.RepositoryOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	f.AddApp(forgesim.App{ID: 7, ClientID: "Iv1.abc", PublicKeys: []*rsa.PublicKey{&appKey().PublicKey}, Installations: installations})
	return f, github.Options{
		Name: "hub", URL: f.URL(), Transport: f.Transport(), UserAgent: "deploykeyd/test",
		App: &github.App{ID: "Iv1.abc", Owner: "acme", Key: credential.File(keyFile(t))},
	}
}

func keyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(appKey())})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func openApp(t *testing.T, o github.Options) *github.Forge {
	t.Helper()
	f, err := github.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// later moves a bubble's clock, which begins in the year 2000, to a time that
// is believed of a forge, and on from there.
func later(d time.Duration) { <-time.NewTimer(d).C }

const untilNow = 27 * 365 * 24 * time.Hour

var api = provision.RepositoryTarget("acme/api")

func count(f *forgesim.Forge, op forgesim.Op) int {
	n := 0
	for _, r := range f.Requests() {
		if r.Op == op {
			n++
		}
	}
	return n
}

// TestAppLife registers, lists and revokes, and outlives its token.
func TestAppLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		later(untilNow)
		sim, o := appSim(t, forgesim.Installation{ID: 42, Account: "acme"})
		f := openApp(t, o)
		made, err := f.Register(t.Context(), api, request(t))
		if err != nil {
			t.Fatal(err)
		}
		for hour := range 3 {
			if _, found, err := provision.Find(t.Context(), f, api, request(t).Key); err != nil || !found {
				t.Errorf("after %d hours: %v, %v", hour, found, err)
			}
			later(time.Hour)
		}
		if err := f.Revoke(t.Context(), api, made); err != nil {
			t.Error(err)
		}
		synctest.Wait() // what was begun ends
		if len(sim.Keys("acme/api")) != 0 || count(sim, forgesim.OpLookup) != 1 || count(sim, forgesim.OpToken) != 4 {
			t.Errorf("%d lookups, %d tokens, %d keys are left", count(sim, forgesim.OpLookup), count(sim, forgesim.OpToken), len(sim.Keys("acme/api")))
		}
		for _, r := range sim.Requests() {
			if r.Status == http.StatusUnauthorized {
				t.Errorf("a token had to be refused first: %+v", r)
			}
		}
	})
}

// TestAppWithWrongClock signs in though this machine's clock is off.
func TestAppWithWrongClock(t *testing.T) {
	for _, offset := range []time.Duration{0, -25 * time.Hour, -2 * time.Minute, 2 * time.Minute, 25 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			later(untilNow)
			sim, o := appSim(t, forgesim.Installation{ID: 42, Account: "acme"})
			sim.Inject(forgesim.Fault{Name: forgesim.WrongDate, Offset: offset})
			f := openApp(t, o)
			made, err := f.Register(t.Context(), api, request(t))
			if err != nil {
				t.Fatalf("%v off: %v", offset, err)
			}
			later(55 * time.Minute) // the second token is asked for in time at once
			if err := f.Revoke(t.Context(), api, made); err != nil {
				t.Errorf("%v off: %v", offset, err)
			}
			refused := slices.DeleteFunc(sim.Requests(), func(r forgesim.Request) bool { return r.Status != http.StatusUnauthorized })
			want := 1                                   // the very first
			if offset == 0 || offset == 2*time.Minute { // a JWT counts for nine
				want = 0
			}
			if len(refused) != want {
				t.Errorf("%v off: %+v were refused", offset, refused)
			}
		})
	}
}

func TestAppFailures(t *testing.T) {
	read := map[string]string{"administration": "read"}
	for name, c := range map[string]struct {
		installation forgesim.Installation
		change       func(*testing.T, *forgesim.Forge, *github.Options)
		class        provision.Class
		next         string
	}{
		"suspended": {forgesim.Installation{ID: 42, Account: "acme"}, func(_ *testing.T, f *forgesim.Forge, _ *github.Options) {
			f.SuspendInstallation(42, true)
		}, provision.Denied, "suspended"},
		"not installed there": {forgesim.Installation{ID: 42, Account: "other"}, nil, provision.Denied, "install the App"},
		"may only read":       {forgesim.Installation{ID: 42, Account: "acme", Permissions: read}, nil, provision.Denied, "Administration: write"},
		"another App": {forgesim.Installation{ID: 42, Account: "acme"}, func(_ *testing.T, _ *forgesim.Forge, o *github.Options) {
			o.App.ID = "8"
		}, provision.Denied, "app_id"},
		"no App": {forgesim.Installation{ID: 42, Account: "acme"}, func(_ *testing.T, _ *forgesim.Forge, o *github.Options) {
			o.App.ID = "Iv1.xyz"
		}, provision.BadCredential, "app_id"},
		"another installation": {forgesim.Installation{ID: 42, Account: "acme"}, func(_ *testing.T, _ *forgesim.Forge, o *github.Options) {
			o.App.Installation = 43
		}, provision.Denied, "installation_id"},
		"no key": {forgesim.Installation{ID: 42, Account: "acme"}, func(_ *testing.T, _ *forgesim.Forge, o *github.Options) {
			o.App.Key = credential.File("/nonexistent")
		}, provision.BadCredential, "/nonexistent"},
		"a token for a key": {forgesim.Installation{ID: 42, Account: "acme"}, func(t *testing.T, _ *forgesim.Forge, o *github.Options) {
			t.Helper()
			t.Setenv(tokenName, "0123456789")
			o.App.Key = credential.Env(tokenName)
		}, provision.BadCredential, tokenName},
		"forge away": {forgesim.Installation{ID: 42, Account: "acme"}, func(_ *testing.T, f *forgesim.Forge, _ *github.Options) {
			f.Inject(forgesim.Fault{Name: forgesim.HTMLBadGateway, Op: forgesim.OpToken})
		}, provision.Transient, ""},
		"connection cut": {forgesim.Installation{ID: 42, Account: "acme"}, func(_ *testing.T, f *forgesim.Forge, _ *github.Options) {
			f.Inject(forgesim.Fault{Name: forgesim.CutAfterEffect, Op: forgesim.OpToken})
		}, provision.Transient, "way"},
		"reply too large": {forgesim.Installation{ID: 42, Account: "acme"}, func(_ *testing.T, f *forgesim.Forge, _ *github.Options) {
			f.Inject(forgesim.Fault{Name: forgesim.OversizedReply, Op: forgesim.OpLookup})
		}, provision.Transient, "url"},
		"rate limit": {forgesim.Installation{ID: 42, Account: "acme"}, func(_ *testing.T, f *forgesim.Forge, _ *github.Options) {
			f.Inject(forgesim.Fault{Name: forgesim.TooManyRequests, Op: forgesim.OpToken, RetryAfter: time.Hour})
		}, provision.RateLimited, "again"},
		"rate limit without a time": {forgesim.Installation{ID: 42, Account: "acme"}, func(_ *testing.T, f *forgesim.Forge, _ *github.Options) {
			f.Inject(forgesim.Fault{Name: forgesim.TooManyRequests, Op: forgesim.OpLookup})
		}, provision.RateLimited, "again"},
		"account renamed": {forgesim.Installation{ID: 42, Account: "acme"}, func(_ *testing.T, _ *forgesim.Forge, o *github.Options) {
			inner := o.Transport
			o.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				response, err := inner.RoundTrip(r)
				if err == nil && strings.HasSuffix(r.URL.Path, "/orgs/acme/installation") {
					response.StatusCode = http.StatusMovedPermanently
					response.Header.Set("Location", "/organizations/1/installation")
				}
				return response, err
			})
		}, provision.Moved, "owner's name"},
	} {
		t.Run(name, func(t *testing.T) {
			sim, o := appSim(t, c.installation)
			if c.change != nil {
				c.change(t, sim, &o)
			}
			_, err := openApp(t, o).Register(t.Context(), api, request(t))
			if provision.ClassOf(err) != c.class || provision.IsUncertain(err) || !strings.Contains(provision.NextStep(err), c.next) || provision.NextStep(err) == "" {
				t.Errorf("gives %v; next: %s", err, provision.NextStep(err))
			}
			if count(sim, forgesim.OpRegister) != 0 {
				t.Error("the registration was sent")
			}
			for _, token := range sim.IssuedTokens() {
				if strings.Contains(err.Error(), token) {
					t.Errorf("shows a token: %v", err)
				}
			}
		})
	}
}

// TestAppWithoutOneRepository has one of the owner's repositories deleted, renamed
// or kept from the installation, which is nothing to the others.
func TestAppWithoutOneRepository(t *testing.T) {
	for name, c := range map[string]struct {
		installation forgesim.Installation
		change       func(*forgesim.Forge)
		repository   provision.Repository
		class        provision.Class
		next         string
	}{
		"never there":  {forgesim.Installation{ID: 42, Account: "acme"}, nil, "acme/typo", provision.NotFound, "name"},
		"renamed":      {forgesim.Installation{ID: 42, Account: "ACME"}, func(f *forgesim.Forge) { f.Rename("acme/api", "acme/new") }, "acme/api", provision.Moved, "renamed"},
		"not selected": {forgesim.Installation{ID: 42, Account: "acme", Repositories: []string{"acme/web"}}, nil, "acme/api", provision.NotFound, "add it to the App's installation"},
		"of a user":    {forgesim.Installation{ID: 42, Account: "acme", User: true}, nil, "acme/typo", provision.NotFound, "name"},
	} {
		t.Run(name, func(t *testing.T) {
			sim, o := appSim(t, c.installation)
			if c.change != nil {
				c.change(sim)
			}
			f := openApp(t, o)
			_, err := f.Register(t.Context(), provision.RepositoryTarget(c.repository), request(t))
			if provision.ClassOf(err) != c.class || !strings.Contains(provision.NextStep(err), c.next) {
				t.Errorf("gives %v; next: %s", err, provision.NextStep(err))
			}
			web := provision.RepositoryTarget("acme/web")
			made, err := f.Register(t.Context(), web, request(t))
			if err != nil {
				t.Fatalf("another repository: %v", err)
			}
			if err := f.Revoke(t.Context(), web, made); err != nil || len(sim.Keys("acme/web")) != 0 {
				t.Errorf("another repository's key stays: %v", err)
			}
		})
	}
}

// TestAppRenewalHangs revokes within a stop while the forge does not answer the
// exchange for the next token.
func TestAppRenewalHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		later(untilNow)
		sim, o := appSim(t, forgesim.Installation{ID: 42, Account: "acme"})
		f := openApp(t, o)
		made, err := f.Register(t.Context(), api, request(t))
		if err != nil {
			t.Fatal(err)
		}
		later(51 * time.Minute) // the token is good for nine more
		sim.Inject(forgesim.Fault{Name: forgesim.SlowReply, Op: forgesim.OpToken, Delay: 40 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := f.Revoke(ctx, api, made); err != nil || len(sim.Keys("acme/api")) != 0 {
			t.Errorf("gives %v, %d keys are left", err, len(sim.Keys("acme/api")))
		}
		later(time.Minute) // what was begun ends
	})
}

// TestAppTokenIsTakenAway has the forge refuse a token before its time.
func TestAppTokenIsTakenAway(t *testing.T) {
	sim, o := appSim(t, forgesim.Installation{ID: 42, Account: "acme"})
	f := openApp(t, o)
	if _, err := f.Register(t.Context(), api, request(t)); err != nil {
		t.Fatal(err)
	}
	for _, token := range sim.IssuedTokens() {
		sim.RevokeToken(token)
	}
	if _, found, err := provision.Find(t.Context(), f, api, request(t).Key); err != nil || !found || count(sim, forgesim.OpToken) != 2 {
		t.Errorf("gives %v, %v after %d tokens", found, err, count(sim, forgesim.OpToken))
	}
	sim.Inject(forgesim.Fault{Name: forgesim.CredentialRevoked, Op: forgesim.OpList})
	_, _, err := provision.Find(t.Context(), f, api, request(t).Key)
	if provision.ClassOf(err) != provision.BadCredential || !strings.Contains(provision.NextStep(err), "installation") || count(sim, forgesim.OpToken) != 3 {
		t.Errorf("gives %v; next: %s", err, provision.NextStep(err))
	}
}

func TestAppTokenIsNarrow(t *testing.T) {
	sim, o := appSim(t, forgesim.Installation{ID: 42, Account: "acme", Permissions: map[string]string{"administration": "write", "contents": "write"}})
	var asked string
	inner := o.Transport
	o.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/access_tokens") {
			text := make([]byte, 1<<10)
			n, _ := r.Body.Read(text)
			asked = string(text[:n])
			r.Body = http.NoBody
			return nil, http.ErrHandlerTimeout
		}
		return inner.RoundTrip(r)
	})
	_, err := openApp(t, o).Register(t.Context(), api, request(t))
	if provision.ClassOf(err) != provision.Transient || asked != `{"permissions":{"administration":"write"}}` || len(sim.IssuedTokens()) != 0 {
		t.Errorf("asks %q: %v", asked, err)
	}
}

func TestAppOptions(t *testing.T) {
	key := credential.File("/x")
	for _, c := range []struct {
		o    github.Options
		want string
	}{
		{github.Options{}, "no credential"},
		{github.Options{Credential: key, App: &github.App{ID: "1", Installation: 2, Key: key}}, "both"},
		{github.Options{App: &github.App{Installation: 2, Key: key}}, "no id"},
		{github.Options{App: &github.App{ID: "1", Installation: 2}}, "no private key"},
		{github.Options{App: &github.App{ID: "1", Key: key}}, "no installation"},
		{github.Options{App: &github.App{ID: "1", Installation: -2, Key: key}}, "no installation"},
		{github.Options{URL: "http://ghe.acme.example", App: &github.App{ID: "1", Installation: 2, Key: key}}, "https"},
	} {
		if _, err := github.New(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v gives %v", c.o, err)
		}
	}
	for _, o := range []github.Options{
		{App: &github.App{ID: "1", Installation: 2, Key: key}},
		{URL: "https://ghe.acme.example", App: &github.App{ID: "1", Owner: "acme", Key: key}},
	} {
		if _, err := github.New(o); err != nil {
			t.Errorf("%+v gives %v", o, err)
		}
	}
}

// TestAppSharesTheClock tells the time from what an exchange has shown.
func TestAppSharesTheClock(t *testing.T) {
	sim, o := appSim(t, forgesim.Installation{ID: 42, Account: "acme"})
	sim.Inject(forgesim.Fault{Name: forgesim.HTMLBadGateway, Op: forgesim.OpToken})
	f := openApp(t, o)
	if _, err := f.Register(t.Context(), api, request(t)); err == nil {
		t.Fatal("no error")
	}
	before := len(sim.Requests())
	if now, err := f.Time(t.Context()); err != nil || time.Since(now).Abs() > time.Minute || len(sim.Requests()) != before {
		t.Errorf("gives %v, %v after %d more requests", now, err, len(sim.Requests())-before)
	}
}
