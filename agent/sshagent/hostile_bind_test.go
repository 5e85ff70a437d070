package sshagent_test

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// signedBind is a bind whose signature is good, with other parts as given.
func signedBind(t *testing.T, hostKey []byte, by ssh.Signer, session string, forwarding byte) []byte {
	t.Helper()
	s, err := by.Sign(rand.Reader, []byte(session))
	if err != nil {
		t.Fatal(err)
	}
	return join([]byte{extension}, str("session-bind@openssh.com"), str(hostKey), str(session), str(ssh.Marshal(s)), []byte{forwarding})
}

// hostileHosts are binds to host keys that are not the pinned ones, and binds
// in the wrong place.
func hostileHosts(t *testing.T, w *world) map[string]hostileCase {
	t.Helper()
	gitea, hub, stranger := w.hosts["gitea"], w.hosts["hub"], w.hosts["stranger"]
	host, k := gitea.PublicKey().Marshal(), w.keys["gitea"].Public()
	no := func(m []byte, reason string) hostileCase {
		return hostileCase{steps: []step{{m, extensionFailure}}, reason: reason}
	}
	ok := step{bind{host: gitea}.request(t), success}
	signs := step{login{key: k}.request(), signAnswer}
	elsewhere := strings.Repeat("e", 32)
	again := step{bind{host: gitea, session: elsewhere}.request(t), extensionFailure}
	rsaFormat := func(format string) []byte {
		return rawBind(w.hosts["gitea-rsa"].PublicKey().Marshal(), join(str(format), str(make([]byte, 256))))
	}
	cases := map[string]hostileCase{
		"bind, certificate of the host":   no(signedBind(t, certificate(t, gitea, ssh.HostCert), gitea, sessionID, 0), "pinned for no forge"),
		"bind, host key and a byte":       no(signedBind(t, join(host, []byte{0}), gitea, sessionID, 0), "pinned for no forge"),
		"bind, host key twice":            no(signedBind(t, join(host, host), gitea, sessionID, 0), "pinned for no forge"),
		"bind, no host key":               no(signedBind(t, nil, gitea, sessionID, 0), "pinned for no forge"),
		"bind, security token":            no(signedBind(t, join(str("sk-ssh-ed25519@openssh.com"), str(host[len(host)-32:]), str("ssh:")), gitea, sessionID, 0), "pinned for no forge"),
		"bind, user's key":                no(signedBind(t, k, gitea, sessionID, 0), "pinned for no forge"),
		"bind, another host's signature":  no(signedBind(t, host, stranger, sessionID, 0), "does not fit"),
		"bind, another forge's signature": no(signedBind(t, host, hub, sessionID, 0), "does not fit"),
		"bind, no session":                no(signedBind(t, host, gitea, "", 0), "impossible length"),
		"bind, session of 19":             no(signedBind(t, host, gitea, sessionID[:19], 0), "impossible length"),
		"bind, certificate's RSA":         no(rsaFormat("rsa-sha2-512-cert-v01@openssh.com"), "does not fit"),
		"bind, SHA-1 in capitals":         no(rsaFormat("SSH-RSA"), "does not fit"),
		"bind, no format":                 no(rsaFormat(""), "does not fit"),

		"sign, bind another, sign":        {steps: []step{signs, {again.send, success}, {signs.send, failure}}, reason: "another SSH session"},
		"bind, sign, bind another":        {steps: []step{ok, signs, again}, reason: "bound already"},
		"bind, sign, bind another, sign":  {steps: []step{ok, signs, again, {signs.send, failure}}, reason: "earlier bind"},
		"bind the same three times, sign": {steps: []step{ok, {ok.send, extensionFailure}, {ok.send, extensionFailure}, {signs.send, failure}}, reason: "earlier bind"},
		"bind at another forge, sign":     {steps: []step{{bind{host: hub}.request(t), success}, {signs.send, failure}}, reason: "not pinned for forge gitea"},
		"bind at another, then at this":   {steps: []step{{bind{host: hub}.request(t), success}, {ok.send, extensionFailure}, {signs.send, failure}}, reason: "earlier bind"},
		"bind, bind badly, list":          {steps: []step{ok, again, {[]byte{listRequest}, listAnswer}}, reason: "earlier bind"},
		"bind badly, query, sign":         {steps: []step{ok, again, {join([]byte{extension}, str("query")), extensionResponse}, {signs.send, failure}}, reason: "earlier bind"},
	}
	for _, value := range []byte{2, 127, 128, 255} {
		forwarded := signedBind(t, host, gitea, sessionID, value)
		cases[fmt.Sprintf("bind, forwarding %d", value)] = no(forwarded, "forwarded to another host")
		cases[fmt.Sprintf("sign after forwarding %d", value)] = hostileCase{
			steps: []step{{forwarded, extensionFailure}, {signs.send, failure}}, reason: "earlier bind",
		}
	}
	return cases
}

// hostileAtRepository is sent to the own socket of a repository.
func hostileAtRepository(t *testing.T, w *world) map[string]hostileCase {
	t.Helper()
	hub, gitea := w.hosts["hub"], w.hosts["gitea"]
	k := w.keys["api"].Public()
	at := w.serveRepository(t, "hub", "acme/api")
	ok := step{bind{host: hub}.request(t), success}
	bad := step{bind{host: gitea}.request(t), extensionFailure} // another forge's, pinned there
	signs := func(l login) []step { return []step{{l.request(), failure}} }
	cases := map[string]hostileCase{
		"another repository's key":        {steps: signs(login{key: w.keys["web"].Public()}), reason: "not lent on this socket"},
		"another forge's key":             {steps: signs(login{key: w.keys["gitea"].Public()}), reason: "not lent on this socket"},
		"another repository's key, bound": {steps: append([]step{ok}, signs(login{key: w.keys["web"].Public()})...), reason: "not lent on this socket"},
		"bind at another forge":           {steps: []step{bad}, reason: "is not pinned for forge hub"},
		"bind at another forge, sign":     {steps: append([]step{bad}, signs(login{key: k})...), reason: "earlier bind"},
		"bind at another forge, its key":  {steps: append([]step{bad}, signs(login{key: w.keys["gitea"].Public()})...), reason: "not lent on this socket"},
		"bind at another forge, list":     {steps: []step{bad, {[]byte{listRequest}, listAnswer}}, reason: "earlier bind"},
		"bind at no forge":                {steps: []step{{bind{host: w.hosts["stranger"]}.request(t), extensionFailure}}, reason: "is not pinned for forge hub"},
		"bind, forwarding":                {steps: []step{{bind{host: hub, forwarding: true}.request(t), extensionFailure}}, reason: "forwarded"},
		"bound, another session":          {steps: append([]step{ok}, signs(login{key: k, session: strings.Repeat("o", 32)})...), reason: "another SSH session"},
		"hostbound at another forge":      {steps: signs(login{key: k, method: hostbound, hostKey: gitea.PublicKey().Marshal()}), reason: "not pinned for forge hub"},
		"another user":                    {steps: signs(login{key: k, user: "root"}), reason: `user "root"`},
		"file signature":                  {steps: []step{{signMessage(k, []byte("SSHSIG\x00\x00\x00\x01"), 0), failure}}, reason: "SSHSIG"},
		"add":                             {steps: []step{{join([]byte{17}, str("ssh-ed25519")), failure}}, reason: "not served here"},
		"add constrained":                 {steps: []step{{join([]byte{25}, str("ssh-ed25519")), failure}}, reason: "not served here"},
	}
	for name, c := range cases {
		c.socket = at
		cases[name] = c
	}
	strict := w.serveRepository(t, "strict", "acme/api")
	cases["unbound, bind required"] = hostileCase{steps: signs(login{key: w.keys["strict"].Public()}), reason: "requires a bound session", socket: strict}
	none := w.serveRepository(t, "hub", "acme/none")
	cases["list, nothing lent"] = hostileCase{steps: []step{{[]byte{listRequest}, listAnswer}}, reason: "no key for acme/none is lent on forge hub", socket: none}
	cases["sign, nothing lent"] = hostileCase{steps: signs(login{key: k}), reason: "not lent on this socket", socket: none}
	return cases
}
