package sshagent

import (
	"bytes"
	"context"
	"time"

	"deploykeyd/agent/unixsock"
)

// audience is who may use a socket, which keys it lends, and how much of the
// process its users may take up.
type audience struct {
	name string // in the audit lines
	ring *Keyring
	only *scope // the repository whose own socket it is; nil for a shared one
	// known tells at once whether a peer is probably admitted, and on whose
	// account; admit decides and may take seconds.
	known, admit judge
	// signed is called after each signature; may be nil.
	signed func()
	// read tells all about a peer's process and may take for ever.
	read func(unixsock.Peer) caller
	uses *usage // where it is counted; nil when it is not

	*limits
	turns *turns // of the whole process
}

// judge says whether a peer is let in, and on whose account.
type judge func(unixsock.Peer) (unixsock.Account, bool)

func newAudience(name string, ring *Keyring, known, admit judge, t *turns) *audience {
	return &audience{name: name, ring: ring, known: known, admit: admit, read: callerOf, limits: newLimits(), turns: t}
}

// loansOf returns the loans of the key with that wire form that the socket's
// clients may use, newest first.
func (a *audience) loansOf(blob []byte) []loan {
	var found []loan
	for _, l := range a.ring.all() {
		if bytes.Equal(l.blob, blob) && (a.only == nil || a.only.holds(l)) {
			found = append(found, l)
		}
	}
	return found
}

// enter takes a place for a peer's connection, or says why there is none.
func (a *audience) enter(p unixsock.Peer) (place, error) {
	if who, ok := a.known(p); ok {
		return a.users.enter(who)
	}
	return a.strangers.enter(unixsock.Account{ID: p.UID})
}

// readLimit is how long a client waits until it is served without a hint.
const readLimit = time.Second

// callerOf returns what /proc tells about an admitted peer, or the kernel's
// word alone when /proc is silent: the peer can make the kernel wait for it,
// and a thread that waits so cannot be called back.
func (a *audience) callerOf(ctx context.Context, p unixsock.Peer, who unixsock.Account) caller {
	at, err := a.reads.enter(who)
	if err != nil {
		return caller{Peer: p, account: who}
	}
	p.OpenProcess()
	told := make(chan caller, 1)
	go func() {
		c := a.read(p)
		c.account = who
		_ = p.Close()
		at.leave()
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
	return caller{Peer: p, account: who}
}
