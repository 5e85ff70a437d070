package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"deploykeyd/provision"
)

const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// backoff spaces out retries: doubling from firstRetry to lastRetry, each
// spread by up to a quarter so that a fleet that booted together does not come
// back together. The zero value is ready.
type backoff struct{ next time.Duration }

// after returns how long to wait after err: what the forge asked for, if that
// is longer.
func (b *backoff) after(err error) time.Duration {
	b.next = min(max(2*b.next, firstRetry), lastRetry)
	wait := b.next + rand.N(b.next/4+1) //nolint:gosec // G404: spreading retries needs no secret
	if e, ok := errors.AsType[*provision.Error](err); ok {
		wait = max(wait, e.RetryAfter)
	}
	return wait
}

func (b *backoff) reset() { b.next = 0 }

// pause waits for d and reports whether ctx is still alive then.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
