package sshagent

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"deploykeyd/provision"
	"deploykeyd/provision/hostkey"
)

// The flags of a sign request (draft-ietf-sshm-ssh-agent, section 6.3).
const (
	flagSHA256 = 2
	flagSHA512 = 4
)

// signRequest is what a client asks to have signed. Its slices belong to the
// message.
type signRequest struct {
	key   []byte
	data  []byte
	flags uint32
}

func parseSignRequest(payload []byte) (signRequest, error) {
	r := reader{rest: payload}
	s := signRequest{key: r.string(), data: r.string(), flags: r.uint32()}
	if !r.complete() {
		return signRequest{}, errors.New("the sign request cannot be read")
	}
	return s, nil
}

// permit decides whether a key of forge f may sign, and returns the signature
// algorithm to use.
func permit(f *Forge, request signRequest, b *binding) (algorithm string, err error) {
	if b.refused {
		return "", errPoisoned
	}
	what, err := parseLogin(request.data)
	if err != nil {
		return "", err
	}
	if !bytes.Equal(what.key, request.key) {
		return "", errors.New("the login is with another key than the one to sign with")
	}
	if what.user != f.SSH.User {
		return "", &refusal{
			reason: fmt.Sprintf("the login is as user %s, not %s", quote(what.user), f.SSH.User),
			next:   "write " + f.SSH.User + "@ into the clone URL",
		}
	}
	if err := checkAlgorithm(request, what.algorithm); err != nil {
		return "", err
	}
	if what.hostbound && !hostkey.Match(f.HostKeys, what.hostKey) {
		return "", refuse("the login is at a host whose key %s is not pinned for forge %s", fingerprint(what.hostKey), f.Name)
	}
	return what.algorithm, checkBinding(f, what, b)
}

// checkAlgorithm holds the algorithm that the login names against the key's
// type and the request's flags. The flags choose among RSA's hashes and say
// nothing for other keys.
func checkAlgorithm(request signRequest, algorithm string) error {
	if request.flags&^(flagSHA256|flagSHA512) != 0 {
		return refuse("the sign request has unknown flags %#x", request.flags)
	}
	k, err := provision.PublicKeyFromBlob(request.key)
	if err != nil {
		return err
	}
	if k.Type() != ssh.KeyAlgoRSA {
		if algorithm != k.Type() {
			return refuse("the login names algorithm %s for a key of type %s", quote(algorithm), k.Type())
		}
		return nil
	}
	var want uint32
	switch algorithm {
	case ssh.KeyAlgoRSASHA256:
		want = flagSHA256
	case ssh.KeyAlgoRSASHA512:
		want = flagSHA512
	default:
		return refuse("the login names algorithm %s: RSA keys sign with SHA-2 only", quote(algorithm))
	}
	if request.flags != want {
		return refuse("the login names algorithm %s and the sign request another one (flags %#x)", algorithm, request.flags)
	}
	return nil
}

// checkBinding holds a login against the session to which the connection is
// bound.
func checkBinding(f *Forge, what login, b *binding) error {
	if !b.done() {
		if f.Bind != BindRequire {
			return nil
		}
		return &refusal{
			reason: "forge " + f.Name + " requires a bound session and the client has bound none",
			next:   "use OpenSSH 8.9 or later, or set bind: prefer for this forge",
		}
	}
	switch {
	case !bytes.Equal(what.session, b.session):
		return errors.New("the login is for another SSH session than the bound one")
	case !hostkey.Match(f.HostKeys, b.hostKey):
		return refuse("the connection is bound to host key %s, which is not pinned for forge %s", fingerprint(b.hostKey), f.Name)
	case what.hostbound && !bytes.Equal(what.hostKey, b.hostKey):
		return errors.New("the login is at another host than the connection is bound to")
	}
	return nil
}

// fingerprint names a key, whatever bytes it is said to have.
func fingerprint(blob []byte) string {
	k, err := provision.PublicKeyFromBlob(blob)
	if err != nil {
		return "(not a key)"
	}
	return k.Fingerprint()
}
