package forgesim_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// bubble runs a test on each forge in process, on virtual time.
func bubble(t *testing.T, test func(t *testing.T, f *forgesim.Forge)) {
	t.Helper()
	for _, k := range kinds() {
		t.Run(string(k), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, open(t, k)) })
		})
	}
}

// register sends a create for a new key, and reports how it went and how long
// it took.
func register(t *testing.T, f *forgesim.Forge) (answer, time.Duration, error) {
	t.Helper()
	from := time.Now()
	a, err := try(t, f, http.Client{Transport: f.Transport()}, create(f.Kind(), "x", newPublic(t)))
	return a, time.Since(from), err
}

func count(f *forgesim.Forge) int { return len(f.AllKeys()) }

func TestErrors(t *testing.T) {
	bubble(t, func(t *testing.T, f *forgesim.Forge) {
		for _, c := range []struct {
			fault  forgesim.Fault
			status int
			after  int // how many keys there are then
			words  string
			again  string // Retry-After
		}{
			{forgesim.Fault{Name: forgesim.ErrorBefore}, 500, 0, "", ""},
			{forgesim.Fault{Name: forgesim.ErrorBefore, Status: 503, RetryAfter: 5 * time.Second}, 503, 0, "", "5"},
			{forgesim.Fault{Name: forgesim.ErrorAfterEffect, Status: 503, RetryAfter: 30 * time.Second}, 503, 1, "", "30"},
			{forgesim.Fault{Name: forgesim.HTMLBadGateway}, 502, 1, "<h1>502 Bad Gateway</h1>", ""},
			{forgesim.Fault{Name: forgesim.CredentialRevoked}, 401, 1, "", ""},
		} {
			remove := f.Inject(c.fault)
			a, _, err := register(t, f)
			if err != nil || a.status != c.status || count(f) != c.after || !strings.Contains(a.body, c.words) || a.header.Get("Retry-After") != c.again {
				t.Errorf("%s: %d %v %s, %v; %d keys", c.fault.Name, a.status, a.header, a.body, err, count(f))
			}
			remove()
		}
		if a, _, err := register(t, f); err != nil || a.status/100 == 5 {
			t.Errorf("with no fault left: %d, %v", a.status, err)
		}
	})
}

func TestPolicyOff(t *testing.T) {
	bubble(t, func(t *testing.T, f *forgesim.Forge) {
		f.Inject(forgesim.Fault{Name: forgesim.PolicyOff, Times: 1})
		if a, _, err := register(t, f); err != nil || a.status/100 != 4 || !strings.Contains(a.body, "disabled") || count(f) != 0 {
			t.Errorf("%d %s, %v", a.status, a.body, err)
		}
		if a, _, err := register(t, f); err != nil || a.status/100 != 2 {
			t.Errorf("after that: %d %s, %v", a.status, a.body, err)
		}
	})
}

func TestTooManyRequests(t *testing.T) {
	bubble(t, func(t *testing.T, f *forgesim.Forge) {
		want := http.StatusTooManyRequests
		if f.Kind() == provision.GitHub {
			want = http.StatusForbidden
		}
		f.Inject(forgesim.Fault{Name: forgesim.TooManyRequests, Times: 1, RetryAfter: 3 * time.Second})
		f.Inject(forgesim.Fault{Name: forgesim.TooManyRequests, Times: 1, Status: 429})
		a, _, err := register(t, f)
		if err != nil || a.status != want || a.header.Get("Retry-After") != "3" {
			t.Errorf("%d %v, %v", a.status, a.header, err)
		}
		if f.Kind() == provision.GitHub && (!strings.Contains(a.body, "secondary-rate-limits") || a.header.Get("X-RateLimit-Remaining") == "0") {
			t.Errorf("%s %v", a.body, a.header)
		}
		a, _, err = register(t, f)
		if _, given := a.header["Retry-After"]; err != nil || a.status != 429 || given || count(f) != 0 {
			t.Errorf("%d %v, %v", a.status, a.header, err)
		}
	})
}

func TestCut(t *testing.T) {
	bubble(t, func(t *testing.T, f *forgesim.Forge) {
		f.Inject(forgesim.Fault{Name: forgesim.CutBefore, Times: 1})
		if _, _, err := register(t, f); !errors.Is(err, io.ErrUnexpectedEOF) || count(f) != 0 {
			t.Errorf("cut before: %v, %d keys", err, count(f))
		}
		f.Inject(forgesim.Fault{Name: forgesim.CutAfterEffect, Times: 1})
		if _, _, err := register(t, f); !errors.Is(err, io.ErrUnexpectedEOF) || count(f) != 1 {
			t.Errorf("cut after: %v, %d keys", err, count(f))
		}
		if r := f.Requests(); len(r) != 2 || r[0].Status != 0 || r[0].Op != forgesim.OpRegister || r[1].Repository != "acme/api" {
			t.Errorf("logged %+v", r)
		}
	})
}

// TestWroteRequest tells a client's trace when its request has left, which is
// how it knows whether a failed one may have taken effect.
func TestWroteRequest(t *testing.T) {
	bubble(t, func(t *testing.T, f *forgesim.Forge) {
		var wrote int
		trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { wrote++ }}
		get := func(url string) {
			q, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp, err := f.Transport().RoundTrip(q); err == nil {
				_ = resp.Body.Close()
				t.Errorf("%s: %d", url, resp.StatusCode)
			}
		}
		get("https://elsewhere.test/")
		if wrote != 0 {
			t.Error("a request to nowhere was written")
		}
		f.Inject(forgesim.Fault{Name: forgesim.CutBefore})
		get(f.URL())
		if wrote != 1 {
			t.Errorf("a cut request was written %d times", wrote)
		}
	})
}

func TestLateEffect(t *testing.T) {
	bubble(t, func(t *testing.T, f *forgesim.Forge) {
		f.Inject(forgesim.Fault{Name: forgesim.LateEffect, Delay: 8 * time.Second, Times: 1})
		if _, took, err := register(t, f); !errors.Is(err, io.ErrUnexpectedEOF) || took != 0 || count(f) != 0 {
			t.Errorf("%v after %v, %d keys", err, took, count(f))
		}
		from := time.Now()
		if err := f.Await(t.Context(), func() bool { return count(f) == 1 }); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(from); took != 8*time.Second {
			t.Errorf("the effect came after %v", took)
		}
		if k := f.AllKeys()[0]; !k.Created.Equal(time.Now()) {
			t.Errorf("created %v, now %v", k.Created, time.Now())
		}
	})
}

// TestLateEffectEndsWithClose closes the forges while an effect is pending:
// Close must not wait for it.
func TestLateEffectEndsWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := forgesim.New(forgesim.Options{})
		if err != nil {
			t.Fatal(err)
		}
		f := s.Forge(provision.Gitea)
		addRepositories(t, f, "acme/api")
		f.Inject(forgesim.Fault{Name: forgesim.LateEffect, Delay: time.Hour})
		from := time.Now()
		if _, _, err := register(t, f); err == nil {
			t.Error("there was a reply")
		}
		if err := s.Close(); err != nil || time.Since(from) != 0 || count(f) != 0 {
			t.Errorf("%v after %v, %d keys", err, time.Since(from), count(f))
		}
		if _, _, err := register(t, f); err == nil {
			t.Error("a closed forge answers")
		}
	})
}

func TestSlowReplyAndLatency(t *testing.T) {
	for _, k := range kinds() {
		synctest.Test(t, func(t *testing.T) {
			s, err := forgesim.New(forgesim.Options{Latency: 50 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			f := s.Forge(k)
			addRepositories(t, f, "acme/api")
			if _, took, err := register(t, f); err != nil || took != 50*time.Millisecond {
				t.Errorf("%v after %v", err, took)
			}
			f.Inject(forgesim.Fault{Name: forgesim.SlowReply, Delay: 3 * time.Second})
			f.Inject(forgesim.Fault{Name: forgesim.ErrorAfterEffect})
			if a, took, err := register(t, f); err != nil || took != 3050*time.Millisecond || a.status != 500 {
				t.Errorf("%d, %v after %v", a.status, err, took)
			}
		})
	}
}

// TestImpatientClient gives up on the way there, when nothing has happened, and
// on the way back, when everything has.
func TestImpatientClient(t *testing.T) {
	for wait, keys := range map[time.Duration]int{10 * time.Millisecond: 0, 40 * time.Millisecond: 1} {
		synctest.Test(t, func(t *testing.T) {
			s, err := forgesim.New(forgesim.Options{Latency: 50 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			f := s.Forge(provision.Gitea)
			addRepositories(t, f, "acme/api")
			c := http.Client{Transport: f.Transport(), Timeout: wait}
			if _, err := try(t, f, c, create(f.Kind(), "x", newPublic(t))); !errors.Is(err, context.DeadlineExceeded) || count(f) != keys {
				t.Errorf("after %v: %v, %d keys", wait, err, count(f))
			}
		})
	}
}

func TestHoldReply(t *testing.T) {
	bubble(t, func(t *testing.T, f *forgesim.Forge) {
		remove := f.Inject(forgesim.Fault{Name: forgesim.HoldReply, Op: forgesim.OpRegister})
		for _, release := range []func(){func() { f.Release() }, remove} {
			before := count(f)
			done := make(chan error)
			go func() {
				a, err := try(t, f, http.Client{Transport: f.Transport()}, request{
					method: "POST", path: keysPath(f.Kind(), "acme/api"), body: createBody(f.Kind(), time.Now().String(), newPublic(t).String()),
				})
				if err == nil && a.status/100 != 2 {
					err = errors.New(a.body)
				}
				done <- err
			}()
			if err := f.Await(t.Context(), func() bool { return f.Held() == 1 }); err != nil {
				t.Fatal(err)
			}
			if count(f) != before+1 {
				t.Errorf("%d keys while the reply is held", count(f))
			}
			if a := send(t, f, request{method: "GET", path: keysPath(f.Kind(), "acme/api")}); a.status != 200 {
				t.Errorf("a list meanwhile: %d", a.status)
			}
			time.Sleep(time.Hour) //nolint:forbidigo // virtual time: nothing lets go by itself
			if f.Held() != 1 {
				t.Error("the reply has gone by itself")
			}
			release()
			if err := <-done; err != nil || f.Held() != 0 {
				t.Errorf("%v, %d held", err, f.Held())
			}
		}
	})
}

func TestOversizedReply(t *testing.T) {
	bubble(t, func(t *testing.T, f *forgesim.Forge) {
		f.Inject(forgesim.Fault{Name: forgesim.OversizedReply, Times: 1})
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.URL()+keysPath(f.Kind(), "acme/api"), nil)
		if err != nil {
			t.Fatal(err)
		}
		authenticate(q, f, nil)
		resp, err := f.Transport().RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		first := make([]byte, 1<<20)
		if _, err := io.ReadFull(resp.Body, first); err != nil || len(bytes.TrimSpace(first)) != 0 || resp.ContentLength < 32<<20 {
			t.Errorf("%d bytes, %v", resp.ContentLength, err)
		}
	})
}

func TestTruncatedReply(t *testing.T) {
	bubble(t, func(t *testing.T, f *forgesim.Forge) {
		f.Inject(forgesim.Fault{Name: forgesim.TruncatedReply, Times: 1})
		a, _, err := register(t, f)
		if !errors.Is(err, io.ErrUnexpectedEOF) || a.status/100 != 2 || a.body == "" || count(f) != 1 {
			t.Errorf("%d %q, %v, %d keys", a.status, a.body, err, count(f))
		}
	})
}

func TestDates(t *testing.T) {
	bubble(t, func(t *testing.T, f *forgesim.Forge) {
		remove := f.Inject(forgesim.Fault{Name: forgesim.WrongDate, Offset: -5 * time.Hour})
		a, _, err := register(t, f)
		date, parseErr := http.ParseTime(a.header.Get("Date"))
		if err != nil || parseErr != nil || !date.Equal(time.Now().Add(-5*time.Hour).Truncate(time.Second)) {
			t.Errorf("Date %v, %v", a.header.Get("Date"), errors.Join(err, parseErr))
		}
		if k := f.AllKeys()[0]; !k.Created.Equal(time.Now().Add(-5 * time.Hour)) {
			t.Errorf("created %v", k.Created)
		}
		remove()
		f.Inject(forgesim.Fault{Name: forgesim.NoDate})
		if a, _, err := register(t, f); err != nil || a.header.Get("Date") != "" {
			t.Errorf("%v, %v", a.header, err)
		}
	})
}

func TestFaultsAreNarrow(t *testing.T) {
	bubble(t, func(t *testing.T, f *forgesim.Forge) {
		f.Inject(forgesim.Fault{Name: forgesim.ErrorBefore, Op: forgesim.OpRevoke})
		f.Inject(forgesim.Fault{Name: forgesim.ErrorBefore, Repository: "ACME/web"})
		f.Inject(forgesim.Fault{Name: forgesim.SlowReply, Op: forgesim.OpSSH, Delay: time.Hour})
		id := mustCreate(t, f, "x", newPublic(t))
		for _, c := range []struct {
			r    request
			want int
		}{
			{request{method: "GET", path: keysPath(f.Kind(), "acme/api")}, 200},
			{request{method: "GET", path: keysPath(f.Kind(), "acme/web")}, 500},
			{request{method: "DELETE", path: keysPath(f.Kind(), "acme/api") + "/" + id}, 500},
		} {
			if a := send(t, f, c.r); a.status != c.want {
				t.Errorf("%s %s: %d", c.r.method, c.r.path, a.status)
			}
		}
		f.ClearFaults()
		if a := send(t, f, request{method: "DELETE", path: keysPath(f.Kind(), "acme/api") + "/" + id}); a.status != 204 || len(f.Faults()) != 0 {
			t.Errorf("after ClearFaults: %d, %+v", a.status, f.Faults())
		}
	})
}

func TestFaultTimes(t *testing.T) {
	bubble(t, func(t *testing.T, f *forgesim.Forge) {
		f.Inject(forgesim.Fault{Name: forgesim.ErrorBefore, Times: 2})
		for i, want := range []int{500, 500, 200} {
			if a := send(t, f, request{method: "GET", path: keysPath(f.Kind(), "acme/api")}); a.status != want {
				t.Errorf("request %d: %d", i, a.status)
			}
		}
		if len(f.Faults()) != 0 {
			t.Errorf("left: %+v", f.Faults())
		}
	})
}

func TestFaultCheck(t *testing.T) {
	for _, f := range []forgesim.Fault{
		{},
		{Name: "unheard-of"},
		{Name: forgesim.ErrorBefore, Op: "unheard-of"},
		{Name: forgesim.ErrorBefore, Op: forgesim.OpSSH},
		{Name: forgesim.CutBefore, Op: forgesim.OpSSH, Repository: "acme/api"},
		{Name: forgesim.ErrorBefore, Times: -1},
		{Name: forgesim.ErrorBefore, Status: 200},
	} {
		if f.Check() == nil {
			t.Errorf("%+v has no error", f)
		}
	}
	for _, n := range forgesim.FaultNames() {
		if err := (forgesim.Fault{Name: n}).Check(); err != nil {
			t.Error(err)
		}
	}
}
