package sshagent

import (
	"runtime"
	"sync"
	"time"
)

// Open connections. A build that clones many repositories at once has a few
// dozen; the totals keep many users from taking all file descriptors. Those
// that nobody has listed have a few places of their own, in which they wait for
// the refusal, so that they take none from the others.
const (
	maxPerUser     = 64
	maxTotal       = 512
	maxPerStranger = 8
	maxStrangers   = 32
)

// Signatures of one user. A busy build machine makes a few a second, and some
// hundreds at once when a pipeline starts. Each has its audit line: these
// figures are also what keeps a user from filling the disk with them, since a
// minute holds at most 14,000 lines of one user. The first half minute, 8,000,
// stays below what journald takes from a service by default (10,000 in 30 s).
const (
	signEvery = time.Second / 200 // in the long run
	signBurst = 2000              // at once, after a pause of ten seconds
	// The longest that a request waits; one that had to wait longer is refused.
	// A user's 64 connections wait for 0.32 s at most.
	signPatience = 3 * time.Second
)

// limits is what the users of a group of sockets may take up, over all of these
// together. A connection has one request in work at a time, so that places also
// limit a user's requests.
type limits struct {
	users, strangers, reads places
	quota                   quota
}

func newLimits() *limits {
	return &limits{
		users:     places{perUser: maxPerUser, limit: maxTotal},
		strangers: places{perUser: maxPerStranger, limit: maxStrangers},
		// As many as connections: those that hang go on counting when theirs
		// have ended.
		reads: places{perUser: maxPerUser, limit: maxTotal},
		quota: quota{every: signEvery, burst: signBurst, patience: signPatience},
	}
}

// newTurns lets as many requests be worked on at once as there are processors.
func newTurns() *turns { return &turns{free: runtime.GOMAXPROCS(0)} }

// places counts what is taken, by user.
type places struct {
	perUser, limit int

	mu    sync.Mutex
	users map[uint32]int
	total int
}

// enter takes a place for uid. It returns false when there is none left;
// otherwise the place must be given back with leave.
func (p *places) enter(uid uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users[uid] >= p.perUser || p.total >= p.limit {
		return false
	}
	if p.users == nil {
		p.users = map[uint32]int{}
	}
	p.users[uid]++
	p.total++
	return true
}

func (p *places) leave(uid uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total--
	if p.users[uid]--; p.users[uid] == 0 {
		delete(p.users, uid)
	}
}
