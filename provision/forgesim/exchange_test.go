package forgesim_test

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// exchanges runs a test on each forge that hands out tokens.
func exchanges(t *testing.T, test func(t *testing.T, f *forgesim.Forge, ask func() (answer, error))) {
	t.Helper()
	for _, k := range []provision.Kind{provision.GitHub, provision.BitbucketCloud} {
		t.Run(string(k), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := open(t, k)
				r := func() request { return form("good", "s3cret", oauthForm) }
				if k == provision.GitHub {
					key := withApp(t, f)
					r = func() request { return bearer("POST", "/app/installations/1/access_tokens", goodJWT(t, key), "") }
				} else {
					withConsumer(t, f)
				}
				test(t, f, func() (answer, error) { return try(t, f, http.Client{Transport: f.Transport()}, r()) })
			})
		})
	}
}

// TestFaultsOnExchange injects faults on the exchange alone.
func TestFaultsOnExchange(t *testing.T) {
	exchanges(t, func(t *testing.T, f *forgesim.Forge, ask func() (answer, error)) {
		tooMany, refused, fine := http.StatusTooManyRequests, http.StatusBadRequest, http.StatusOK
		if f.Kind() == provision.GitHub {
			tooMany, refused, fine = http.StatusForbidden, http.StatusUnauthorized, http.StatusCreated
		}
		for _, c := range []struct {
			fault  forgesim.Fault
			status int
			tokens int // how many the forge has handed out then
			words  string
		}{
			{forgesim.Fault{Name: forgesim.TooManyRequests, RetryAfter: 7 * time.Second}, tooMany, 0, ""},
			{forgesim.Fault{Name: forgesim.ErrorBefore, Status: 503}, 503, 0, ""},
			{forgesim.Fault{Name: forgesim.HTMLBadGateway}, 502, 0, "<h1>502 Bad Gateway</h1>"},
			{forgesim.Fault{Name: forgesim.CredentialRevoked}, refused, 0, ""},
			{forgesim.Fault{Name: forgesim.ErrorAfterEffect}, 500, 1, ""},
			{forgesim.Fault{Name: forgesim.SlowReply, Delay: time.Minute}, fine, 2, "token"},
			{forgesim.Fault{Name: forgesim.OversizedReply}, fine, 3, strings.Repeat(" ", 1<<20)},
			{forgesim.Fault{Name: forgesim.NoDate}, fine, 4, "token"},
		} {
			c.fault.Op, c.fault.Times = forgesim.OpToken, 1
			f.Inject(c.fault)
			if a := send(t, f, request{method: "GET", path: keysPath(f.Kind(), "acme/api")}); a.status != 200 {
				t.Errorf("%s met a list: %d", c.fault.Name, a.status)
			}
			from := time.Now()
			a, err := ask()
			if err != nil || a.status != c.status || !strings.Contains(a.body, c.words) || len(f.IssuedTokens()) != c.tokens || time.Since(from) != c.fault.Delay {
				t.Errorf("%s: %d %.200s, %v; %d tokens after %v", c.fault.Name, a.status, a.body, err, len(f.IssuedTokens()), time.Since(from))
			}
			if retry := a.header.Get("Retry-After"); (retry == "7") != (c.fault.RetryAfter > 0) {
				t.Errorf("%s: Retry-After %q", c.fault.Name, retry)
			}
		}
		for fault, want := range map[forgesim.FaultName]error{forgesim.CutBefore: io.ErrUnexpectedEOF, forgesim.CutAfterEffect: io.ErrUnexpectedEOF, forgesim.TruncatedReply: io.ErrUnexpectedEOF} {
			f.Inject(forgesim.Fault{Name: fault, Op: forgesim.OpToken, Times: 1})
			if _, err := ask(); !errors.Is(err, want) {
				t.Errorf("%s: %v", fault, err)
			}
		}
	})
}

// TestExchangeIsNotCounted keeps exchanges out of the limits of what they give.
func TestExchangeIsNotCounted(t *testing.T) {
	exchanges(t, func(t *testing.T, f *forgesim.Forge, ask func() (answer, error)) {
		f.SetLimits(provision.Limits{RequestsPerHour: 1})
		for range 3 {
			if a, err := ask(); err != nil || a.status/100 != 2 {
				t.Errorf("%d, %v", a.status, err)
			}
		}
		if a := send(t, f, request{method: "GET", path: keysPath(f.Kind(), "acme/api")}); a.status != 200 {
			t.Errorf("the one request: %d", a.status)
		}
		if a := send(t, f, request{method: "GET", path: keysPath(f.Kind(), "acme/api")}); a.status == 200 {
			t.Error("a second request is not refused")
		}
	})
}

// TestLookupHasAnOp lets a fault meet the lookup and not the exchange.
func TestLookupHasAnOp(t *testing.T) {
	f := open(t, provision.GitHub)
	key := withApp(t, f)
	f.Inject(forgesim.Fault{Name: forgesim.ErrorBefore, Op: forgesim.OpLookup, Repository: "acme/api"})
	if a := exchange(t, f, key, 1, ""); a.status != http.StatusCreated {
		t.Errorf("exchange: %d", a.status)
	}
	for repository, want := range map[string]int{"acme/api": 500, "acme/web": 200} {
		if a := send(t, f, bearer("GET", "/repos/"+repository+"/installation", goodJWT(t, key), "")); a.status != want {
			t.Errorf("%s: %d", repository, a.status)
		}
	}
	var ops []forgesim.Op
	for _, r := range f.Requests() {
		ops = append(ops, r.Op)
	}
	if slices.Index(ops, forgesim.OpToken) != 0 || ops[1] != forgesim.OpLookup || ops[2] != forgesim.OpLookup {
		t.Errorf("operations %v", ops)
	}
}

// TestNonsense panics where a test asks for what the forge cannot have.
func TestNonsense(t *testing.T) {
	hub, cloud := open(t, provision.GitHub), open(t, provision.BitbucketCloud)
	for name, call := range map[string]func(){
		"App elsewhere":      func() { cloud.AddApp(forgesim.App{ID: 1}) },
		"App without a key":  func() { hub.AddApp(forgesim.App{ID: 1}) },
		"consumer elsewhere": func() { hub.AddConsumer(forgesim.Consumer{ID: "a", Secret: "b", Owner: "c"}) },
		"consumer of nobody": func() { cloud.AddConsumer(forgesim.Consumer{ID: "a", Secret: "b"}) },
		"no such consumer":   func() { cloud.EditConsumer("x", func(*forgesim.Consumer) {}) },
		"keys of no App":     func() { hub.SetAppKeys(1, &newAppKey(t).PublicKey) },
		"deleting nothing":   func() { hub.DeleteInstallation(1) },
		"suspending nothing": func() { hub.SuspendInstallation(1, true) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			call()
		}()
	}
}
