package control

import (
	"context"
	"log/slog"
	"net"
	"sync"

	"deploykeyd/agent/unixsock"
)

// limitedListener notes who connects and closes what a user has too many of at
// once: nobody waits behind another user. Users that are not known have few
// connections in all, however many they are: who has subordinate ids is
// thousands of users.
type limitedListener struct {
	net.Listener
	log   *slog.Logger
	knows func(unixsock.Peer) bool // at once

	mu        sync.Mutex
	open      map[uint32]int // connections by uid
	strangers int            // connections of those who were not known
}

// Accept returns the next connection, always a *peerConn, whose peer is known.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer, err := unixsock.PeerOf(c)
		if err == nil {
			err = peer.Close() // its process is of no interest here
		}
		if err != nil {
			l.log.Warn("control connection closed: its user cannot be told", slog.String("error", err.Error()))
			_ = c.Close()
			continue
		}
		stranger := !l.knows(peer)
		if !l.take(peer.UID, stranger) {
			l.log.Debug("control connection closed: there are too many", slog.Uint64("uid", uint64(peer.UID)))
			_ = c.Close()
			continue
		}
		return &peerConn{Conn: c, peer: peer, release: sync.OnceFunc(func() { l.give(peer.UID, stranger) })}, nil
	}
}

func (l *limitedListener) take(uid uint32, stranger bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[uid] >= maxPerUser || stranger && l.strangers >= maxStrangers {
		return false
	}
	if l.open == nil {
		l.open = map[uint32]int{}
	}
	l.open[uid]++
	if stranger {
		l.strangers++
	}
	return true
}

func (l *limitedListener) give(uid uint32, stranger bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[uid]--
	if l.open[uid] == 0 {
		delete(l.open, uid)
	}
	if stranger {
		l.strangers--
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
