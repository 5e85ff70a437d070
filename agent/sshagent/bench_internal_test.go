package sshagent

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"deploykeyd/agent/key"
	"deploykeyd/agent/unixsock"
	"deploykeyd/provision"
)

// BenchmarkSignatures has logins signed through our socket, with everything that
// belongs to it but the quota of signatures (peer credentials, rules, turns,
// audit line), and through that of OpenSSH's ssh-agent: the same client sends
// the same request, on one connection and on eight at a time. An operation is
// one signature. The budget is 5,000 a second with a p99 of 2 ms on two cores
// that have nothing else to do; what fails, on any machine, is being slower than
// ssh-agent.
func BenchmarkSignatures(b *testing.B) {
	ours, ourKey := benchServer(b)
	theirs, theirKey := benchOpenSSH(b)
	for _, connections := range []int{1, 8} {
		b.Run(strconv.Itoa(connections), func(b *testing.B) {
			var a, o signing
			b.Run("deploykeyd", func(b *testing.B) { a = sign(b, ours, ourKey, connections) })
			b.Run("ssh-agent", func(b *testing.B) { o = sign(b, theirs, theirKey, connections) })
			b.Run("deploykeyd-to-ssh-agent", func(b *testing.B) {
				b.ReportMetric(0, "ns/op") // nothing of its own
				b.ReportMetric(a.rate/o.rate, "rate-ratio")
				b.ReportMetric(float64(a.p99)/float64(o.p99), "p99-ratio")
				if a.rate < o.rate {
					b.Errorf("slower than ssh-agent: %.0f signatures a second, not %.0f", a.rate, o.rate)
				}
			})
		})
	}
}

// benchServer serves one key to ourselves, without the quota.
func benchServer(b *testing.B) (socket string, public []byte) {
	b.Helper()
	s, k := benchOf(b)
	socket = filepath.Join(shortDir(b), "s")
	serveUntilEnd(b, socket, s.Serve)
	return socket, k.Public()
}

// benchOf is a server of a forge with one key.
func benchOf(tb testing.TB) (*Server, *key.Key) {
	tb.Helper()
	k, err := key.Generate(key.Ed25519)
	if err != nil {
		tb.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = null.Close() })
	s := New(Options{
		Forges: []Forge{{Name: "hub", Kind: provision.GitHub, SSH: provision.SSHAddress{User: "git", Host: "github.test", Port: 22}}},
		Users:  unixsock.NewUsers([]string{strconv.Itoa(os.Geteuid())}, nil, unixsock.Resolver{}, nil),
		Logger: slog.New(slog.NewJSONHandler(null, nil)),
	})
	s.users.quota.every = 0
	s.Publish("hub", "acme/api", k)
	return s, k
}

// serveUntilEnd serves a socket until the benchmark ends.
func serveUntilEnd(tb testing.TB, socket string, serve func(context.Context, Listener) error) {
	tb.Helper()
	l, err := unixsock.Listen(socket, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(tb.Context())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, l) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			tb.Error(err)
		}
	})
}

// benchOpenSSH runs OpenSSH's agent with one key.
func benchOpenSSH(b *testing.B) (socket string, public []byte) {
	b.Helper()
	socket = filepath.Join(shortDir(b), "s")
	c := exec.CommandContext(b.Context(), "ssh-agent", "-D", "-a", socket)
	if err := c.Start(); err != nil {
		b.Fatalf("%v: install openssh-client", err)
	}
	b.Cleanup(func() { _ = c.Wait() }) // killed when the context of b ends
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		b.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-tick.C {
		conn, err := unixsock.Dial(b.Context(), socket)
		if err == nil {
			defer func() { _ = conn.Close() }() //nolint:revive // once: it returns below
			if err := agent.NewClient(conn).Add(agent.AddedKey{PrivateKey: private}); err != nil {
				b.Fatal(err)
			}
			return socket, signer.PublicKey().Marshal()
		}
		if time.Now().After(deadline) {
			b.Fatal(err)
		}
	}
}

// shortDir is a folder whose path leaves room for a socket's name.
func shortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "dkd")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// signing is what was measured.
type signing struct {
	rate float64 // signatures a second
	p99  time.Duration
}

// sign has b.N logins signed over so many connections at once.
func sign(b *testing.B, socket string, public []byte, connections int) signing {
	b.Helper()
	request := appendString([]byte{msgSignRequest}, public)
	request = appendString(request, loginData(public, methodPublicKey))
	request = appendString(nil, append(request, 0, 0, 0, 0))
	took := make([][]time.Duration, connections)
	conns := make([]net.Conn, connections)
	for i := range conns {
		c, err := unixsock.Dial(b.Context(), socket)
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = c.Close() }() //nolint:revive // all of them, at the end
		conns[i] = c
		signOnce(b, c, request) // the connection has been accepted
	}
	var wg sync.WaitGroup
	b.ResetTimer()
	for i, c := range conns {
		wg.Go(func() {
			for range b.N/connections + 1 {
				began := time.Now()
				signOnce(b, c, request)
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	r := signing{float64(len(all)) / b.Elapsed().Seconds(), all[len(all)*99/100]}
	b.ReportMetric(r.rate, "sig/s")
	b.ReportMetric(float64(r.p99)/float64(time.Millisecond), "p99-ms")
	return r
}

// signOnce has one login signed.
func signOnce(b *testing.B, c net.Conn, request []byte) {
	b.Helper()
	if _, err := c.Write(request); err != nil {
		b.Error(err)
		return
	}
	var reply [4 + 1 + 4 + 4 + len("ssh-ed25519") + 4 + ed25519.SignatureSize]byte
	if _, err := io.ReadFull(c, reply[:]); err != nil {
		b.Error(err)
		return
	}
	if size := binary.BigEndian.Uint32(reply[:]); int(size) != len(reply)-4 || reply[4] != msgSignResponse {
		b.Errorf("reply %x", reply)
	}
}
