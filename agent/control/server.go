package control

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"deploykeyd/agent"
	"deploykeyd/agent/unixsock"
)

// Daemon answers what comes over the socket. *agent.Agent does.
type Daemon interface {
	Status() agent.Status
	AwaitReady(context.Context) error
	Verify(context.Context) (agent.Status, error)
	Revoke(context.Context) ([]agent.Remnant, error)
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
}

// The limits of the server. A client has nothing large to say.
const (
	maxHeader      = 16 << 10
	headerTimeout  = 5 * time.Second
	idleTimeout    = 30 * time.Second
	maxConnections = 256
	// maxWait is the longest that one question for readiness stays open.
	maxWait = time.Minute
	// finishing is what a revocation's answer may take after the end.
	finishing = time.Second
)

// NewServer returns a server for the daemon.
func NewServer(o Options) *Server {
	s := &Server{daemon: o.Daemon, users: o.Users, log: o.Logger}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s
}

// Serve answers until ctx ends, and closes l. Idle connections do not hold it:
// they are closed at once, answers under way a moment later.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: withPeer,
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishing)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			_ = server.Close() // whoever still waits for an answer has had its time
		}
	})
	err := server.Serve(&limitedListener{Listener: l, slots: make(chan struct{}, maxConnections)})
	if stop() { // not by ctx: the listener broke
		_ = server.Close()
		return fmt.Errorf("control socket: %w", err)
	}
	<-ended
	return nil
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.allow(s.mayLook, s.status))
	mux.HandleFunc("GET /v1/ready", s.allow(s.mayLook, s.ready))
	mux.HandleFunc("POST /v1/verify", s.allow(mayCommand, s.verify))
	mux.HandleFunc("POST /v1/revoke", s.allow(mayCommand, s.revoke))
	return mux
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	s.reply(w, http.StatusOK, s.daemon.Status())
}

// ready answers 200 as soon as the daemon is ready, and 503 when it is not
// after the asked time.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	wait, err := time.ParseDuration(r.URL.Query().Get("wait"))
	if err != nil && r.URL.Query().Has("wait") {
		s.refuse(w, http.StatusBadRequest, "wait is not a duration such as 30s")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), min(max(wait, 0), maxWait))
	defer cancel()
	_ = s.daemon.AwaitReady(ctx) // the status says what came of it
	status := s.daemon.Status()
	if status.Ready {
		s.reply(w, http.StatusOK, status)
		return
	}
	s.reply(w, http.StatusServiceUnavailable, status)
}

func (s *Server) verify(w http.ResponseWriter, r *http.Request) {
	status, err := s.daemon.Verify(r.Context())
	if err != nil {
		s.refuse(w, http.StatusConflict, err.Error())
		return
	}
	s.reply(w, http.StatusOK, status)
}

// revocation is the answer to POST /v1/revoke.
type revocation struct {
	Remaining []agent.Remnant `json:"remaining"`
}

// revoke goes on when the client leaves: a teardown that has begun is finished.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	remnants, err := s.daemon.Revoke(context.WithoutCancel(r.Context()))
	if err != nil {
		s.refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	s.reply(w, http.StatusOK, revocation{Remaining: remnants})
}

// problem is the body of an answer that refuses.
type problem struct {
	Error string `json:"error"`
}

func (s *Server) refuse(w http.ResponseWriter, status int, text string) {
	s.reply(w, status, problem{Error: text})
}

func (s *Server) reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.log.Debug("a control client has gone", slog.String("error", err.Error()))
	}
}

// peerKey is the context key of the connection's peer.
type peerKey struct{}

// withPeer notes who is at the other end. A connection whose peer cannot be
// told has none, and is refused everything.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if limited, ok := c.(*limitedConn); ok {
		c = limited.Conn
	}
	peer, err := unixsock.PeerOf(c)
	if err != nil {
		return ctx
	}
	_ = peer.Close() // its process is of no interest here
	return context.WithValue(ctx, peerKey{}, peer)
}

// allow lets only those peers through that may.
func (s *Server) allow(may func(unixsock.Peer) bool, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		peer, known := r.Context().Value(peerKey{}).(unixsock.Peer)
		if !known || !may(peer) {
			s.log.WarnContext(r.Context(), "control request refused", slog.String("request", r.Pattern),
				slog.Uint64("uid", uint64(peer.UID)), slog.Int("pid", int(peer.PID)), slog.Bool("peer_known", known))
			s.refuse(w, http.StatusForbidden, fmt.Sprintf(
				"uid %d may not do this: status and readiness are for the configured users, commands for root and the daemon's own user", peer.UID))
			return
		}
		if r.Method == http.MethodPost {
			s.log.InfoContext(r.Context(), "control command", slog.String("request", r.Pattern),
				slog.Uint64("uid", uint64(peer.UID)), slog.Int("pid", int(peer.PID)))
		}
		next(w, r)
	}
}

func mayCommand(p unixsock.Peer) bool { return p.UID == 0 || int(p.UID) == os.Geteuid() }

func (s *Server) mayLook(p unixsock.Peer) bool {
	return mayCommand(p) || s.users != nil && s.users.Allows(p)
}
