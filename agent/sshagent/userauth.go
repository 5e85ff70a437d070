package sshagent

import "errors"

// The parts of a login request that are always the same (RFC 4252, section 7;
// OpenSSH's PROTOCOL, section 3.1 for the hostbound method).
const (
	msgUserauthRequest = 50
	serviceConnection  = "ssh-connection"
	methodPublicKey    = "publickey"
	methodHostbound    = "publickey-hostbound-v00@openssh.com"
)

// The hash of a key exchange is the session id: SHA-1 to SHA-512.
const (
	minSessionID = 20
	maxSessionID = 64
)

// login is a request to log in, as a client has it signed.
type login struct {
	session   []byte
	user      string
	algorithm string
	key       []byte
	hostbound bool // names the server's host key, as it does with that method
	hostKey   []byte
}

var errNotALogin = errors.New("the data is no SSH login request")

// parseLogin reads the data of a sign request. It must be the one encoding of
// one login request with a public key for the service ssh-connection: a server
// makes that data up by itself before it verifies the signature. The slices of
// the result belong to data.
func parseLogin(data []byte) (login, error) {
	r := reader{rest: data}
	l := login{session: r.string()}
	number := r.byte()
	l.user = string(r.string())
	service := string(r.string())
	method := string(r.string())
	signed := r.byte()
	l.algorithm = string(r.string())
	l.key = r.string()
	if l.hostbound = method == methodHostbound; l.hostbound {
		l.hostKey = r.string()
	}
	switch {
	case string(data[:min(len(data), 6)]) == "SSHSIG":
		return login{}, errors.New("the data is a file signature (SSHSIG)")
	case !r.complete() || number != msgUserauthRequest || signed > 1 ||
		len(l.session) < minSessionID || len(l.session) > maxSessionID:
		return login{}, errNotALogin
	case service != serviceConnection:
		return login{}, refuse("the login is for service %s, not %s", quote(service), serviceConnection)
	case method != methodPublicKey && !l.hostbound:
		return login{}, refuse("the login method %s is not one with a public key", quote(method))
	case signed == 0:
		return login{}, errors.New("the login request says that it has no signature")
	}
	return l, nil
}
