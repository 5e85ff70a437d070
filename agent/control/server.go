package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"deploykeyd/agent"
	"deploykeyd/agent/unixsock"
)

// Daemon answers what comes over the socket. *agent.Agent does.
type Daemon interface {
	Status() agent.Status
	// AwaitReady returns nil once the daemon is ready, or an error when ctx ends.
	AwaitReady(context.Context) error
	Verify(context.Context) (agent.Status, error)
	// Revoke returns what may remain when all is done or ctx ends.
	Revoke(context.Context) []agent.Remnant
}

// Options say whom a Server serves.
type Options struct {
	Daemon Daemon
	Users  *unixsock.Users // who may look, besides root and the daemon's own user; nil means nobody
	Logger *slog.Logger    // for refusals and commands; nil discards
}

// Server answers on a control socket.
type Server struct {
	daemon Daemon
	users  *unixsock.Users
	log    *slog.Logger

	refusals unixsock.Refusals // in the log
	handover *handover
}

// The limits of the server, besides those of connections. A client has nothing large to say.
const (
	maxHeader     = 8 << 10
	headerTimeout = 5 * time.Second
	idleTimeout   = 30 * time.Second
	writeTimeout  = 10 * time.Second // for the whole of an answer
	// maxWait is the longest that one question for readiness stays open.
	maxWait = time.Minute
	// revokeTime is what a revocation gets whose client does not say, and
	// maxRevokeTime the most that a client can ask for.
	revokeTime    = time.Minute
	maxRevokeTime = 10 * time.Minute
	// finishing is what requests under way may take once the server is to end:
	// a revocation's answer must reach who waits for it.
	finishing = 2 * time.Second
)

// NewServer returns a server for the daemon.
func NewServer(o Options) *Server {
	s := &Server{daemon: o.Daemon, users: o.Users, log: o.Logger, handover: newHandover()}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s
}

// Serve answers until ctx ends, and closes l. Requests under way then have two
// seconds to be answered; connections without one do not count. After Drain it
// returns nil and leaves l open.
func (s *Server) Serve(ctx context.Context, l Listener) error {
	if !s.handover.enter(l) {
		return nil
	}
	defer s.handover.leave(l)
	var requests requests
	server := &http.Server{
		Handler: requests.counted(s.handler()),
		// No ReadTimeout: it would end a request that waits for its answer.
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: withPeer,
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	finished := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = l.Close()
		requests.finish(finishing)
		_ = server.Close()
		close(finished)
	})
	connections := newLimitedListener(l, s)
	err := server.Serve(connections)
	if errors.Is(err, errDrained) {
		// Not Shutdown: it drops requests that come on connections it has just accepted.
		server.SetKeepAlivesEnabled(false)
		s.handover.await(&connections.open)
	}
	if !stop() {
		<-finished
		return nil
	}
	_ = server.Close()
	if errors.Is(err, errDrained) {
		return nil
	}
	_ = l.Close()
	return fmt.Errorf("control socket: %w", err)
}

// handler routes requests to those who may make them.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+statusPath, s.allow(s.mayLook, s.status))
	mux.Handle("GET "+readyPath, s.allow(s.mayLook, s.ready))
	mux.Handle("POST "+verifyPath, s.allow(mayCommand, s.verify))
	mux.Handle("POST "+revokePath, s.allow(mayCommand, s.revoke))
	// Not even that a path is unknown is for everybody: it would keep a
	// connection open.
	unknown := s.allow(s.mayLook, mux.ServeHTTP)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == "" {
			unknown(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// allow lets only those peers through that may, and nothing that has a body.
func (s *Server) allow(may func(unixsock.Peer) bool, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		peer, _ := r.Context().Value(peerKey{}).(unixsock.Peer)
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now()) // nobody waits for the rest
		}
		switch {
		case !may(peer):
			s.refused(r, peer)
			w.Header().Set("Connection", "close") // nobody asks a second time for nothing
			s.reply(w, http.StatusForbidden, problem{
				Error: fmt.Sprintf("user id %d may not do this", peer.UID),
				Next:  "status and readiness are for the users: and groups: of the configuration, root and the daemon's own user; commands for the last two",
			})
			return
		case r.ContentLength != 0:
			s.reply(w, http.StatusBadRequest, problem{Error: "a request has no body here"})
			return
		case r.Method == http.MethodPost && r.Pattern != "" && hungUp(r.Context()):
			s.log.LogAttrs(r.Context(), slog.LevelWarn, "control command ignored: who gave it has gone", request(r), uid(peer.UID))
			return
		case r.Method == http.MethodPost && r.Pattern != "":
			s.log.LogAttrs(r.Context(), slog.LevelInfo, "control command", request(r), uid(peer.UID), pid(peer))
		}
		next(w, r)
	}
}

// hungUp reports whether the client of a request is gone already. A socket that
// outlives a crash keeps what clients wrote who gave up long ago: their commands
// must not be carried out then. The end of a connection that lies there is seen
// at once; net/http ends the context for it.
func hungUp(ctx context.Context) bool {
	const look = 50 * time.Millisecond
	timer := time.NewTimer(look)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return true
	case <-timer.C:
		return false
	}
}

func mayCommand(p unixsock.Peer) bool { return p.UID == 0 || int(p.UID) == os.Geteuid() }

func (s *Server) mayLook(p unixsock.Peer) bool {
	if mayCommand(p) {
		return true
	}
	if s.users == nil {
		return false
	}
	_, ok := s.users.Admit(p)
	return ok
}

// known tells at once whether the configuration probably lists a peer, and whose
// share it takes.
func (s *Server) known(p unixsock.Peer) (unixsock.Account, bool) {
	if s.users == nil {
		return unixsock.Account{ID: p.UID}, false
	}
	return s.users.Known(p)
}

// requests counts what is being answered.
type requests struct {
	mu     sync.Mutex
	ending bool
	open   sync.WaitGroup
}

// counted keeps finish waiting for each request that h answers. Once finish was
// called, requests that come on open connections are not answered.
func (r *requests) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		if r.ending {
			r.mu.Unlock()
			panic(http.ErrAbortHandler) // closes the connection, as if it had come a moment later
		}
		r.open.Add(1)
		r.mu.Unlock()
		defer r.open.Done()
		h.ServeHTTP(w, req)
	})
}

// finish waits for the requests under way, at most for limit.
func (r *requests) finish(limit time.Duration) {
	r.mu.Lock()
	r.ending = true
	r.mu.Unlock()
	done := make(chan struct{})
	go func() {
		r.open.Wait()
		close(done)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
