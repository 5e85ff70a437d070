package control

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	s.reply(w, http.StatusOK, s.daemon.Status())
}

// ready answers as soon as the daemon is ready, else when the asked time is
// over or the server is to end or to drain.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	wait, err := duration(r, "wait", 0)
	if err != nil {
		s.reply(w, http.StatusBadRequest, problem{Error: err.Error(), Next: "write it like 30s"})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), min(wait, maxWait))
	defer cancel()
	drained := context.AfterFunc(s.handover.draining, cancel) //nolint:contextcheck // it ends the waiting of all requests
	defer drained()
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
		s.reply(w, http.StatusConflict, problem{Error: err.Error(), Next: "deploykeyd status says how far it came"})
		return
	}
	s.reply(w, http.StatusOK, status)
}

// revoke goes on when the client leaves or the server is to end, for as long as
// was asked: a teardown that has begun is finished, but not for ever.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	timeout, err := duration(r, "timeout", revokeTime)
	if err != nil {
		s.reply(w, http.StatusBadRequest, problem{Error: err.Error(), Next: "write it like 20s"})
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), min(timeout, maxRevokeTime))
	defer cancel()
	s.reply(w, http.StatusOK, revocation{Remaining: s.daemon.Revoke(ctx)})
}

// duration reads a member of the query that may be absent.
func duration(r *http.Request, name string, otherwise time.Duration) (time.Duration, error) {
	query := r.URL.Query()
	if !query.Has(name) {
		return otherwise, nil
	}
	d, err := time.ParseDuration(query.Get(name))
	if err != nil {
		return 0, errors.New(name + " is not a duration")
	}
	return d, nil
}

// reply sends the whole answer before it returns, so that the end of the server
// cannot cut it.
func (s *Server) reply(w http.ResponseWriter, status int, answer any) {
	body, err := json.Marshal(answer)
	if err != nil {
		s.log.Error("an answer has no JSON form", slog.String("error", err.Error()))
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer has no JSON form"}`)
	}
	body = append(body, '\n')
	out := http.NewResponseController(w)
	_ = out.SetWriteDeadline(time.Now().Add(writeTimeout))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, err = w.Write(body)
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		s.log.Debug("a control client has gone", slog.String("error", err.Error()))
	}
}
