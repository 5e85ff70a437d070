package forgesim_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// dial logs in with x/crypto's client, which is cheaper than a process each.
func dial(f *forgesim.Forge, private ed25519.PrivateKey) (*ssh.Client, error) {
	signer, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		return nil, err
	}
	hostKey, _, _, _, err := ssh.ParseAuthorizedKey([]byte(f.HostKeys()[0]))
	if err != nil {
		return nil, err
	}
	return ssh.Dial("tcp", net.JoinHostPort(f.SSH().Host, strconv.Itoa(f.SSH().Port)), &ssh.ClientConfig{
		User: "git", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(hostKey),
	})
}

// TestManyConnections holds 300 connections open at once and runs git on each.
func TestManyConnections(t *testing.T) {
	f := startOne(t, provision.Gitea)
	public, private := newKey(t)
	f.AddKey("acme/api", "x", public, provision.Read)
	const connections = 300
	clients := make([]*ssh.Client, connections)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			c, err := dial(f, private)
			if err != nil {
				t.Error(err)
				return
			}
			clients[i] = c
		})
	}
	all.Wait()
	for _, c := range clients {
		if c == nil {
			t.Fatal("not all are connected")
		}
		all.Go(func() {
			if err := advertise(c); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, c := range clients {
		_ = c.Close()
	}
}

// advertise has git advertise refs and ends politely.
func advertise(c *ssh.Client) error {
	s, err := c.NewSession()
	if err != nil {
		return err
	}
	defer s.Close()
	s.Stdin = bytes.NewReader([]byte("0000"))
	out, err := s.Output("git-upload-pack '/acme/api.git'")
	if err == nil && !bytes.Contains(out, []byte("refs/heads/main")) {
		err = fmt.Errorf("no refs in %q", out)
	}
	return err
}

// TestGitEndsWithConnection hangs up on git in mid-command: it must end.
func TestGitEndsWithConnection(t *testing.T) {
	f := startOne(t, provision.Gitea)
	public, private := newKey(t)
	f.AddKey("acme/api", "x", public, provision.Read)
	c, err := dial(f, private)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.StdinPipe(); err != nil { // never written to: git waits
		t.Fatal(err)
	}
	if err := s.Start("git-upload-pack '/acme/api.git'"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if err := f.Await(t.Context(), func() bool { return len(f.Commands()) == 1 }); err != nil {
		t.Fatal(err)
	}
	if k := f.Commands()[0]; k.Exit != 128 || k.Key != public || k.Repository != "acme/api" {
		t.Errorf("command %+v", k)
	}
}

// TestSSHRefusesTheRest tries what a git client never does.
func TestSSHRefusesTheRest(t *testing.T) {
	f := startOne(t, provision.Gitea)
	public, private := newKey(t)
	f.AddKey("acme/api", "x", public, provision.Read)
	c, err := dial(f, private)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Dial("tcp", "127.0.0.1:1"); err == nil {
		t.Error("a forward was opened")
	}
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Setenv("LD_PRELOAD", "x"); err == nil {
		t.Error("an environment variable was taken")
	}
	if err := s.RequestPty("xterm", 1, 1, nil); err == nil {
		t.Error("a terminal was given")
	}
	if err := s.Run("git-upload-pack '/acme/api.git'; id"); err == nil {
		t.Error("a second command was run")
	} else if _, ok := errors.AsType[*ssh.ExitError](err); !ok {
		t.Error(err)
	}
}
