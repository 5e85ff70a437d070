package sshagent

import (
	"context"
	"slices"
	"sync"

	"deploykeyd/agent/unixsock"
)

// turns lets a few requests be worked on at once. When more of them wait, one
// account after the other gets a turn, however many requests each of them has: one
// with many busy connections delays another by one turn of its own.
type turns struct {
	mu    sync.Mutex
	free  int
	lines []*line // of the accounts that wait, the next one first
}

// line is one account's requests, the oldest first. It has at least one.
type line struct {
	who     unixsock.Account
	waiting []chan struct{} // each is closed when its turn has come
}

// enter waits for a turn of an account, at most until ctx ends. A turn must be
// given back with leave.
func (t *turns) enter(ctx context.Context, who unixsock.Account) error {
	came := t.queue(who)
	if came == nil {
		return nil
	}
	select {
	case <-came:
		return nil
	case <-ctx.Done():
	}
	if !t.unqueue(who, came) {
		t.leave() // it had come in the same moment
	}
	return ended(ctx)
}

// queue takes a turn that is free and returns nil, or has who wait for one.
func (t *turns) queue(who unixsock.Account) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free > 0 {
		t.free--
		return nil
	}
	came := make(chan struct{})
	if i := t.find(who); i >= 0 {
		t.lines[i].waiting = append(t.lines[i].waiting, came)
	} else {
		t.lines = append(t.lines, &line{who, []chan struct{}{came}})
	}
	return came
}

// unqueue has a request wait no more. It returns false when its turn has come.
func (t *turns) unqueue(who unixsock.Account, came chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.find(who)
	if i < 0 {
		return false
	}
	l := t.lines[i]
	n := slices.Index(l.waiting, came)
	if n < 0 {
		return false
	}
	if l.waiting = slices.Delete(l.waiting, n, n+1); len(l.waiting) == 0 {
		t.lines = slices.Delete(t.lines, i, i+1)
	}
	return true
}

func (t *turns) find(who unixsock.Account) int {
	return slices.IndexFunc(t.lines, func(l *line) bool { return l.who == who })
}

// leave gives a turn to the oldest request of the next account, which goes to the
// end of the queue with what else it has.
func (t *turns) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == 0 {
		t.free++
		return
	}
	next := t.lines[0]
	t.lines = slices.Delete(t.lines, 0, 1)
	close(next.waiting[0])
	if next.waiting = slices.Delete(next.waiting, 0, 1); len(next.waiting) > 0 {
		t.lines = append(t.lines, next)
	}
}
