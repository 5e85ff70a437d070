package sshagent

import (
	"math"
	"sync"
	"time"
)

// Refusals in the audit log. An honest build that does something wrong causes a
// few; a hostile one would fill the disk.
const (
	maxRefusals   = 60          // lines of one user in a refusalWindow
	refusalWindow = time.Minute // from a user's first refusal on
	maxCounted    = 64          // users that are told apart; all others count as one
)

// otherUsers is the uid of no user.
const otherUsers = math.MaxUint32

// refusals counts what each user was refused of late.
type refusals struct {
	mu     sync.Mutex
	counts map[uint32]int
}

// count reports whether one more refusal of uid is to be logged. When the
// user's minute is over and some were not, it says how many to untold.
func (r *refusals) count(uid uint32, untold func(uid uint32, more int)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = map[uint32]int{}
	}
	if _, known := r.counts[uid]; !known && len(r.counts) >= maxCounted {
		uid = otherUsers
	}
	r.counts[uid]++
	if r.counts[uid] == 1 {
		time.AfterFunc(refusalWindow, func() {
			if more := r.forget(uid) - maxRefusals; more > 0 {
				untold(uid, more)
			}
		})
	}
	return r.counts[uid] <= maxRefusals
}

// forget ends a user's minute and returns how many refusals it had.
func (r *refusals) forget(uid uint32) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.counts[uid]
	delete(r.counts, uid)
	return n
}
