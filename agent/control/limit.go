package control

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"

	"deploykeyd/agent/unixsock"
)

// Open connections. Each kind of callers has its own, so that none takes a place
// from another: root and the daemon's own user always have theirs, the users of
// the configuration too, and who has many uids has no more for that. They are
// 608 in all.
const (
	maxPerUser     = 32
	maxCommanders  = 2 * maxPerUser
	maxUsers       = 256
	maxPerGroup    = 4 * maxPerUser // of all its members
	maxGroups      = 256
	maxPerStranger = 8
	maxStrangers   = 32 // waiting to be refused, most of them
)

// limitedListener notes who connects and closes at once what is too much:
// nobody waits behind another.
type limitedListener struct {
	net.Listener
	known  func(unixsock.Peer) (_ unixsock.Account, known bool) // at once
	reject func(unixsock.Peer)                                  // tells that a connection was closed
	log    *slog.Logger
	open   sync.WaitGroup // one for each connection that was returned

	commanders, users, groups, strangers places
}

func newLimitedListener(l net.Listener, s *Server) *limitedListener {
	return &limitedListener{
		Listener: l, known: s.known, reject: s.tooMany, log: s.log,
		commanders: places{each: maxPerUser, all: maxCommanders},
		users:      places{each: maxPerUser, all: maxUsers},
		groups:     places{each: maxPerGroup, all: maxGroups},
		strangers:  places{each: maxPerStranger, all: maxStrangers},
	}
}

// Close does nothing: whether the listener is closed at all is for Serve to say,
// not for its HTTP server.
func (l *limitedListener) Close() error { return nil }

// Accept returns the next connection, always a *peerConn, whose peer is known.
// Once the server is to drain it returns errDrained: the deadline that has ended
// it would be taken for trouble that passes.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, errDrained
		}
		if err != nil {
			return nil, err
		}
		peer, err := unixsock.PeerOf(c)
		if err != nil {
			l.log.Warn("control connection closed: its user cannot be told", slog.String("error", err.Error()))
			_ = c.Close()
			continue
		}
		account, at := l.placesOf(peer)
		if !at.take(account) {
			_ = c.Close()
			l.reject(peer)
			continue
		}
		l.open.Add(1)
		return &peerConn{Conn: c, peer: peer, release: sync.OnceFunc(func() {
			at.give(account)
			l.open.Done()
		})}, nil
	}
}

// placesOf returns where a peer's connection counts, and as whose.
func (l *limitedListener) placesOf(p unixsock.Peer) (unixsock.Account, *places) {
	if mayCommand(p) {
		return unixsock.Account{ID: p.UID}, &l.commanders
	}
	switch account, known := l.known(p); {
	case !known:
		return account, &l.strangers
	case account.Group:
		return account, &l.groups
	default:
		return account, &l.users
	}
}

// places counts the open connections of one kind of callers.
type places struct {
	each, all int

	mu    sync.Mutex
	open  map[unixsock.Account]int
	total int
}

func (p *places) take(a unixsock.Account) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[a] >= p.each || p.total >= p.all {
		return false
	}
	if p.open == nil {
		p.open = map[unixsock.Account]int{}
	}
	p.open[a]++
	p.total++
	return true
}

func (p *places) give(a unixsock.Account) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total--
	if p.open[a]--; p.open[a] == 0 {
		delete(p.open, a)
	}
}

// peerConn is a connection of a known user.
type peerConn struct {
	net.Conn
	peer    unixsock.Peer
	release func()
}

func (c *peerConn) Close() error {
	c.release()
	return c.Conn.Close()
}

// peerKey is the key of a connection's peer in the context of its requests.
type peerKey struct{}

func withPeer(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, c.(*peerConn).peer) //nolint:forcetypeassert // what Accept returns
}
