package sshagent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"deploykeyd/agent/key"
	"deploykeyd/agent/unixsock"
	"deploykeyd/provision"
)

// Options say what a Server serves, and whom.
type Options struct {
	Forges []Forge
	Users  *unixsock.Users // who may use the published keys; nil means nobody
	Logger *slog.Logger    // for the audit lines; nil discards them
}

// Server lends keys over sockets. It is safe for concurrent use.
type Server struct {
	forges []*Forge
	ring   Keyring
	uses   usage
	users  *audience
	audit  *audit

	handover *handover
}

// New returns a server that lends no key yet.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{audit: &audit{logger: o.Logger}, handover: newHandover()}
	for _, f := range o.Forges {
		s.forges = append(s.forges, &f)
		s.uses.know(f.Name, "")
	}
	nobody := func(unixsock.Peer) (unixsock.Account, bool) { return unixsock.Account{}, false }
	s.users = newAudience("users", &s.ring, nobody, nobody, newTurns())
	s.users.uses = &s.uses
	if o.Users != nil {
		s.users.known, s.users.admit = o.Users.Known, o.Users.Admit
	}
	return s
}

// Publish lends a key to the users for a repository. It takes effect before it
// returns. A forge that was not in the Options, and a key that is lent for
// another forge already, are logged and ignored.
func (s *Server) Publish(forge string, repo provision.Repository, k *key.Key) {
	f := s.forge(forge)
	if f == nil {
		s.audit.logger.Error("unknown forge", slog.String("forge", forge))
		return
	}
	s.uses.know(forge, repo)
	if err := s.ring.Publish(f, repo, k); err != nil {
		s.audit.logger.Error("key not lent", slog.String("forge", forge), slog.String("repository", string(repo)),
			slog.String("key", fingerprint(k.Public())), slog.String("reason", err.Error()))
	}
}

// Withdraw ends what Publish began, on open connections too. It takes effect
// before it returns and waits for no client.
func (s *Server) Withdraw(forge string, repo provision.Repository, k *key.Key) {
	if f := s.forge(forge); f != nil {
		s.ring.Withdraw(f, repo, k)
	}
}

// forge returns the forge with that name, or nil.
func (s *Server) forge(name string) *Forge {
	for _, f := range s.forges {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// finishLimit is how long Serve waits for connections that it has closed.
const finishLimit = 2 * time.Second

// Serve lends the published keys on l until ctx ends; then it closes l and
// every open connection, and returns nil within about two seconds, whatever the
// clients do. Another error means that l broke. After Drain it returns nil and
// leaves l open. It may run for several listeners at once. The connections of l
// must be those of a Unix socket.
func (s *Server) Serve(ctx context.Context, l Listener) error {
	return s.serveUntilDrained(ctx, l, s.users)
}

// serveUntilDrained serves a socket that can be left to a successor.
func (s *Server) serveUntilDrained(ctx context.Context, l Listener, a *audience) error {
	if !s.handover.enter(l) {
		return nil
	}
	defer s.handover.leave(l)
	return s.serve(ctx, l, a)
}

func (s *Server) serve(ctx context.Context, l net.Listener, a *audience) error {
	var wg sync.WaitGroup
	defer s.finish(&wg, a)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			s.receive(ctx, &wg, c, a)
		case ctx.Err() != nil:
			return nil // told to stop
		case errors.Is(err, os.ErrDeadlineExceeded): // told to drain
			s.await(ctx, &wg, a)
			if ctx.Err() != nil { // a stop has come meanwhile
				_ = l.Close()
			}
			return nil
		case passing(err):
			s.audit.logger.WarnContext(ctx, "accept failed", slog.Any("error", err))
			_ = pause(ctx, 100*time.Millisecond) // gives connections time to end
		default:
			_ = l.Close()
			return fmt.Errorf("serve the %s socket: %w", a.name, err)
		}
	}
}

// passing reports whether accepting may work again later (accept(2)).
func passing(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.ECONNABORTED, syscall.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// finish waits for open connections to end.
func (s *Server) finish(open *sync.WaitGroup, a *audience) {
	done := make(chan struct{})
	go func() {
		open.Wait()
		close(done)
	}()
	t := time.NewTimer(finishLimit)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		s.audit.logger.Warn("connections left to end by themselves", slog.String("socket", a.name))
	}
}

// receive asks the kernel who has come and has him served if there is a place.
// It waits for nobody.
func (s *Server) receive(ctx context.Context, wg *sync.WaitGroup, c net.Conn, a *audience) {
	peer, err := unixsock.PeerOf(c)
	if err != nil {
		a.uses.refused(event{})
		s.audit.logger.WarnContext(ctx, "peer unknown", slog.Any("error", err))
		_ = c.Close()
		return
	}
	session := &session{forges: s.forges, audience: a, caller: caller{Peer: peer}, audit: s.audit}
	if a.only != nil {
		session.forges = []*Forge{a.only.forge}
	}
	at, err := a.enter(peer)
	if err != nil {
		session.refused(ctx, event{action: "connect"}, err)
		_ = c.Close()
		return
	}
	wg.Go(func() { session.connection(ctx, c, at) })
}

// connection serves one client, who has a place there, as far as he may be
// served at all.
func (s *session) connection(ctx context.Context, c net.Conn, at place) {
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	peer, a := s.caller.Peer, s.audience
	defer func() { at.leave() }()
	who, ok := a.admit(peer)
	var err error
	switch {
	case !ok && ctx.Err() != nil:
		err = errStopping // closed already, and then the kernel tells no groups
	case !ok:
		err = &refusal{
			reason: fmt.Sprintf("user %d is not listed", peer.UID),
			next:   "if its builds are to use the keys, add the user to users: in the configuration, or one of its groups to groups:",
		}
	case at != place{&a.users, who}: // it has just appeared, or as somebody else
		var its place
		if its, err = a.users.enter(who); err == nil {
			at.leave()
			at = its
		}
	}
	if err != nil {
		s.refused(ctx, event{action: "connect"}, err)
		return
	}
	s.caller = a.callerOf(ctx, peer, who)
	s.serve(ctx, c)
}

// serve answers the client's messages until it hangs up, errs beyond repair or
// has been there for too long.
func (s *session) serve(ctx context.Context, c net.Conn) {
	defer s.leave(ctx)
	m := newMessages(c)
	untilOld, cancel := context.WithDeadlineCause(ctx, m.end, errTooOld)
	defer cancel()
	for m.await() {
		message, err := m.next()
		if err != nil {
			s.refused(ctx, event{action: "message"}, err)
			if _, ok := errors.AsType[tooLongError](err); ok {
				_ = m.reply([]byte{msgFailure})
			}
			return
		}
		if err := m.reply(s.answer(untilOld, message)); err != nil {
			return
		}
	}
}
