package rest_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/credential"
	"deploykeyd/provision/internal/rest"
)

// callers has as many workers as a fleet has repositories call again and again,
// each with a pause of its own that grows, until the time is up.
func callers(ctx context.Context, client *rest.Client, during time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, during)
	defer cancel()
	var all sync.WaitGroup
	for i := range 300 {
		all.Go(func() {
			for pause := time.Second; ctx.Err() == nil; pause = min(2*pause, time.Minute) {
				_, _ = client.Do(context.WithoutCancel(ctx), get(), nil)
				select {
				case <-time.NewTimer(pause + time.Duration(i)*13*time.Millisecond).C:
				case <-ctx.Done():
				}
			}
		})
	}
	all.Wait()
}

// TestManyCallersShareFailures has a forge be down for half an hour.
func TestManyCallersShareFailures(t *testing.T) {
	for name, c := range map[string]struct {
		err         error
		least, most int32
	}{
		"down":              {trouble(0), 25, 40},
		"asks for an hour":  {&credential.Error{Reason: credential.Limited, RetryAfter: time.Hour}, 1, 1},
		"asks for too much": {trouble(24 * time.Hour), 3, 3}, // a page for maintenance
		"asks for 10 min":   {&credential.Error{Reason: credential.Limited, RetryAfter: 10 * time.Minute}, 3, 3},
		"asks for a moment": {trouble(time.Second), 25, 40},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T, _ func() time.Duration) {
				e := &exchange{load: func(context.Context, int) (credential.Secret, error) {
					<-time.NewTimer(50 * time.Millisecond).C
					return credential.Secret{}, c.err
				}}
				f := &forge{replies: []reply{ok("{}")}}
				callers(t.Context(), newClient(t, setup{transport: f, source: e}), 30*time.Minute-time.Second)
				if n := e.loads.Load(); n < c.least || n > c.most || f.sent() != 0 {
					t.Errorf("%d loads, %d requests", n, f.sent())
				}
			})
		})
	}
}

// TestFailureIsTold gives those who come within the pause the same failure, with
// what is left of the time that was asked for.
func TestFailureIsTold(t *testing.T) {
	virtual(t, func(t *testing.T, passed func() time.Duration) {
		e := &exchange{load: func(_ context.Context, n int) (credential.Secret, error) {
			if n == 1 {
				return credential.Secret{}, &credential.Error{
					Reason: credential.Limited, RetryAfter: time.Hour, Message: "too often", Next: "wait",
				}
			}
			return named(n, 0), nil
		}}
		client := newClient(t, setup{transport: &forge{replies: []reply{ok("{}")}}, source: e})
		for _, at := range []time.Duration{0, 10 * time.Minute, time.Hour - time.Second} {
			<-time.NewTimer(at - passed()).C
			_, err := client.Do(t.Context(), get(), nil)
			if got := errorOf(t, err, provision.RateLimited, false); got.RetryAfter != time.Hour-at || got.Next != "wait" || !strings.Contains(got.Message, "too often") {
				t.Errorf("at %v gives %+v", at, got)
			}
		}
		<-time.NewTimer(time.Hour - passed()).C
		if _, err := client.Do(t.Context(), get(), nil); err != nil || e.loads.Load() != 2 {
			t.Errorf("after the time gives %v, %d loads", err, e.loads.Load())
		}
	})
}

// TestFinalFailuresAreSharedForAMoment is about what a person puts right, and
// tries at once then.
func TestFinalFailuresAreSharedForAMoment(t *testing.T) {
	for reason, class := range map[credential.Reason]provision.Class{
		credential.Refused: provision.Denied, credential.Unknown: provision.BadCredential, credential.Moved: provision.Moved,
	} {
		virtual(t, func(t *testing.T, _ func() time.Duration) {
			e := &exchange{load: func(context.Context, int) (credential.Secret, error) {
				return credential.Secret{}, &credential.Error{Reason: reason, Message: "no", Next: "do it"}
			}}
			client := newClient(t, setup{transport: &forge{replies: []reply{ok("{}")}}, source: e})
			for second := range 20 {
				for range 10 {
					_, err := client.Do(t.Context(), get(), nil)
					if got := errorOf(t, err, class, false); got.Next != "do it" || got.RetryAfter != 0 {
						t.Errorf("gives %+v", got)
					}
				}
				if int(e.loads.Load()) != second+1 {
					t.Fatalf("%d loads after %d s", e.loads.Load(), second)
				}
				<-time.NewTimer(time.Second).C
			}
		})
	}
}

// TestStopDoesNotWaitForAPause lets who has little time try again each second.
func TestStopDoesNotWaitForAPause(t *testing.T) {
	virtual(t, func(t *testing.T, passed func() time.Duration) {
		mended := false
		e := &exchange{load: func(_ context.Context, n int) (credential.Secret, error) {
			if mended {
				return named(n, 0), nil
			}
			return credential.Secret{}, trouble(0)
		}}
		client := newClient(t, setup{transport: &forge{replies: []reply{ok("{}")}}, source: e})
		for range 10 {
			<-time.NewTimer(time.Minute).C
			_, err := client.Do(t.Context(), get(), nil)
			want(t, err, provision.Transient, false)
		}
		before := e.loads.Load()
		begin := passed()
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		for passed()-begin < 10*time.Second {
			_, err := client.Do(ctx, get(), nil)
			want(t, err, provision.Transient, false)
			<-time.NewTimer(100 * time.Millisecond).C
		}
		if n := e.loads.Load() - before; n != 9 {
			t.Errorf("%d loads in ten seconds", n)
		}
		mended = true
		<-time.NewTimer(time.Second).C
		if _, err := client.Do(ctx, get(), nil); err != nil {
			t.Error(err)
		}
	})
}

// TestStopIsNotKeptByWhatWasAskedFor has a server ask for a day shortly before a
// stop of 25 s, which leaves it alone for ten seconds each time and no longer.
func TestStopIsNotKeptByWhatWasAskedFor(t *testing.T) {
	virtual(t, func(t *testing.T, passed func() time.Duration) {
		e := &exchange{load: func(_ context.Context, n int) (credential.Secret, error) {
			if n == 3 {
				return named(n, 0), nil
			}
			return credential.Secret{}, &credential.Error{Reason: credential.Limited, RetryAfter: 24 * time.Hour}
		}}
		client := newClient(t, setup{transport: &forge{replies: []reply{ok("{}")}}, source: e})
		_, err := client.Do(t.Context(), get(), nil)
		want(t, err, provision.RateLimited, false)
		begin := passed()
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		for err != nil && passed()-begin < 24*time.Second {
			if _, err = client.Do(ctx, get(), nil); err == nil {
				break
			}
			if wait := errorOf(t, err, provision.RateLimited, false).RetryAfter; e.loads.Load() < 2 && wait > 10*time.Second {
				t.Errorf("is told to wait %v", wait)
			}
			<-time.NewTimer(time.Second).C
		}
		if err != nil || passed()-begin < 20*time.Second || e.loads.Load() != 3 {
			t.Errorf("after %v, %d loads: %v", passed()-begin, e.loads.Load(), err)
		}
	})
}

// TestRefusalBypassesAPauseOnce has the forge refuse a token whose renewal has
// just failed.
func TestRefusalBypassesAPauseOnce(t *testing.T) {
	virtual(t, func(t *testing.T, passed func() time.Duration) {
		e := &exchange{load: func(_ context.Context, n int) (credential.Secret, error) {
			if n > 1 {
				return credential.Secret{}, trouble(10 * time.Minute)
			}
			return named(n, time.Hour), nil
		}}
		f := &forge{replies: []reply{ok("{}"), ok("{}"), ok("{}"), status(401)}}
		client := newClient(t, setup{transport: f, source: e})
		for _, at := range []time.Duration{0, 50 * time.Minute} {
			<-time.NewTimer(at - passed()).C
			if _, err := client.Do(t.Context(), get(), nil); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		<-time.NewTimer(3 * time.Minute).C // longer than between other renewals
		if _, err := client.Do(t.Context(), get(), nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if e.loads.Load() != 2 {
			t.Errorf("%d loads before the time that was asked for", e.loads.Load())
		}
		for range 20 {
			_, err := client.Do(t.Context(), get(), nil)
			want(t, err, provision.Transient, false)
		}
		if e.loads.Load() != 3 {
			t.Errorf("%d loads", e.loads.Load())
		}
	})
}
