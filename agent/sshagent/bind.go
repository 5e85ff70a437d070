package sshagent

import (
	"bytes"
	"errors"

	"golang.org/x/crypto/ssh"
)

// binding is what a connection has proven about the SSH session that it serves.
type binding struct {
	tried   bool
	refused bool // one bind was refused: nothing is signed any more
	session []byte
	hostKey []byte
	forges  []*Forge // those that have hostKey pinned; nil without a bind
}

func (b *binding) done() bool { return b.forges != nil }

// bindRequest is the payload of session-bind@openssh.com (OpenSSH's
// PROTOCOL.agent, section 1).
type bindRequest struct {
	hostKey    []byte
	session    []byte
	signature  []byte
	forwarding bool
}

// parseBind reads a bind request. The slices of the result belong to payload.
func parseBind(payload []byte) (bindRequest, error) {
	r := reader{rest: payload}
	b := bindRequest{hostKey: r.string(), session: r.string(), signature: r.string(), forwarding: r.bool()}
	if !r.complete() {
		return bindRequest{}, errors.New("the bind request cannot be read")
	}
	return b, nil
}

var errPoisoned = errors.New("an earlier bind on this connection was refused")

// bind binds the connection to an SSH session. A refusal, for whatever reason,
// holds for the rest of the connection.
func (b *binding) bind(payload []byte, forges []*Forge) error {
	err := b.try(payload, forges)
	b.tried = true
	if err != nil {
		b.refused = true
	}
	return err
}

func (b *binding) try(payload []byte, forges []*Forge) error {
	switch {
	case b.refused:
		return errPoisoned
	case b.tried:
		// An agent connection serves one login; a second session on it is one
		// that somebody forwards.
		return errors.New("the connection is bound already")
	}
	request, err := parseBind(payload)
	if err != nil {
		return err
	}
	if request.forwarding {
		return &refusal{
			reason: "the connection is forwarded to another host (ssh -A)",
			next:   "do not forward this agent: set ForwardAgent no, and use the key from this machine",
		}
	}
	if len(request.session) < minSessionID || len(request.session) > maxSessionID {
		return errors.New("the session id to bind has an impossible length")
	}
	// The pins come first: the keys that get parsed below are the operator's.
	pinned := pinnedBy(forges, request.hostKey)
	if len(pinned) == 0 {
		return unpinned(forges, request.hostKey)
	}
	if err := verifyHost(request); err != nil {
		return err
	}
	b.session = bytes.Clone(request.session)
	b.hostKey = bytes.Clone(request.hostKey)
	b.forges = pinned
	return nil
}

func unpinned(forges []*Forge, hostKey []byte) error {
	where := "is pinned for no forge"
	if len(forges) == 1 { // on a repository's own socket above all
		where = "is not pinned for forge " + forges[0].Name
	}
	return &refusal{
		reason: "the host key " + fingerprint(hostKey) + " " + where,
		next:   "if the forge has changed its host key and says so itself, put the new one into host_keys of its entry",
	}
}

// verifyHost checks that the host key signed the session id: only the server of
// that very session can have made the signature, in the key exchange.
func verifyHost(request bindRequest) error {
	host, err := ssh.ParsePublicKey(request.hostKey)
	if err != nil {
		return errors.New("the host key to bind cannot be read")
	}
	r := reader{rest: request.signature}
	signature := ssh.Signature{Format: string(r.string()), Blob: r.string()}
	if !r.complete() {
		return errors.New("the host's signature cannot be read")
	}
	if signature.Format == ssh.KeyAlgoRSA {
		return errors.New("the host signed with SHA-1")
	}
	if err := host.Verify(request.session, &signature); err != nil {
		return errors.New("the host's signature does not fit the session")
	}
	return nil
}
