package control

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	s.reply(w, http.StatusOK, s.daemon.Status())
}

// ready answers as soon as the daemon is ready, else when the asked time is
// over or the server is to end.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	var wait time.Duration
	if query := r.URL.Query(); query.Has("wait") {
		var err error
		if wait, err = time.ParseDuration(query.Get("wait")); err != nil {
			s.reply(w, http.StatusBadRequest, problem{Error: "wait is not a duration", Next: "write it like 30s"})
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), min(wait, maxWait))
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
		s.reply(w, http.StatusConflict, problem{Error: err.Error(), Next: "deploykeyd status says how far it came"})
		return
	}
	s.reply(w, http.StatusOK, status)
}

// revoke goes on when the client leaves or the server is to end: a teardown
// that has begun is finished.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	remaining, err := s.daemon.Revoke(context.WithoutCancel(r.Context()))
	if err != nil {
		s.log.ErrorContext(r.Context(), "revocation failed", slog.String("error", err.Error()))
		s.reply(w, http.StatusInternalServerError, problem{
			Error: err.Error(), Next: "run deploykeyd revoke again; deploykeyd status lists what may remain", Remaining: remaining,
		})
		return
	}
	s.reply(w, http.StatusOK, revocation{Remaining: remaining})
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
