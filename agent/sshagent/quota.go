package sshagent

import (
	"sync"
	"time"

	"deploykeyd/agent/unixsock"
)

// quota limits how often each account has something signed: burst times at once,
// and once every so long after that. Whoever has used up the burst waits. Since
// each connection has one request at a time, that is as long as all connections
// of the account take their turn at most: 0.32 s for a user's 64, 1.28 s for the
// 256 of a group.
type quota struct {
	every time.Duration
	burst int

	mu sync.Mutex
	// whole is when an account's burst will be whole again. There are as many
	// entries as users and groups are listed: no client can add to them.
	whole map[unixsock.Account]time.Time
}

// spend takes one signature out of an account's quota, and returns how long the
// account has to wait before it is made.
func (q *quota) spend(who unixsock.Account) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.whole == nil {
		q.whole = map[unixsock.Account]time.Time{}
	}
	now := time.Now()
	whole := q.whole[who]
	if whole.Before(now) {
		whole = now
	}
	whole = whole.Add(q.every)
	q.whole[who] = whole
	return max(0, whole.Sub(now)-time.Duration(q.burst)*q.every)
}
