package sshagent

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"deploykeyd/agent/unixsock"
)

// Open connections. A build that clones many repositories at once has a few
// dozen; the totals keep many users from taking all file descriptors.
//
// Those who are let in for the sake of a group are counted together. One of them
// may be as many users as it likes: whoever has subordinate uids (subuid(5)) has
// tens of thousands, all of them in its groups. So groups leave half of the
// places to the users that are listed themselves.
//
// Those that nobody has listed have a few places of their own, in which they wait
// for the refusal, so that they take none from the others.
const (
	maxPerUser     = 64
	maxOfGroups    = 256 // of all groups together
	maxTotal       = 512
	maxPerStranger = 8
	maxStrangers   = 32
)

// Signatures of one account. A busy build machine makes a few a second, and some
// hundreds at once when a pipeline starts. Each has its audit line: these
// figures are also what keeps an account from filling the disk with them, since a
// minute holds at most 14,000 lines of one. The first half minute, 8,000, stays
// below what journald takes from a service by default (10,000 in 30 s).
const (
	signEvery = time.Second / 200 // in the long run
	signBurst = 2000              // at once, after a pause of ten seconds
)

// limits is what the users of a group of sockets may take up, over all of these
// together. A connection has one request in work at a time, so that places also
// limit an account's requests.
type limits struct {
	users, strangers, reads places
	quota                   quota
}

func newLimits() *limits {
	return &limits{
		users:     places{perUser: maxPerUser, ofGroups: maxOfGroups, limit: maxTotal},
		strangers: places{perUser: maxPerStranger, limit: maxStrangers},
		// As many as connections: those that hang go on counting when theirs
		// have ended.
		reads: places{perUser: maxPerUser, ofGroups: maxOfGroups, limit: maxTotal},
		quota: quota{every: signEvery, burst: signBurst},
	}
}

// newTurns lets as many requests be worked on at once as there are processors.
func newTurns() *turns { return &turns{free: runtime.GOMAXPROCS(0)} }

// places counts what is taken, by account.
type places struct {
	perUser  int // of a user
	ofGroups int // of all groups together
	limit    int // of all

	mu            sync.Mutex
	users         map[uint32]int
	groups, total int
}

// place is one that is taken. It must be given back with leave.
type place struct {
	of  *places
	who unixsock.Account
}

// enter takes a place for an account, or says why there is none.
func (p *places) enter(who unixsock.Account) (place, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.total >= p.limit, who.Group && p.groups >= p.ofGroups, !who.Group && p.users[who.ID] >= p.perUser:
		return place{}, p.full(who)
	case who.Group:
		p.groups++
	default:
		if p.users == nil {
			p.users = map[uint32]int{}
		}
		p.users[who.ID]++
	}
	p.total++
	return place{p, who}, nil
}

func (p *places) full(who unixsock.Account) error {
	const reason = "too many connections are open"
	switch {
	case who.Group:
		return &refusal{reason: reason, next: fmt.Sprintf(
			"end those that are not in use: all users of the listed groups together may have %d; a user that is listed itself under users: has places of its own", p.ofGroups)}
	case p.ofGroups == 0: // for strangers
		return &refusal{reason: reason, next: fmt.Sprintf(
			"try again: a user that is not known yet may have %d while it is looked up, all such users together %d", p.perUser, p.limit)}
	}
	return &refusal{reason: reason, next: fmt.Sprintf(
		"end those that are not in use: a user may have %d, all together %d", p.perUser, p.limit)}
}

func (p place) leave() {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.of.total--
	if p.who.Group {
		p.of.groups--
		return
	}
	if p.of.users[p.who.ID]--; p.of.users[p.who.ID] == 0 {
		delete(p.of.users, p.who.ID)
	}
}

// pause waits for d, at most until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}
