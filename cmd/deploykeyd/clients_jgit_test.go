package main_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// JGit's own SSH would not ask an agent even at a forge whose host key it
// understands. Where it starts ssh, the same agent is asked.
func TestJGitsOwnSSHAsksNoAgent(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Fatal("these tests act as several users: run them as root (sudo make test)")
	}
	s := &site{dir: shortDir(t)}
	server := startECDSAServer(t)
	home := s.userDir(t, "home")
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(home, ".ssh/known_hosts"), server.known+"\n")
	write(t, filepath.Join(s.userDir(t, "etc"), "ssh_config"), "")
	socket, asked := startAgent(t, s.dir)
	j := jail{etc: filepath.Join(s.dir, "etc"), home: home, gid: listedUID, env: []string{jgitClasspath, javaBrief, "SSH_AUTH_SOCK=" + socket}}
	clone := jgitClone(nil, "ssh://git@"+server.address+"/acme/api.git")

	if r := j.run(t, "", clone); r.status == 0 || !strings.Contains(r.said, "Auth fail") || server.logins.Load() == 0 {
		t.Errorf("no login was refused: exit status %d: %s", r.status, r.said)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the agent was asked %d times", n)
	}
	j.env = slices.Concat(j.env, []string{"GIT_SSH=/usr/bin/ssh"})
	if r := j.run(t, "", clone); r.status == 0 || asked.Load() == 0 {
		t.Errorf("with ssh the agent was not asked: exit status %d: %s", r.status, r.said)
	}
}

// shortDir makes a folder that other users may enter, for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dkd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// startAgent listens in place of an agent, and counts who asks.
func startAgent(t *testing.T, dir string) (path string, asked *atomic.Int32) {
	t.Helper()
	path, asked = filepath.Join(dir, "agent.sock"), &atomic.Int32{}
	serve(t, "unix", path, func(c net.Conn) {
		asked.Add(1)
		_ = c.Close()
	})
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	return path, asked
}

// ecdsaServer is an SSH server with an ECDSA host key, which lets nobody in.
type ecdsaServer struct {
	address, known string
	logins         atomic.Int32 // tried
}

func startECDSAServer(t *testing.T) *ecdsaServer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s := &ecdsaServer{}
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
			return nil, errors.New("unknown key")
		},
		AuthLogCallback: func(ssh.ConnMetadata, string, error) { s.logins.Add(1) },
	}
	config.AddHostKey(signer)
	s.address = serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		_, _, _, _ = ssh.NewServerConn(c, config) //nolint:dogsled // it always fails
		_ = c.Close()
	}).String()
	s.known = knownhosts.Line([]string{s.address}, signer.PublicKey())
	return s
}

// serve handles connections, one after the other, until the test ends.
func serve(t *testing.T, network, address string, handle func(net.Conn)) net.Addr {
	t.Helper()
	l, err := net.Listen(network, address) //nolint:noctx // a test's own socket
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
			handle(c)
		}
	}()
	return l.Addr()
}
