package sshagent

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// quota limits how often each user has something signed: burst times at once,
// and once every so long after that. Whoever has used up the burst waits, and is
// refused when the wait would be longer than patience.
type quota struct {
	every    time.Duration
	burst    int
	patience time.Duration

	mu sync.Mutex
	// whole is when a user's burst will be whole again. A user whose time has
	// passed needs no entry. One that signs n times has an entry for n times
	// every: so many users who sign little have few entries at any time.
	whole map[uint32]time.Time
	sweep int // number of entries at which those that have passed are removed
}

// minSweep is the least number of entries that are looked through.
const minSweep = 64

// spend takes one signature out of uid's quota. It waits for as long as the user
// has to, at most until ctx ends.
func (q *quota) spend(ctx context.Context, uid uint32) error {
	wait, ok := q.reserve(uid, time.Now())
	switch {
	case !ok:
		return &refusal{
			reason: fmt.Sprintf("user %d asks for more signatures than its quota: %d at once, then one every %v", uid, q.burst, q.every),
			next:   "find out what asks so often: the audit lines name its processes; each user has a quota of its own",
		}
	case wait <= 0:
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}

// reserve returns how long uid has to wait for one more signature, and false
// when that is too long.
func (q *quota) reserve(uid uint32, now time.Time) (time.Duration, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	whole := q.whole[uid]
	if whole.Before(now) {
		whole = now
	}
	whole = whole.Add(q.every)
	wait := whole.Sub(now) - time.Duration(q.burst)*q.every
	if wait > q.patience {
		return 0, false
	}
	q.forget(now)
	q.whole[uid] = whole
	return wait, true
}

// forget removes the users whose burst is whole again, whenever there are twice
// as many entries as the last time left.
func (q *quota) forget(now time.Time) {
	if q.whole == nil {
		q.whole, q.sweep = map[uint32]time.Time{}, minSweep
	}
	if len(q.whole) < q.sweep {
		return
	}
	for uid, whole := range q.whole {
		if !whole.After(now) {
			delete(q.whole, uid)
		}
	}
	q.sweep = max(minSweep, 2*len(q.whole))
}
