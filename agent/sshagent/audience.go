package sshagent

import (
	"context"
	"time"

	"deploykeyd/agent/unixsock"
)

// audience is who may use a socket, which keys it lends, and how much of the
// process its users may take up. Audiences share nothing of that.
type audience struct {
	name string // in the audit lines
	ring *Keyring
	// knows tells at once whether a peer is probably admitted; admit decides
	// and may take seconds.
	knows, admit func(unixsock.Peer) bool
	// signed is called after each signature; may be nil.
	signed func()
	// read tells all about a peer's process and may take for ever.
	read func(unixsock.Peer) caller

	users, strangers, reads places
}

func newAudience(name string, ring *Keyring, knows, admit func(unixsock.Peer) bool) *audience {
	return &audience{
		name: name, ring: ring, knows: knows, admit: admit, read: callerOf,
		users:     places{perUser: maxPerUser, limit: maxTotal},
		strangers: places{perUser: maxPerStranger, limit: maxStrangers},
		// As many as connections: those that hang go on counting when theirs
		// have ended.
		reads: places{perUser: maxPerUser, limit: maxTotal},
	}
}

// enter takes a place for a peer's connection, and returns nil when there is
// none left. The place must be given back.
func (a *audience) enter(p unixsock.Peer) *places {
	at := &a.strangers
	if a.knows(p) {
		at = &a.users
	}
	if !at.enter(p.UID) {
		return nil
	}
	return at
}

// readLimit is how long a client waits until it is served without a hint.
const readLimit = time.Second

// callerOf returns what /proc tells about an admitted peer, or the kernel's
// word alone when /proc is silent: the peer can make the kernel wait for it,
// and a thread that waits so cannot be called back. It closes p.
func (a *audience) callerOf(ctx context.Context, p unixsock.Peer) caller {
	unknown := caller{Peer: p}
	if !a.reads.enter(p.UID) {
		_ = p.Close()
		return unknown
	}
	told := make(chan caller, 1)
	go func() {
		c := a.read(p)
		_ = p.Close()
		a.reads.leave(p.UID)
		told <- c
	}()
	timer := time.NewTimer(readLimit)
	defer timer.Stop()
	select {
	case c := <-told:
		return c
	case <-timer.C:
	case <-ctx.Done():
	}
	return unknown
}
