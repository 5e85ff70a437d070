package sshagent

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"

	"deploykeyd/agent/unixsock"
)

// How much of what another process chose an audit line holds, in bytes.
const (
	maxClaim = 300 // of a name or a command line
	maxQuote = 100 // of what is quoted in a reason
)

// audit writes one line for each signature, whose number the quota limits, and
// one for each refusal, as long as a user does not cause too many of them.
type audit struct {
	logger  *slog.Logger
	refused unixsock.Refusals
}

// event is what a client asked for.
type event struct {
	action     string // connect, list, sign, bind, extension, message or other
	key        string // fingerprint
	forge      string
	repository string // follows from the client's claim, unless the socket is the repository's own
}

func (a *audit) signed(ctx context.Context, s *session, e event) {
	s.audience.uses.signed(e)
	a.write(ctx, slog.LevelInfo, s, e, slog.String("decision", "signed"))
}

func (a *audit) refuse(ctx context.Context, s *session, e event, err error) {
	s.audience.uses.refused(e)
	if !a.refused.Count(s.caller.UID, a.untold) {
		return
	}
	a.write(ctx, slog.LevelWarn, s, e, reasons("refused", err)...)
}

// withheld tells of a client that was shown no key that it could use, and not all
// there are. It is no refusal, and counts as none but among the lines.
func (a *audit) withheld(ctx context.Context, s *session, why error) {
	if a.refused.Count(s.caller.UID, a.untold) {
		a.write(ctx, slog.LevelInfo, s, event{action: "list"}, reasons("withheld", why)...)
	}
}

// reasons are the attributes of what was not done.
func reasons(decision string, why error) []slog.Attr {
	attrs := []slog.Attr{slog.String("decision", decision), slog.String("reason", why.Error())}
	if r, ok := errors.AsType[*refusal](why); ok && r.next != "" {
		attrs = append(attrs, slog.String("next", r.next))
	}
	return attrs
}

// untold makes up for the lines that were left out.
func (a *audit) untold(uid uint32, more int) {
	who := slog.Uint64("uid", uint64(uid))
	if uid == unixsock.OtherUsers {
		who = slog.String("uid", "several")
	}
	a.logger.LogAttrs(context.Background(), slog.LevelWarn, "more agent requests refused", who,
		slog.Int("count", more), slog.Duration("within", unixsock.RefusalWindow))
}

// write puts what the kernel says about the client first, then its own claim,
// then what it asked for.
func (a *audit) write(ctx context.Context, level slog.Level, s *session, e event, decision ...slog.Attr) {
	if !a.logger.Enabled(ctx, level) {
		return
	}
	c := s.caller
	attrs := []slog.Attr{
		slog.String("socket", s.audience.name),
		slog.Uint64("uid", uint64(c.UID)), slog.Uint64("gid", uint64(c.GID)), slog.Int64("pid", int64(c.PID)),
	}
	text := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	text("exe", printable(c.facts.Exe, maxClaim))
	text("comm", printable(c.facts.Comm, maxClaim))
	text("cgroup", printable(c.facts.Cgroup, maxClaim))
	text("command_line", c.claim)
	if !c.Proven && (c.claim != "" || c.facts != unixsock.Process{}) {
		// The kernel cannot tell whether the pid is still the client's.
		text("process", "unproven")
	}
	text("action", e.action)
	text("forge", printable(e.forge, maxClaim))
	text("repository", printable(e.repository, maxClaim))
	text("key", e.key)
	attrs = append(attrs, slog.Bool("bound", s.binding.done()))
	a.logger.LogAttrs(ctx, level, "agent request", append(attrs, decision...)...)
}

// printable returns what another process chose, in at most so many bytes of plain
// ASCII, so that it cannot forge a line of the log, fill it or steer a terminal.
// Of what is longer "..." tells.
func printable(s string, most int) string {
	cut := len(s) > most
	q := strconv.QuoteToASCII(s[:min(len(s), most)])
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	if cut = cut || len(q) > most; cut {
		q = q[:min(len(q), most)] + "..."
	}
	return q
}

// quote is how a reason names what the client said.
func quote(s string) string { return `"` + printable(s, maxQuote) + `"` }
