package sshagent

import "sync"

// Open connections. A build that clones many repositories at once has a few
// dozen; the second limit keeps many users from taking all file descriptors.
const (
	maxPerUser = 64
	maxTotal   = 512
)

// connections counts those that are open, by user.
type connections struct {
	mu    sync.Mutex
	users map[uint32]int
	total int
}

// enter takes a place for a connection of uid. It returns false when there is
// none left; otherwise the place must be given back with leave.
func (c *connections) enter(uid uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users[uid] >= maxPerUser || c.total >= maxTotal {
		return false
	}
	if c.users == nil {
		c.users = map[uint32]int{}
	}
	c.users[uid]++
	c.total++
	return true
}

func (c *connections) leave(uid uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.users[uid]--; c.users[uid] == 0 {
		delete(c.users, uid)
	}
}
