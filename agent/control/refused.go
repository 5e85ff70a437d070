package control

import (
	"context"
	"log/slog"
	"net/http"

	"deploykeyd/agent/unixsock"
)

// refused notes a request that its peer may not make.
func (s *Server) refused(r *http.Request, p unixsock.Peer) {
	if s.refusals.Count(p.UID, s.untold) {
		s.log.LogAttrs(r.Context(), slog.LevelWarn, "control request refused", request(r), uid(p.UID), pid(p))
	}
}

// tooMany notes a connection that was closed because its peer had no place left.
func (s *Server) tooMany(p unixsock.Peer) {
	if s.refusals.Count(p.UID, s.untold) {
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "control connection closed: too many are open", uid(p.UID), pid(p))
	}
}

// untold makes up for the lines that were left out.
func (s *Server) untold(user uint32, more int) {
	who := uid(user)
	if user == unixsock.OtherUsers {
		who = slog.String("uid", "several")
	}
	s.log.LogAttrs(context.Background(), slog.LevelWarn, "more control requests refused", who,
		slog.Int("count", more), slog.Duration("within", unixsock.RefusalWindow))
}

func request(r *http.Request) slog.Attr { return slog.String("request", r.Pattern) }
func uid(user uint32) slog.Attr         { return slog.Uint64("uid", uint64(user)) }
func pid(p unixsock.Peer) slog.Attr     { return slog.Int64("pid", int64(p.PID)) }
