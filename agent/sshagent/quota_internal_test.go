package sshagent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// spending returns how long uid waits for a signature.
func spending(t *testing.T, q *quota, uid uint32) time.Duration {
	t.Helper()
	began := time.Now()
	if err := q.spend(t.Context(), uid); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

func TestQuotaGivesABurstAndThenARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &newLimits().quota
		for n := range signBurst {
			if took := spending(t, q, 1001); took != 0 {
				t.Fatalf("signature %d waited for %v", n, took)
			}
		}
		for n := range 400 {
			if took := spending(t, q, 1001); took != signEvery {
				t.Fatalf("signature %d after the burst waited for %v, want %v", n, took, signEvery)
			}
		}
		if took := spending(t, q, 1002); took != 0 {
			t.Errorf("another user waited for %v", took)
		}
		<-time.After(time.Second) // gives 200 back
		for n := range 200 {
			if took := spending(t, q, 1001); took != 0 {
				t.Fatalf("signature %d after a second's pause waited for %v", n, took)
			}
		}
		if took := spending(t, q, 1001); took != signEvery {
			t.Errorf("one more waited for %v", took)
		}
	})
}

func TestQuotaRefusesWhoWouldWaitTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &quota{every: time.Second, burst: 5, patience: 3 * time.Second}
		var waits []time.Duration
		for {
			wait, ok := q.reserve(1001, time.Now())
			if !ok {
				break
			}
			waits = append(waits, wait)
		}
		if len(waits) != 5+3 || waits[4] != 0 || waits[7] != 3*time.Second {
			t.Errorf("waits %v", waits)
		}
		err := q.spend(t.Context(), 1001)
		if r, ok := errors.AsType[*refusal](err); !ok || r.next == "" || !strings.Contains(r.reason, "user 1001") {
			t.Errorf("refused with %v", err)
		}
		<-time.After(time.Second) // a refusal costs nothing
		if wait, ok := q.reserve(1001, time.Now()); !ok || wait != 3*time.Second {
			t.Errorf("a second later: %v, %v", wait, ok)
		}
	})
}

func TestQuotaWaitsNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &quota{every: time.Minute, patience: time.Hour}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := q.spend(ctx, 1001); !errors.Is(err, errStopping) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// Not even somebody with many user ids, such as a user of containers has, fills
// the memory: whoever has signed once is forgotten after 5 ms.
func TestQuotaForgetsUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &newLimits().quota
		most := 0
		for uid := range uint32(100_000) {
			if uid%20 == 0 {
				<-time.After(time.Millisecond) // 20,000 signatures a second
			}
			spending(t, q, uid)
			most = max(most, len(q.whole))
		}
		if most > 400 { // twice the hundred of 5 ms, and as many again until they are looked through
			t.Errorf("up to %d users were remembered", most)
		}
	})
}
