package rest_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/credential"
)

// exchange is a source whose Load is a function. It counts the Loads.
type exchange struct {
	load  func(ctx context.Context, n int) (credential.Secret, error)
	loads atomic.Int32
}

func (e *exchange) String() string { return "exchange" }

func (e *exchange) Load(ctx context.Context) (credential.Secret, error) {
	return e.load(ctx, int(e.loads.Add(1)))
}

// named returns the n-th token, which lasts as long as life; zero for ever.
func named(n int, life time.Duration) credential.Secret {
	text := "token-number-" + strings.Repeat("x", n)
	if life == 0 {
		return credential.NewSecret(text)
	}
	return credential.NewExpiring(text, time.Now().Add(life))
}

func sentToken(f *forge, i int) string {
	return strings.TrimPrefix(f.requests[i].Header.Get("Authorization"), "token ")
}

func trouble(wait time.Duration) error {
	return &credential.Error{Reason: credential.Trouble, Message: "no whole reply", Next: "wait", RetryAfter: wait}
}

func TestCredentialIsRenewedBeforeItEnds(t *testing.T) {
	virtual(t, func(t *testing.T, passed func() time.Duration) {
		e := &exchange{load: func(_ context.Context, n int) (credential.Secret, error) { return named(n, time.Hour), nil }}
		f := &forge{replies: []reply{ok("{}")}}
		client := newClient(t, setup{transport: f, source: e})
		for _, c := range []struct {
			at    time.Duration
			loads int32
		}{{0, 1}, {49 * time.Minute, 1}, {50 * time.Minute, 2}, {99 * time.Minute, 2}, {101 * time.Minute, 3}, {5 * time.Hour, 4}} {
			<-time.NewTimer(c.at - passed()).C
			if _, err := client.Do(t.Context(), get(), nil); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if e.loads.Load() != c.loads {
				t.Errorf("at %v: %d loads, want %d", c.at, e.loads.Load(), c.loads)
			}
		}
	})
}

// TestCredentialIsUsedToItsEnd has a renewal fail while the old one works.
func TestCredentialIsUsedToItsEnd(t *testing.T) {
	virtual(t, func(t *testing.T, passed func() time.Duration) {
		var logged bytes.Buffer
		e := &exchange{load: func(_ context.Context, n int) (credential.Secret, error) {
			if n > 1 {
				return credential.Secret{}, trouble(0)
			}
			return named(n, time.Hour), nil
		}}
		f := &forge{replies: []reply{ok("{}")}}
		client := newClient(t, setup{transport: f, source: e, logger: slog.New(slog.NewTextHandler(&logged, nil))})
		for _, c := range []struct {
			at    time.Duration
			loads int32
			fine  bool
		}{
			{0, 1, true},
			{50 * time.Minute, 2, true},
			{50*time.Minute + 30*time.Second, 2, true}, // not at each call
			{51 * time.Minute, 3, true},
			{59*time.Minute + 59*time.Second, 4, true},
			{time.Hour, 4, false}, // so soon after the last failure
			{time.Hour + 10*time.Second, 5, false},
		} {
			<-time.NewTimer(c.at - passed()).C
			_, err := client.Do(t.Context(), get(), nil)
			synctest.Wait()
			if (err == nil) != c.fine || e.loads.Load() != c.loads {
				t.Errorf("at %v: %v after %d loads", c.at, err, e.loads.Load())
			}
			if err != nil {
				want(t, err, provision.Transient, false)
			}
		}
		if text := logged.String(); !strings.Contains(text, "credential was not renewed") || !strings.Contains(text, "no whole reply") || strings.Contains(text, "token-number") {
			t.Errorf("the log is %s", text)
		}
	})
}

func TestManyCallsLoadOnce(t *testing.T) {
	virtual(t, func(t *testing.T, _ func() time.Duration) {
		e := &exchange{load: func(_ context.Context, n int) (credential.Secret, error) {
			<-time.NewTimer(time.Second).C
			return named(n, time.Hour), nil
		}}
		f := &forge{replies: []reply{ok("{}")}}
		client := newClient(t, setup{transport: f, source: e})
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if _, err := client.Do(t.Context(), get(), nil); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if e.loads.Load() != 1 || f.sent() != 100 {
			t.Errorf("%d loads for %d requests", e.loads.Load(), f.sent())
		}
	})
}

// TestManyRefusalsLoadOnce is a token that ends while many use it.
func TestManyRefusalsLoadOnce(t *testing.T) {
	virtual(t, func(t *testing.T, _ func() time.Duration) {
		e := &exchange{load: func(_ context.Context, n int) (credential.Secret, error) {
			<-time.NewTimer(time.Second).C
			return named(n, 0), nil
		}}
		f := &forge{}
		for range 100 {
			f.replies = append(f.replies, reply{status: 401, delay: time.Second})
		}
		f.replies = append(f.replies, ok("{}"))
		client := newClient(t, setup{transport: f, source: e})
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if _, err := client.Do(t.Context(), get(), nil); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if e.loads.Load() != 2 || f.sent() != 200 || sentToken(f, 199) != named(2, 0).Reveal() {
			t.Errorf("%d loads for %d requests", e.loads.Load(), f.sent())
		}
	})
}

// TestOneCallerLeaves has callers give up while a Load goes on for others.
func TestOneCallerLeaves(t *testing.T) {
	virtual(t, func(t *testing.T, passed func() time.Duration) {
		cancelled := make(chan struct{}, 10)
		e := &exchange{load: func(ctx context.Context, n int) (credential.Secret, error) {
			select {
			case <-time.NewTimer(time.Minute).C:
				return named(n, 0), nil
			case <-ctx.Done():
				cancelled <- struct{}{}
				return credential.Secret{}, ctx.Err()
			}
		}}
		f := &forge{replies: []reply{ok("{}")}}
		client := newClient(t, setup{transport: f, source: e})
		first, leave := context.WithCancel(t.Context())
		results := make(chan error, 2)
		go func() { _, err := client.Do(first, get(), nil); results <- err }()
		synctest.Wait()
		go func() { _, err := client.Do(t.Context(), get(), nil); results <- err }()
		synctest.Wait()
		leave()
		err := <-results
		if e := errorOf(t, err, provision.Transient, false); !errors.Is(e, context.Canceled) || passed() != 0 {
			t.Errorf("who left gets %v after %v", err, passed())
		}
		if err := <-results; err != nil || passed() != time.Minute || e.loads.Load() != 1 {
			t.Errorf("who stayed gets %v after %v and %d loads", err, passed(), e.loads.Load())
		}
		if len(cancelled) != 0 {
			t.Error("the Load was cancelled")
		}
	})
}

// TestRenewalHangs goes on with the credential at hand while the next one does
// not come. Its Load ends at last, and the credential serves to its end.
func TestRenewalHangs(t *testing.T) {
	virtual(t, func(t *testing.T, passed func() time.Duration) {
		ended := make(chan time.Duration, 10)
		e := &exchange{load: func(ctx context.Context, n int) (credential.Secret, error) {
			if n > 1 {
				<-ctx.Done()
				ended <- passed()
				return credential.Secret{}, ctx.Err()
			}
			return named(n, time.Hour), nil
		}}
		f := &forge{replies: []reply{ok("{}")}}
		client := newClient(t, setup{transport: f, source: e})
		for _, at := range []time.Duration{0, 51 * time.Minute, 52 * time.Minute, 58 * time.Minute, time.Hour - 1} {
			<-time.NewTimer(at - passed()).C
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := client.Do(ctx, get(), nil); err != nil || passed() != at {
				t.Errorf("at %v gives %v after %v", at, err, passed()-at)
			}
			cancel()
		}
		if first := <-ended; first != 57*time.Minute || e.loads.Load() != 3 {
			t.Errorf("the first renewal ended at %v, %d loads", first, e.loads.Load())
		}
		// The credential's end: now the renewal under way is waited for, and bounded.
		<-time.NewTimer(time.Hour - passed()).C
		_, err := client.Do(t.Context(), get(), nil)
		if got := errorOf(t, err, provision.Transient, false); got.Next == "" || !strings.Contains(got.Message, "6m0s") || passed() != 64*time.Minute {
			t.Errorf("gives %+v at %v", got, passed())
		}
	})
}

// TestSlowLoadIsKept has all callers leave before a Load is done. The next one
// gets what that same Load comes to.
func TestSlowLoadIsKept(t *testing.T) {
	virtual(t, func(t *testing.T, passed func() time.Duration) {
		e := &exchange{load: func(ctx context.Context, n int) (credential.Secret, error) {
			select {
			case <-time.NewTimer(21 * time.Second).C:
				return named(n, time.Hour), nil
			case <-ctx.Done():
				return credential.Secret{}, ctx.Err()
			}
		}}
		f := &forge{replies: []reply{ok("{}")}}
		client := newClient(t, setup{transport: f, source: e})
		for stage, within := range []time.Duration{5 * time.Second, 20 * time.Second, time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			_, err := client.Do(ctx, get(), nil)
			cancel()
			if stage == 0 {
				if got := errorOf(t, err, provision.Transient, false); !errors.Is(got, context.DeadlineExceeded) || passed() != within {
					t.Errorf("gives %+v after %v", got, passed())
				}
				continue
			}
			if err != nil || passed() != 21*time.Second || e.loads.Load() != 1 || sentToken(f, 0) != named(1, 0).Reveal() {
				t.Errorf("stage %d gives %v after %v and %d loads", stage, err, passed(), e.loads.Load())
			}
		}
	})
}

func TestFailedExchanges(t *testing.T) {
	wrapped := func(e *credential.Error) error { return errors.Join(errors.New("credential exchange"), e) }
	for _, c := range []struct {
		err   error
		class provision.Class
		wait  time.Duration
		next  string
	}{
		{wrapped(&credential.Error{Reason: credential.Trouble, Status: 503, RetryAfter: 7 * time.Second, Message: "away", Next: "wait"}), provision.Transient, 7 * time.Second, "wait"},
		{wrapped(&credential.Error{Reason: credential.Unknown, Status: 401, Message: "who?", Next: "check the key"}), provision.BadCredential, 0, "check the key"},
		{wrapped(&credential.Error{Reason: credential.Limited, Status: 403, RetryAfter: time.Minute, Message: "too often", Next: "nothing"}), provision.RateLimited, time.Minute, "nothing"},
		{wrapped(&credential.Error{Reason: credential.Moved, Status: 301, Message: "moved", Next: "update"}), provision.Moved, 0, "update"},
		{wrapped(&credential.Error{Reason: credential.Refused, Status: 422, Message: "no", Next: "give the right"}), provision.Denied, 0, "give the right"},
		{errors.New("credential file /x: it is empty"), provision.BadCredential, 0, "make the credential readable: exchange"},
	} {
		virtual(t, func(t *testing.T, _ func() time.Duration) {
			e := &exchange{load: func(context.Context, int) (credential.Secret, error) { return credential.Secret{}, c.err }}
			f := &forge{replies: []reply{ok("{}")}}
			client := newClient(t, setup{transport: f, source: e})
			for _, call := range []func() error{
				func() error { _, err := client.Do(t.Context(), post(), nil); return err },
				func() error { _, err := client.Do(t.Context(), get(), nil); return err },
			} {
				got := errorOf(t, call(), c.class, false) // it was never sent
				if got.RetryAfter != c.wait || got.Next != c.next || !strings.Contains(got.Message, "credential") || got.Status != 0 {
					t.Errorf("%v gives %+v", c.err, got)
				}
			}
			loads := int32(1) // the second call is told what the first met
			if _, asked := errors.AsType[*credential.Error](c.err); !asked {
				loads = 2 // what this machine has at hand is read each time
			}
			if f.sent() != 0 || e.loads.Load() != loads {
				t.Errorf("%d requests, %d loads", f.sent(), e.loads.Load())
			}
		})
	}
}

// TestUncertaintySurvivesARefusal has a request that may have taken effect be
// refused for its credential when it is repeated.
func TestUncertaintySurvivesARefusal(t *testing.T) {
	e := &exchange{load: func(_ context.Context, n int) (credential.Secret, error) { return named(n, 0), nil }}
	for _, c := range []struct {
		last  reply
		class provision.Class
	}{{status(403), provision.Denied}, {status(401), provision.BadCredential}} {
		virtual(t, func(t *testing.T, _ func() time.Duration) {
			f := &forge{replies: []reply{status(500), status(401), c.last}}
			_, err := newClient(t, setup{transport: f, source: e}).Do(t.Context(), del(), nil)
			want(t, err, c.class, true)
			if f.sent() != 3 {
				t.Errorf("%d requests", f.sent())
			}
		})
	}
}

// TestExchangeAfterARefusal has no new token to be had when the old one is
// refused.
func TestExchangeAfterARefusal(t *testing.T) {
	for _, c := range []struct {
		err   error
		class provision.Class
		says  string
	}{
		{trouble(time.Second), provision.Transient, "no whole reply"},
		{&credential.Error{Reason: credential.Unknown, Message: "the key is gone", Next: "make one"}, provision.BadCredential, "the key is gone"},
		{errors.New("file gone"), provision.BadCredential, "Unauthorized"},
	} {
		e := &exchange{load: func(_ context.Context, n int) (credential.Secret, error) {
			if n == 1 {
				return named(n, 0), nil
			}
			return credential.Secret{}, c.err
		}}
		f := &forge{replies: []reply{status(401)}}
		_, err := newClient(t, setup{transport: f, source: e}).Do(t.Context(), post(), nil)
		if got := errorOf(t, err, c.class, false); !strings.Contains(got.Message, c.says) || got.Next == "" || f.sent() != 1 {
			t.Errorf("gives %+v after %d requests", got, f.sent())
		}
	}
	e := &exchange{load: func(ctx context.Context, n int) (credential.Secret, error) {
		if n == 1 {
			return named(n, 0), nil
		}
		<-ctx.Done()
		return credential.Secret{}, ctx.Err()
	}}
	virtual(t, func(t *testing.T, _ func() time.Duration) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := newClient(t, setup{transport: &forge{replies: []reply{status(401)}}, source: e}).Do(ctx, post(), nil)
		if got := errorOf(t, err, provision.Transient, false); !errors.Is(got, context.DeadlineExceeded) {
			t.Errorf("gives %+v", got)
		}
		<-time.NewTimer(time.Hour).C // what was begun ends
	})
}
