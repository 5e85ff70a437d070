package sshagent

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"deploykeyd/agent/unixsock"
	"deploykeyd/provision"
)

// caller is the process at the other end of a connection.
type caller struct {
	unixsock.Peer
	account unixsock.Account // on which it is served
	facts   unixsock.Process
	claim   string // its command line, as the audit lines have it
	hint    hint   // what that command line says
}

// callerOf reads all that is known about a peer at once, so that its process
// need not be held while the connection is open. The peer can make it wait for
// ever.
func callerOf(p unixsock.Peer) caller {
	c := caller{Peer: p, facts: p.Process()}
	line, err := p.CommandLine(unixsock.MaxCommandLine)
	c.claim = printable(beginning(line), maxClaim)
	if err == nil { // of a cut one the last argument, which counts, is missing
		c.hint = readHint(line)
		// Not the whole command line, for as long as the connection is open.
		c.hint.host, c.hint.path = strings.Clone(c.hint.host), strings.Clone(c.hint.path)
	}
	return c
}

// beginning returns a command line as far as an audit line holds it, and a little
// more, which tells that it was cut.
func beginning(line []string) string {
	var b strings.Builder
	for i, a := range line {
		if i > 0 {
			b.WriteByte(' ')
		}
		if b.WriteString(a[:min(len(a), maxClaim+1)]); b.Len() > maxClaim {
			break
		}
	}
	return b.String()
}

// session is one connection of an admitted client.
type session struct {
	forges   []*Forge
	audience *audience
	caller   caller
	audit    *audit
	binding  binding
	// withheld is why the last list left keys out, until something is signed: a
	// client that then goes without a signature most likely wanted one of them.
	withheld error
}

// answer handles one message, which has at least one byte, and returns the reply.
func (s *session) answer(ctx context.Context, message []byte) []byte {
	payload := message[1:]
	switch message[0] {
	case msgRequestIdentities:
		return s.list(ctx, payload)
	case msgSignRequest:
		return s.sign(ctx, payload)
	case msgExtension:
		return s.extension(ctx, payload)
	}
	s.refused(ctx, event{action: "other"}, refuse("message type %d is not served here", message[0]))
	return []byte{msgFailure}
}

func (s *session) list(ctx context.Context, payload []byte) []byte {
	var shown []loan
	var err error
	switch {
	case len(payload) != 0:
		s.refused(ctx, event{action: "list"}, errors.New("the list request cannot be read"))
		return []byte{msgFailure}
	case s.binding.refused:
		err = errPoisoned
	default:
		err = s.inTurn(ctx, func() error {
			shown, err = s.choose()
			return err
		})
	}
	s.withheld = nil
	switch {
	case err != nil && len(shown) == 0:
		s.refused(ctx, event{action: "list"}, err)
	case err != nil:
		s.withheld = err
	}
	reply := binary.BigEndian.AppendUint32([]byte{msgIdentitiesAnswer}, uint32(len(shown))) //nolint:gosec // G115: one a forge
	for _, l := range shown {
		reply = appendString(reply, l.blob)
		reply = appendString(reply, "deploykeyd "+l.forge.Name+" "+string(l.repository))
	}
	return reply
}

func (s *session) sign(ctx context.Context, payload []byte) []byte {
	request, err := parseSignRequest(payload)
	if err != nil {
		s.refused(ctx, event{action: "sign"}, err)
		return []byte{msgFailure}
	}
	e := event{action: "sign"}
	signature, wait, err := s.attempt(ctx, &e, request, false)
	if err == nil && wait > 0 {
		if err = pause(ctx, wait); err == nil {
			signature, _, err = s.attempt(ctx, &e, request, true)
		}
	}
	if err != nil {
		s.refused(ctx, e, err)
		return []byte{msgFailure}
	}
	return appendString([]byte{msgSignResponse}, ssh.Marshal(signature))
}

// attempt signs in its turn, or returns how long the quota has the client wait
// before that. Then it is to be called once more, as paid: it asks for the
// permission again, since the loan may have been withdrawn meanwhile. What is
// refused takes nothing out of the quota.
func (s *session) attempt(ctx context.Context, e *event, request signRequest, paid bool) (signature *ssh.Signature, wait time.Duration, err error) {
	err = s.inTurn(ctx, func() error {
		l, algorithm, err := s.permitted(e, request)
		if err == nil && !paid {
			wait = s.audience.quota.spend(s.caller.account)
		}
		if err != nil || wait > 0 {
			return err
		}
		signature, err = s.signature(ctx, *e, l, request.data, algorithm)
		return err
	})
	return signature, wait, err
}

// permitted returns the loan and the algorithm with which a request may be
// signed now, and completes e.
func (s *session) permitted(e *event, request signRequest) (l loan, algorithm string, err error) {
	e.key = fingerprint(request.key)
	loans := s.audience.loansOf(request.key)
	if len(loans) == 0 {
		return loan{}, "", &refusal{
			reason: "the key is not lent on this socket",
			next:   "deploykeyd status lists the keys that are",
		}
	}
	e.forge, e.repository = loans[0].forge.Name, s.repositoryOf(loans)
	algorithm, err = permit(loans[0].forge, request, &s.binding)
	return loans[0], algorithm, err
}

// signature signs what is permitted.
func (s *session) signature(ctx context.Context, e event, l loan, data []byte, algorithm string) (*ssh.Signature, error) {
	signature, err := l.key.Sign(data, algorithm)
	if err != nil {
		return nil, err
	}
	s.withheld = nil
	if s.audience.signed != nil {
		s.audience.signed()
	}
	s.audit.signed(ctx, s, e)
	return signature, nil
}

// inTurn works on a request when it is the account's turn.
func (s *session) inTurn(ctx context.Context, work func() error) error {
	if err := s.audience.turns.enter(ctx, s.caller.account); err != nil {
		return err
	}
	defer s.audience.turns.leave()
	return work()
}

// leave tells of a client that goes without a signature. One that was cut off,
// because ctx, its connection's, has ended, might have asked for one yet.
func (s *session) leave(ctx context.Context) {
	if s.withheld != nil && ctx.Err() == nil {
		s.audit.withheld(ctx, s, s.withheld)
	}
}

// choose returns the loans whose keys the client is shown.
func (s *session) choose() ([]loan, error) {
	loans := s.audience.ring.all()
	if only := s.audience.only; only != nil {
		return only.newest(loans)
	}
	return choose(s.forges, s.binding.forges, s.caller.hint, loans)
}

// repositoryOf returns the repository for which a key of these loans is used:
// the only one there is, else the one that the client names, else none.
func (s *session) repositoryOf(loans []loan) string {
	if len(loans) == 1 {
		return string(loans[0].repository)
	}
	for _, l := range loans {
		named, err := provision.ParseClonePath(l.forge.Kind, s.caller.hint.path)
		if err == nil && provision.Same(l.repository, named) {
			return string(l.repository)
		}
	}
	return ""
}

func (s *session) extension(ctx context.Context, payload []byte) []byte {
	r := reader{rest: payload}
	name := string(r.string())
	switch {
	case r.short:
		s.refused(ctx, event{action: "extension"}, errors.New("the extension request cannot be read"))
	case name == extQuery && r.complete():
		reply := appendString([]byte{msgExtensionResponse}, extQuery)
		return appendString(appendString(reply, extQuery), extSessionBind)
	case name == extSessionBind:
		if err := s.inTurn(ctx, func() error { return s.binding.bind(r.rest, s.forges) }); err != nil {
			s.binding.refused = true
			s.refused(ctx, event{action: "bind"}, err)
			return []byte{msgExtensionFailure}
		}
		return []byte{msgSuccess}
	default:
		s.refused(ctx, event{action: "extension"}, refuse("extension %s is not served here", quote(name)))
	}
	return []byte{msgFailure}
}

// refused tells of a refusal, laid to the forge and the repository that it is
// known to be about.
func (s *session) refused(ctx context.Context, e event, err error) {
	r, _ := errors.AsType[*refusal](err)
	switch only := s.audience.only; {
	case e.forge != "":
	case only != nil:
		e.forge, e.repository = only.forge.Name, string(only.repository)
	case r != nil && r.forge != "":
		e.forge, e.repository = r.forge, string(r.repository)
	case len(s.binding.forges) == 1:
		e.forge = s.binding.forges[0].Name
	}
	s.audit.refuse(ctx, s, e, err)
}
