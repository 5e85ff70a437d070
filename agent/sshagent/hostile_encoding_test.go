package sshagent_test

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// hostileEncodings are logins that are nearly what a server would verify.
func hostileEncodings(t *testing.T, w *world) map[string]hostileCase {
	t.Helper()
	k := w.keys["gitea"].Public()
	host := w.hosts["gitea"].PublicKey().Marshal()
	good := login{key: k}.data()
	data := func(service, method string, signed byte, algorithm string, more ...[]byte) hostileCase {
		d := join(str(sessionID), []byte{50}, str("git"), str(service), str(method), []byte{signed}, str(algorithm), str(k), join(more...))
		return refused(signMessage(k, d, 0), "")
	}
	because := func(c hostileCase, reason string) hostileCase {
		c.reason = reason
		return c
	}
	const conn, ed = "ssh-connection", "ssh-ed25519"
	cases := map[string]hostileCase{
		"flag of the signature 2":        because(data(conn, plain, 2, ed), "no SSH login"),
		"flag of the signature 255":      because(data(conn, plain, 255, ed), "no SSH login"),
		"no method":                      because(data(conn, "", 1, ed), `method ""`),
		"no service":                     because(data("", plain, 1, ed), `service ""`),
		"no algorithm":                   because(data(conn, plain, 1, ""), `algorithm ""`),
		"hostbound with a zero byte":     because(data(conn, hostbound+"\x00", 1, ed, str(host)), "no SSH login"),
		"hostbound, empty host key":      because(data(conn, hostbound, 1, ed, str("")), "(not a key)"),
		"hostbound, two host keys":       because(data(conn, hostbound, 1, ed, str(host), str(host)), "no SSH login"),
		"hostbound, host key and a byte": because(data(conn, hostbound, 1, ed, str(append(slices.Clip(host), 0))), "not pinned for forge gitea"),
		"hostbound, certificate of the host": because(data(conn, hostbound, 1, ed, str(certificate(t, w.hosts["gitea"], ssh.HostCert))),
			"not pinned for forge gitea"),
		"in an SSH packet":      refused(signMessage(k, join(u32(uint32(len(good)+5)), []byte{4}, good, make([]byte, 4)), 0), "no SSH login"),
		"login in a string":     refused(signMessage(k, str(good), 0), "no SSH login"),
		"key exchange hash":     refused(signMessage(k, []byte(sessionID), 0), "no SSH login"),
		"long exchange hash":    refused(signMessage(k, []byte(strings.Repeat("h", 64)), 0), "no SSH login"),
		"file signature, login": refused(signMessage(k, join([]byte("SSHSIG"), good), 0), "SSHSIG"),
		"session id of 19":      refused(login{key: k, session: strings.Repeat("x", 19)}.request(), "no SSH login"),
		"number 0":              refused(signMessage(k, join(str(sessionID), []byte{0}, good[4+32+1:]), 0), "no SSH login"),
	}
	for _, method := range []string{
		"publickey\x00", "\x00publickey", "publickey\x00none", "Publickey", "publickey ", "none", "keyboard-interactive", "gssapi-with-mic",
		"publickey-hostbound@openssh.com", "publickey-hostbound-v01@openssh.com",
	} {
		cases["method "+method] = refused(login{key: k, method: method}.request(), fmt.Sprintf("the login method %q", method))
	}
	for _, service := range []string{"ssh-connection\x00", "SSH-connection", "ssh-connection@openssh.com"} {
		cases["service "+service] = refused(login{key: k, service: service}.request(), fmt.Sprintf("for service %q", service))
	}
	for _, user := range []string{"git\x00", "Git", "git ", "git@gitea.test", "git\x00root"} {
		cases["user "+user] = refused(login{key: k, user: user}.request(), fmt.Sprintf("as user %q", user))
	}
	for _, algorithm := range []string{"ssh-ed25519\x00", "SSH-ED25519", "sk-ssh-ed25519@openssh.com", "rsa-sha2-512", "ssh-ed448"} {
		cases["algorithm "+algorithm] = refused(login{key: k, algorithm: algorithm}.request(), fmt.Sprintf("algorithm %q for a key of type", algorithm))
	}
	return cases
}

// certificate is one of the key of that signer, which signs it itself.
func certificate(t *testing.T, s ssh.Signer, kind uint32) []byte {
	t.Helper()
	c := &ssh.Certificate{Key: s.PublicKey(), CertType: kind, ValidPrincipals: []string{"git"}, ValidBefore: ssh.CertTimeInfinity}
	if err := c.SignCert(rand.Reader, s); err != nil {
		t.Fatal(err)
	}
	return c.Marshal()
}

// hostileKeys are keys that resemble those that are lent.
func hostileKeys(t *testing.T, w *world) map[string]hostileCase {
	t.Helper()
	k, web := w.keys["gitea"].Public(), w.keys["web"].Public()
	raw := k[len(k)-32:]
	public, err := ssh.ParsePublicKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert := &ssh.Certificate{Key: public, CertType: ssh.UserCert, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, w.hosts["stranger"]); err != nil {
		t.Fatal(err)
	}
	point := web[len(web)-65:]
	compressed := join(str("ecdsa-sha2-nistp256"), str("nistp256"), str(join([]byte{2 + point[64]&1}, point[1:33])))
	similar := map[string][]byte{
		"certificate of the key":    cert.Marshal(),
		"key of a security token":   join(str("sk-ssh-ed25519@openssh.com"), str(raw), str("ssh:")),
		"key and a byte":            join(k, []byte{0}),
		"key without its last byte": k[:len(k)-1],
		"key twice":                 join(k, k),
		"key by another name":       join(str("ssh-ed25519\x00"), str(raw)),
		"key without a name":        str(raw),
		"raw key":                   raw,
		"compressed point":          compressed,
	}
	cases := map[string]hostileCase{
		"certificate to be made": refused(signMessage(k, cert.Marshal(), 0), "no SSH login"),
		"no key inside": refused(signMessage(k, join(str(sessionID), []byte{50}, str("git"), str("ssh-connection"), str(plain),
			[]byte{1}, str("ssh-ed25519"), str("")), 0), "another key"),
		"ecdsa as another curve":       refused(login{key: web, algorithm: "ecdsa-sha2-nistp384"}.request(), "for a key of type ecdsa-sha2-nistp256"),
		"ecdsa of a security token":    refused(login{key: web, algorithm: "sk-ecdsa-sha2-nistp256@openssh.com"}.request(), "for a key of type ecdsa-sha2-nistp256"),
		"every flag":                   refused(login{key: k, flags: 0xffffffff}.request(), "flags 0xffffffff"),
		"highest flag":                 refused(login{key: k, flags: 1 << 31}.request(), "flags 0x80000000"),
		"certificate algorithm, plain": refused(login{key: k, asked: k, algorithm: ssh.CertAlgoED25519v01}.request(), "for a key of type ssh-ed25519"),
	}
	for name, blob := range similar {
		cases[name+", asked"] = refused(login{key: blob, algorithm: "ssh-ed25519"}.request(), "not lent")
		cases[name+", inside"] = refused(login{key: blob, asked: k, algorithm: "ssh-ed25519"}.request(), "another key")
		cases[name+", outside"] = refused(login{key: k, asked: blob}.request(), "not lent")
	}
	return cases
}

// hostileLengths have one length wrong, of each string that there is.
func hostileLengths(t *testing.T, w *world) map[string]hostileCase {
	t.Helper()
	cases := map[string]hostileCase{}
	k, host := w.keys["gitea"].Public(), w.hosts["gitea"]
	signing := login{key: k, method: hostbound, hostKey: host.PublicKey().Marshal()}.request()
	add := func(message []byte, at int, name, reason string, answer byte) {
		n := binary.BigEndian.Uint32(message[at:])
		for _, wrong := range []uint32{n - 1, n + 1, 1 << 31, 1<<32 - 1} {
			m := append([]byte(nil), message...)
			binary.BigEndian.PutUint32(m[at:], wrong)
			cases[fmt.Sprintf("%s of length %d", name, wrong)] = hostileCase{steps: []step{{m, answer}}, reason: reason}
		}
	}
	at := 1
	add(signing, at, "key", "cannot be read", failure)
	at += 4 + len(k)
	add(signing, at, "data", "cannot be read", failure)
	at += 4
	for _, f := range []struct {
		name   string
		length int // of the string and of what stands before the next one
	}{
		{"session", len(sessionID) + 1},
		{"user", len("git")},
		{"service", len("ssh-connection")},
		{"method", len(hostbound) + 1},
		{"algorithm", len("ssh-ed25519")},
		{"key inside", len(k)},
		{"host key", len(host.PublicKey().Marshal())},
	} {
		add(signing, at, f.name, "no SSH login", failure)
		at += 4 + f.length
	}
	binding := bind{host: host}.request(t)
	at = 1 + 4 + len("session-bind@openssh.com")
	for _, f := range []struct {
		name   string
		length int
	}{{"bind's host key", len(host.PublicKey().Marshal())}, {"bind's session", len(sessionID)}, {"bind's signature", 0}} {
		add(binding, at, f.name, "bind request cannot be read", extensionFailure)
		at += 4 + f.length
	}
	add(binding, at, "bind's format", "signature cannot be read", extensionFailure)
	add(binding, at+4+len("ssh-ed25519"), "bind's signature blob", "signature cannot be read", extensionFailure)
	return cases
}
