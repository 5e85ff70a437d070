package unixsock

import (
	"math"
	"sync"
	"time"
)

// Refusals that a log is to hold. An honest build that does something wrong
// causes a few; a hostile one would fill the disk.
const (
	MaxRefusals   = 60          // lines of one user in a RefusalWindow
	RefusalWindow = time.Minute // from a user's first refusal on
	maxCounted    = 64          // users that are told apart; all others count as one
)

// OtherUsers is the uid of no user. It stands for all those that Refusals does
// not tell apart.
const OtherUsers = math.MaxUint32

// Refusals counts what each user was refused of late, and so bounds what is
// logged of it: by MaxRefusals lines a minute and user, and by 65 times as many
// for all users together. The zero value is ready; it is safe for concurrent use.
type Refusals struct {
	mu     sync.Mutex
	counts map[uint32]int
}

// Count reports whether one more refusal of uid is to be logged. When the user's
// minute is over and some were not, it tells their number to the untold of the
// minute's first refusal, on a goroutine of its own; uid is OtherUsers when they
// are several users'.
func (r *Refusals) Count(uid uint32, untold func(uid uint32, more int)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = map[uint32]int{}
	}
	if _, known := r.counts[uid]; !known && len(r.counts) >= maxCounted {
		uid = OtherUsers
	}
	r.counts[uid]++
	if r.counts[uid] == 1 {
		time.AfterFunc(RefusalWindow, func() {
			if more := r.forget(uid) - MaxRefusals; more > 0 {
				untold(uid, more)
			}
		})
	}
	return r.counts[uid] <= MaxRefusals
}

// forget ends a user's minute and returns how many refusals it had.
func (r *Refusals) forget(uid uint32) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.counts[uid]
	delete(r.counts, uid)
	return n
}
