package sshagent

import (
	"io"
	"net"
	"path/filepath"
	"testing"
)

// BenchmarkSign is one signature through a Unix socket, with its audit line.
func BenchmarkSign(b *testing.B) {
	s, k := newSession(b, io.Discard, "ssh", "git@gitea.test", "git-upload-pack 'acme/api.git'")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(b.TempDir(), "s"), Net: "unix"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			session := *s
			session.serve(b.Context(), c)
		}
	}()
	c, err := net.Dial("unix", l.Addr().String()) //nolint:noctx // answers at once
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	request := appendString([]byte{msgSignRequest}, k.Public())
	request = appendString(request, loginData(k.Public(), methodPublicKey))
	request = appendString(nil, append(request, 0, 0, 0, 0))
	reply := make([]byte, 4+1+4+4+len("ssh-ed25519")+4+64)
	for b.Loop() {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, reply); err != nil {
			b.Fatal(err)
		}
	}
	if reply[4] != msgSignResponse {
		b.Fatalf("reply %x", reply)
	}
}
