package sshagent

import "sync"

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
