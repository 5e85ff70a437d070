package verify_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
	"deploykeyd/provision/hostkey"
	"deploykeyd/provision/sshconfig"
	"deploykeyd/provision/verify"
)

// signing is an agent with one key that counts its signatures.
type signing struct {
	agent.Agent
	path   string
	public provision.PublicKey
	signed atomic.Int64
}

func (s *signing) Sign(key ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	defer s.signed.Add(1)
	return s.Agent.Sign(key, data)
}

func (s *signing) count() int { return int(s.signed.Load()) }

// newAgent serves a new key on a socket.
func newAgent(t *testing.T) *signing {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wire, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	s := &signing{Agent: agent.NewKeyring(), path: filepath.Join(shortDir(t), "agent.sock")}
	if s.public, err = provision.PublicKeyFromBlob(wire.Marshal()); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	serve(t, "unix", s.path, func(c net.Conn) { _ = agent.ServeAgent(s, c) })
	return s
}

// serve listens until the test ends.
func serve(t *testing.T, network, address string, handle func(net.Conn)) net.Addr {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(t.Context(), func() { _ = c.Close() })
			go func() {
				defer func() { _ = c.Close() }()
				handle(c)
			}()
		}
	}()
	return l.Addr()
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dkd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// start runs a forge of kind k with the repository acme/app.
func start(t *testing.T, k provision.Kind, o forgesim.RepositoryOptions) *forgesim.Forge {
	t.Helper()
	sim, err := forgesim.Start(t.Context(), forgesim.Options{Kinds: []provision.Kind{k}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	f := sim.Forge(k)
	if err := f.AddRepository("acme/app", o); err != nil {
		t.Fatal(err)
	}
	return f
}

func request(t *testing.T, f *forgesim.Forge, s *signing) verify.Request {
	t.Helper()
	var pins []hostkey.Pin
	for _, line := range f.HostKeys() {
		pin, err := hostkey.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		pins = append(pins, pin)
	}
	return verify.Request{
		Host: sshconfig.Host{Forge: "forge", SSH: f.SSH(), Pins: pins}, Kind: f.Kind(),
		Repository: "acme/app", AgentSocket: s.path, Signed: s.count,
	}
}

// prove runs a proof and checks that nothing is left of it.
func prove(t *testing.T, o verify.Options, r verify.Request) (verify.Result, error) {
	t.Helper()
	o.Dir = t.TempDir()
	p, err := verify.New(o)
	if err != nil {
		t.Fatal(err)
	}
	result, err := p.Prove(t.Context(), r)
	if left, dirErr := os.ReadDir(o.Dir); dirErr != nil || len(left) > 0 {
		t.Errorf("left in the temporary folder: %v (%v)", left, dirErr)
	}
	return result, err
}

// relay forwards to the forge's SSH side and stops for good when it has passed
// limit bytes to the client.
func relay(t *testing.T, to provision.SSHAddress, limit int64) provision.SSHAddress {
	t.Helper()
	forge := net.JoinHostPort(to.Host, portOf(to))
	at := serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		server, err := new(net.Dialer).DialContext(t.Context(), "tcp", forge)
		if err != nil {
			return
		}
		defer func() { _ = server.Close() }()
		go func() { _, _ = io.Copy(server, c) }()
		if n, _ := io.CopyN(c, server, limit); n == limit {
			<-t.Context().Done()
		}
	})
	to.Host, to.Port = "127.0.0.1", at.(*net.TCPAddr).Port
	return to
}

func within(d time.Duration) verify.Options { return verify.Options{Timeout: d, TakeUp: d} }
