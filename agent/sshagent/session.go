package sshagent

import (
	"context"
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/ssh"

	"deploykeyd/agent/unixsock"
)

// caller is the process at the other end of a connection.
type caller struct {
	unixsock.Peer
	facts unixsock.Process
	line  []string // its claim
	hint  hint     // what that claim says
}

// callerOf reads all that is known about a peer at once, so that its process
// need not be held while the connection is open. The peer can make it wait for
// ever.
func callerOf(p unixsock.Peer) caller {
	c := caller{Peer: p, facts: p.Process()}
	line, err := p.CommandLine(unixsock.MaxCommandLine)
	c.line = line
	if err == nil { // of a cut one the last argument, which counts, is missing
		c.hint = readHint(line)
	}
	return c
}

// session is one connection of an admitted client.
type session struct {
	forges   []*Forge
	audience *audience
	caller   caller
	audit    *audit
	binding  binding
	shown    []loan // the last answer to a list
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
	s.shown = nil
	var err error
	switch {
	case len(payload) != 0:
		s.refused(ctx, event{action: "list"}, errors.New("the list request cannot be read"))
		return []byte{msgFailure}
	case s.binding.refused:
		err = errPoisoned
	default:
		s.shown, err = choose(s.forges, s.binding.forges, s.caller.hint, s.audience.ring.all())
	}
	if err != nil {
		s.refused(ctx, event{action: "list"}, err)
	}
	reply := binary.BigEndian.AppendUint32([]byte{msgIdentitiesAnswer}, uint32(len(s.shown))) //nolint:gosec // G115: one a forge
	for _, l := range s.shown {
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
	e := event{action: "sign", key: fingerprint(request.key)}
	loans := s.audience.ring.of(request.key)
	if len(loans) == 0 {
		s.refused(ctx, e, &refusal{
			"the key is not lent on this socket",
			"deploykeyd status lists the keys that are",
		})
		return []byte{msgFailure}
	}
	e.forge, e.repository = loans[0].forge.Name, s.repositoryOf(loans)
	signature, err := s.permitted(loans[0], request)
	if err != nil {
		s.refused(ctx, e, err)
		return []byte{msgFailure}
	}
	if s.audience.signed != nil {
		s.audience.signed()
	}
	s.audit.signed(ctx, s, e)
	return appendString([]byte{msgSignResponse}, ssh.Marshal(signature))
}

func (s *session) permitted(l loan, request signRequest) (*ssh.Signature, error) {
	algorithm, err := permit(l.forge, request, &s.binding)
	if err != nil {
		return nil, err
	}
	return l.key.Sign(request.data, algorithm)
}

// repositoryOf returns the repository for which a key of these loans is used:
// the one that the client was shown the key for, else the only one there is.
func (s *session) repositoryOf(loans []loan) string {
	for _, shown := range s.shown {
		for _, l := range loans {
			if l.is(shown.forge, shown.repository, shown.key) {
				return string(l.repository)
			}
		}
	}
	if len(loans) == 1 {
		return string(loans[0].repository)
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
		if err := s.binding.bind(r.rest, s.forges); err != nil {
			s.refused(ctx, event{action: "bind"}, err)
			return []byte{msgExtensionFailure}
		}
		return []byte{msgSuccess}
	default:
		s.refused(ctx, event{action: "extension"}, refuse("extension %.100q is not served here", name))
	}
	return []byte{msgFailure}
}

func (s *session) refused(ctx context.Context, e event, err error) { s.audit.refuse(ctx, s, e, err) }
