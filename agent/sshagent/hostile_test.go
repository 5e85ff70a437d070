package sshagent_test

import (
	"strings"
	"testing"
)

// step is one message and what has to come of it.
type step struct {
	send []byte
	want byte // the reply's number
}

// TestG3HostileRequestsAreRefused sends what a hostile or broken client may
// send. Everything but the last message of a case prepares it; the last one
// must be refused, with the reason in the audit line.
func TestG3HostileRequestsAreRefused(t *testing.T) {
	total := 0
	for _, group := range []func(*testing.T, *world) map[string]hostileCase{
		hostileLogins, hostileEncodings, hostileKeys, hostileAlgorithms, hostileMessages, hostileLengths,
		hostileBinds, hostileHosts, hostileBound, hostileAtRepository,
	} {
		w := newWorld(t) // with a log of its own, where not too much is refused
		cases := group(t, w)
		total += len(cases)
		for name, c := range cases {
			t.Run(name, func(t *testing.T) { c.send(t, w) })
		}
		for _, line := range w.log.lines(t) {
			if line["decision"] == "signed" && line["action"] != "sign" {
				t.Errorf("signed: %v", line)
			}
		}
	}
	if total < 180 {
		t.Errorf("only %d cases", total)
	}
}

type hostileCase struct {
	steps  []step
	reason string
	socket string // where, when not the users' shared one
}

func (c hostileCase) send(t *testing.T, w *world) {
	t.Helper()
	if c.socket == "" {
		c.socket = w.socket
	}
	conn := dialPath(t, c.socket)
	var told int
	var before uint64
	for i, s := range c.steps {
		told = len(w.log.lines(t))
		_, before = w.server.Totals()
		reply, err := ask(conn, s.send)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if len(reply) == 0 || reply[0] != s.want {
			t.Fatalf("message %d: reply %.20x, want number %d", i, reply, s.want)
		}
	}
	lines := w.log.lines(t)
	if _, after := w.server.Totals(); len(lines) != told+1 || after != before+1 {
		t.Errorf("%d audit lines for the last message, and %d refusals counted, want one", len(lines)-told, after-before)
	}
	line := lines[len(lines)-1]
	reason, _ := line["reason"].(string)
	if line["decision"] != "refused" || !strings.Contains(reason, c.reason) {
		t.Errorf("audit line %v, want a refusal with %q", line, c.reason)
	}
	if _, ok := line["uid"]; !ok {
		t.Errorf("audit line %v does not say who it was", line)
	}
}

// refused is a case of one message.
func refused(message []byte, reason string) hostileCase {
	return hostileCase{steps: []step{{message, failure}}, reason: reason}
}

func hostileLogins(t *testing.T, w *world) map[string]hostileCase {
	t.Helper()
	k := w.keys["gitea"].Public()
	other := w.keys["api"].Public()
	good := login{key: k}.data()
	sshsig := join([]byte("SSHSIG"), str("git"), str(""), str("sha512"), str(make([]byte, 64)))
	return map[string]hostileCase{
		"file signature":            refused(signMessage(k, sshsig, 0), "SSHSIG"),
		"no data":                   refused(signMessage(k, nil, 0), "no SSH login"),
		"text":                      refused(signMessage(k, []byte("sign me, I am harmless"), 0), "no SSH login"),
		"tls handshake":             refused(signMessage(k, []byte(strings.Repeat(" ", 64)+"TLS 1.3, client CertificateVerify\x00"), 0), "no SSH login"),
		"another user":              refused(login{key: k, user: "root"}.request(), `user "root"`),
		"user with control":         refused(login{key: k, user: "git\n\x1b[2J"}.request(), `\x1b[2J`),
		"empty user":                refused(signMessage(k, join(str(sessionID), []byte{50}, str(""), str("ssh-connection"), str(plain), []byte{1}, str("ssh-ed25519"), str(k)), 0), "as user"),
		"another service":           refused(login{key: k, service: "ssh-userauth"}.request(), `service "ssh-userauth"`),
		"method password":           refused(login{key: k, method: "password"}.request(), `method "password"`),
		"method hostbased":          refused(login{key: k, method: "hostbased"}.request(), `method "hostbased"`),
		"without a signature":       refused(login{key: k, unsigned: true}.request(), "has no signature"),
		"trailing byte":             refused(login{key: k, after: "\x00"}.request(), "no SSH login"),
		"a second login after it":   refused(login{key: k, after: string(good)}.request(), "no SSH login"),
		"another key inside":        refused(login{key: other, asked: k}.request(), "another key"),
		"another forge's key asked": refused(login{key: k, asked: other}.request(), "another key"),
		"truncated":                 refused(signMessage(k, good[:len(good)-1], 0), "no SSH login"),
		"huge length inside":        refused(signMessage(k, join(str(sessionID), []byte{50}, u32(0xffffffff), good), 0), "no SSH login"),
		"no session id":             refused(signMessage(k, join(str(""), good[4+len(sessionID):]), 0), "no SSH login"),
		"short session id":          refused(login{key: k, session: "short"}.request(), "no SSH login"),
		"long session id":           refused(login{key: k, session: strings.Repeat("x", 65)}.request(), "no SSH login"),
		"another message number":    refused(login{key: k, number: 51}.request(), "no SSH login"),
		"hostbound, no host key":    refused(login{key: k, method: hostbound}.request(), "no SSH login"),
		"plain, with host key":      refused(login{key: k, hostKey: w.hosts["gitea"].PublicKey().Marshal()}.request(), "no SSH login"),
		"hostbound, unpinned":       refused(login{key: k, method: hostbound, hostKey: w.hosts["stranger"].PublicKey().Marshal()}.request(), "not pinned for forge gitea"),
		"hostbound, another forge":  refused(login{key: k, method: hostbound, hostKey: w.hosts["hub"].PublicKey().Marshal()}.request(), "not pinned for forge gitea"),
		"hostbound, no key":         refused(login{key: k, method: hostbound, hostKey: []byte("nonsense")}.request(), "(not a key)"),
		"key that is not lent":      refused(login{key: w.keys["foreign"].Public()}.request(), "not lent"),
		"no key":                    refused(signMessage(nil, good, 0), "not lent"),
		"not a key":                 refused(signMessage([]byte("ssh-ed25519"), good, 0), "not lent"),
		"unbound, bind required":    refused(login{key: w.keys["strict"].Public()}.request(), "requires a bound session"),
	}
}

func hostileAlgorithms(t *testing.T, w *world) map[string]hostileCase {
	t.Helper()
	w.lendRSA(t)
	k, r := w.keys["gitea"].Public(), w.keys["rsa"].Public()
	return map[string]hostileCase{
		"algorithm of another type": refused(login{key: k, algorithm: "ecdsa-sha2-nistp256"}.request(), `algorithm "ecdsa-sha2-nistp256"`),
		"algorithm of certificates": refused(login{key: k, algorithm: "ssh-ed25519-cert-v01@openssh.com"}.request(), "for a key of type"),
		"unknown flags":             refused(login{key: k, flags: 8}.request(), "flags 0x8"),
		"old signature flag":        refused(login{key: k, flags: 1}.request(), "flags 0x1"),
		"rsa with sha-1":            refused(login{key: r, algorithm: "ssh-rsa"}.request(), "SHA-2 only"),
		"rsa with sha-1 by flags":   refused(login{key: r, algorithm: "rsa-sha2-256"}.request(), "another one"),
		"rsa with the other hash":   refused(login{key: r, algorithm: "rsa-sha2-256", flags: 4}.request(), "another one"),
		"rsa with both hashes":      refused(login{key: r, algorithm: "rsa-sha2-512", flags: 6}.request(), "another one"),
		"rsa as ed25519":            refused(login{key: r, algorithm: "ssh-ed25519", flags: 4}.request(), "SHA-2 only"),
	}
}

func hostileMessages(t *testing.T, w *world) map[string]hostileCase {
	t.Helper()
	k := w.keys["gitea"].Public()
	cases := map[string]hostileCase{
		"sign request, trailing":  refused(login{key: k, afterwards: 1}.request(), "cannot be read"),
		"sign request, truncated": refused(login{key: k, cutOff: 1}.request(), "cannot be read"),
		"sign request, empty":     refused([]byte{signRequest}, "cannot be read"),
		"sign request, huge key":  refused(join([]byte{signRequest}, u32(0xfffffff0), k), "cannot be read"),
		"list, trailing":          refused([]byte{listRequest, 0}, "cannot be read"),
		"extension without name":  refused([]byte{extension}, "cannot be read"),
		"extension, huge name":    refused(join([]byte{extension}, u32(1<<31)), "cannot be read"),
		"extension unknown":       refused(join([]byte{extension}, str("restrict-destination-v00@openssh.com")), "restrict-destination"),
		"query, trailing":         refused(join([]byte{extension}, str("query"), []byte("x")), `"query"`),
		"extension of no name":    refused(join([]byte{extension}, str("")), `extension ""`),
		"extension, zero byte":    refused(join([]byte{extension}, str("query\x00")), `"query\x00"`),
		"bind with a zero byte":   refused(join([]byte{extension}, str("session-bind@openssh.com\x00")), `openssh.com\x00"`),
		"bind in capitals":        refused(join([]byte{extension}, str("Session-Bind@openssh.com")), "Session-Bind"),
		"extension, certificates": refused(join([]byte{extension}, str("associated-certs-v00@openssh.com")), "associated-certs"),
		"number and nothing":      refused([]byte{25}, "is not served here"),
	}
	private := join(str("ssh-ed25519"), str(make([]byte, 32)), str(make([]byte, 64)), str("mine"))
	for name, constraints := range map[string][]byte{
		"none": nil, "a lifetime": {1, 0, 0, 0, 9}, "confirmation": {2}, "a number of uses": {3, 0, 0, 0, 1},
		"a destination":         join([]byte{255}, str("restrict-destination-v00@openssh.com"), str("")),
		"an unknown one":        {77},
		"a lifetime cut short":  {1, 0},
		"an extension, too big": join([]byte{255}, u32(1<<32-1)),
	} {
		cases["add a good key, constrained by "+name] = refused(join([]byte{25}, private, constraints), "is not served here")
	}
	for name, number := range map[string]byte{
		"ssh1 list": 1, "ssh1 challenge": 3, "ssh1 add": 7, "add": 17, "remove": 18, "remove all": 19,
		"smart card add": 20, "smart card remove": 21, "lock": 22, "unlock": 23, "add constrained": 25,
		"smart card add constrained": 26, "an answer": signAnswer, "number 0": 0, "number 255": 255,
	} {
		// What follows would crash a decoder that trusts it.
		cases[name] = refused(join([]byte{number}, str("ssh-ed25519"), u32(0xffffffff)), "is not served here")
	}
	return cases
}

func hostileBinds(t *testing.T, w *world) map[string]hostileCase {
	t.Helper()
	no := func(m []byte, reason string) hostileCase {
		return hostileCase{steps: []step{{m, extensionFailure}}, reason: reason}
	}
	gitea := w.hosts["gitea"]
	k := w.keys["gitea"].Public()
	ok := step{bind{host: gitea}.request(t), success}
	bad := step{bind{host: w.hosts["stranger"]}.request(t), extensionFailure}
	return map[string]hostileCase{
		"bind, another session signed": no(bind{host: gitea, signed: strings.Repeat("y", 32)}.request(t), "does not fit"),
		"bind, unpinned host":          no(bad.send, "pinned for no forge"),
		"bind, forwarding":             no(bind{host: gitea, forwarding: true}.request(t), "forwarded"),
		"bind, truncated":              no(bind{host: gitea, cutOff: 1}.request(t), "cannot be read"),
		"bind, trailing":               no(bind{host: gitea, after: "x"}.request(t), "cannot be read"),
		"bind, no payload":             no(join([]byte{extension}, str("session-bind@openssh.com")), "cannot be read"),
		"bind, short session":          no(bind{host: gitea, session: "short"}.request(t), "impossible length"),
		"bind, long session":           no(bind{host: gitea, session: strings.Repeat("s", 65)}.request(t), "impossible length"),
		"bind, SHA-1":                  no(bind{host: w.hosts["gitea-rsa"], algorithm: "ssh-rsa"}.request(t), "SHA-1"),
		"bind, not a key":              no(rawBind([]byte("nonsense"), str("x")), "(not a key)"),
		"bind, no signature":           no(rawBind(gitea.PublicKey().Marshal(), nil), "signature cannot be read"),
		"bind, empty signature":        no(rawBind(gitea.PublicKey().Marshal(), join(str("ssh-ed25519"), str(""))), "does not fit"),
		"bind, signature of 64 zeroes": no(rawBind(gitea.PublicKey().Marshal(), join(str("ssh-ed25519"), str(make([]byte, 64)))), "does not fit"),
		"bind, signature trailing":     no(rawBind(gitea.PublicKey().Marshal(), join(str("ssh-ed25519"), str(make([]byte, 64)), []byte{1})), "signature cannot be read"),
		"bind, other algorithm":        no(rawBind(gitea.PublicKey().Marshal(), join(str("rsa-sha2-512"), str(make([]byte, 64)))), "does not fit"),
		"bind twice":                   {steps: []step{ok, {ok.send, extensionFailure}}, reason: "bound already"},
		"bind to another forge after":  {steps: []step{ok, {bind{host: w.hosts["hub"]}.request(t), extensionFailure}}, reason: "bound already"},
		"good bind after a bad one":    {steps: []step{bad, {ok.send, extensionFailure}}, reason: "earlier bind"},
		"sign after a bad bind":        {steps: []step{bad, {login{key: k}.request(), failure}}, reason: "earlier bind"},
		"sign after a forwarding bind": {steps: []step{{bind{host: gitea, forwarding: true}.request(t), extensionFailure}, {login{key: k}.request(), failure}}, reason: "earlier bind"},
		"sign after bad and good bind": {steps: []step{bad, {ok.send, extensionFailure}, {login{key: k}.request(), failure}}, reason: "earlier bind"},
		"sign after good and bad bind": {steps: []step{ok, bad, {login{key: k}.request(), failure}}, reason: "earlier bind"},
		"sign after an unreadable one": {steps: []step{{bind{host: gitea, cutOff: 3}.request(t), extensionFailure}, {login{key: k}.request(), failure}}, reason: "earlier bind"},
		"list after a bad bind":        {steps: []step{bad, {[]byte{listRequest}, listAnswer}}, reason: "earlier bind"},
	}
}

func rawBind(hostKey, signature []byte) []byte {
	return join([]byte{extension}, str("session-bind@openssh.com"), str(hostKey), str(sessionID), str(signature), []byte{0})
}

func hostileBound(t *testing.T, w *world) map[string]hostileCase {
	t.Helper()
	ok := step{bind{host: w.hosts["gitea"]}.request(t), success}
	k := w.keys["gitea"].Public()
	after := func(l login, reason string) hostileCase {
		return hostileCase{steps: []step{ok, {l.request(), failure}}, reason: reason}
	}
	return map[string]hostileCase{
		"bound, another session":        after(login{key: k, session: strings.Repeat("z", 32)}, "another SSH session"),
		"bound, longer session":         after(login{key: k, session: sessionID + "z"}, "another SSH session"),
		"bound, another forge's key":    after(login{key: w.keys["api"].Public()}, "not pinned for forge hub"),
		"bound, strict forge's key":     after(login{key: w.keys["strict"].Public()}, "not pinned for forge strict"),
		"bound, hostbound to its other": after(login{key: k, method: hostbound, hostKey: w.hosts["gitea-rsa"].PublicKey().Marshal()}, "another host"),
		"bound, hostbound to another":   after(login{key: k, method: hostbound, hostKey: w.hosts["hub"].PublicKey().Marshal()}, "not pinned for forge gitea"),
		"bound, another user":           after(login{key: k, user: "admin"}, `user "admin"`),
	}
}
