package sshagent

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// loginData is a login request that would be signed.
func loginData(blob []byte, method string, rest ...[]byte) []byte {
	data := appendString(nil, thirtyTwo)
	data = append(data, msgUserauthRequest)
	for _, s := range []string{"git", serviceConnection, method} {
		data = appendString(data, s)
	}
	data = append(data, 1)
	data = appendString(appendString(data, "ssh-ed25519"), blob)
	for _, r := range rest {
		data = appendString(data, r)
	}
	return data
}

const thirtyTwo = "0123456789abcdef0123456789abcdef"

// FuzzMessages feeds a whole connection and demands of every signature that
// comes out of it that it is one over a login with that key.
func FuzzMessages(f *testing.F) {
	s, k := newSession(f, io.Discard)
	frame := func(m ...byte) []byte { return appendString(nil, m) }
	good := loginData(k.Public(), methodPublicKey)
	sign := func(data []byte) []byte {
		m := appendString([]byte{msgSignRequest}, k.Public())
		return frame(append(appendString(m, data), 0, 0, 0, 0)...)
	}
	bind := appendString([]byte{msgExtension}, extSessionBind)
	f.Add(frame(msgRequestIdentities))
	f.Add(sign(good))
	f.Add(sign(append(good, 0)))
	f.Add(sign([]byte("SSHSIG")))
	f.Add(bytes.Join([][]byte{frame(bind...), sign(good)}, nil))
	f.Add(frame(appendString([]byte{msgExtension}, extQuery)...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0, 0})
	f.Add(frame(17, 0xff, 0xff, 0xff, 0xff))
	f.Fuzz(func(t *testing.T, stream []byte) {
		s := *s // with the keys of the first, but nothing of what it has been told
		replies := &recorder{in: bytes.NewReader(stream)}
		s.serve(t.Context(), replies)
		checkReplies(t, k.Public(), stream, replies.out.Bytes())
	})
}

func checkReplies(t *testing.T, public, stream, out []byte) {
	t.Helper()
	signer, err := ssh.ParsePublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	requests := reader{rest: stream}
	for r := (reader{rest: out}); len(r.rest) > 0; {
		reply, request := r.string(), requests.string()
		if r.short || len(reply) == 0 {
			t.Fatalf("replies end amid one: %x", out)
		}
		if reply[0] != msgSignResponse {
			continue
		}
		var signature ssh.Signature
		inner := reader{rest: reply[1:]}
		if err := ssh.Unmarshal(inner.string(), &signature); err != nil {
			t.Fatal(err)
		}
		asked, err := parseSignRequest(request[1:])
		if err != nil || signer.Verify(asked.data, &signature) != nil {
			t.Fatalf("a signature over something else: %v", err)
		}
		if l, err := parseLogin(asked.data); err != nil || l.user != "git" || !bytes.Equal(l.key, public) {
			t.Fatalf("signed %x", asked.data)
		}
	}
}

// recorder is a connection that reads what is given and keeps what is written.
type recorder struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (r *recorder) Read(p []byte) (int, error)     { return r.in.Read(p) }
func (r *recorder) Write(p []byte) (int, error)    { return r.out.Write(p) }
func (*recorder) SetReadDeadline(time.Time) error  { return nil }
func (*recorder) SetWriteDeadline(time.Time) error { return nil }

// FuzzParseLogin demands that what is accepted is the one encoding of its parts.
func FuzzParseLogin(f *testing.F) {
	blob := []byte("\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + thirtyTwo)
	f.Add(loginData(blob, methodPublicKey))
	f.Add(loginData(blob, methodHostbound, blob))
	f.Add(loginData(blob, methodHostbound))
	f.Add(loginData(blob, methodHostbound, nil))
	f.Add([]byte("SSHSIG\x00\x00\x00\x03git"))
	f.Add(binary.BigEndian.AppendUint32(nil, 1<<31))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := parseLogin(data)
		if err != nil {
			return
		}
		again := appendString(nil, l.session)
		again = append(again, msgUserauthRequest)
		again = appendString(appendString(again, l.user), serviceConnection)
		method := methodPublicKey
		if l.hostbound {
			method = methodHostbound
		}
		again = append(appendString(again, method), 1)
		again = appendString(appendString(again, l.algorithm), l.key)
		if l.hostbound {
			again = appendString(again, l.hostKey)
		}
		if !bytes.Equal(again, data) {
			t.Fatalf("%x was read as %x", data, again)
		}
		if bytes.HasPrefix(data, []byte("SSHSIG")) {
			t.Fatal("a file signature was taken for a login")
		}
	})
}

// FuzzBind demands that no bind succeeds: the seeds' signatures are not the
// host's, and nobody can make one up.
func FuzzBind(f *testing.F) {
	s, _ := newSession(f, io.Discard)
	host := s.forges[0].HostKeys[0].Key.Blob()
	payload := func(hostKey []byte, session string, signature []byte, forwarding byte) []byte {
		b := appendString(appendString(nil, hostKey), session)
		return append(appendString(b, signature), forwarding)
	}
	signature := appendString(appendString(nil, "ssh-ed25519"), make([]byte, 64))
	f.Add(payload(host, thirtyTwo, signature, 0))
	f.Add(payload(host, thirtyTwo, signature, 1))
	f.Add(payload(host, thirtyTwo, nil, 0))
	f.Add(payload(host[:20], thirtyTwo, signature, 0))
	f.Add(payload(host, "", signature, 0))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		var b binding
		if err := b.bind(data, s.forges); err == nil {
			t.Fatalf("bound by %x", data)
		}
		if !b.tried || !b.refused || b.done() {
			t.Fatalf("after a refusal: %+v", b)
		}
	})
}
