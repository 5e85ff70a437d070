package sshagent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"deploykeyd/agent/key"
	"deploykeyd/agent/sshagent"
	"deploykeyd/agent/unixsock"
	"deploykeyd/provision"
)

// client leaves the connection to others between its requests.
func client(c net.Conn) agent.ExtendedAgent { return agent.NewClient(struct{ io.ReadWriter }{c}) }

// listed returns what a client is shown.
func listed(t *testing.T, c net.Conn) []string {
	t.Helper()
	keys, err := client(c).List()
	if err != nil {
		t.Fatal(err)
	}
	var comments []string
	for _, k := range keys {
		comments = append(comments, k.Comment)
	}
	return comments
}

// A client that says nothing about itself, as this test program: one key of
// each forge whose key is clear.
func TestListShowsKeys(t *testing.T) {
	w := newWorld(t)
	c := w.dial(t)
	keys, err := client(c).List()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]byte{}
	for _, k := range keys {
		got[k.Comment] = k.Blob
	}
	want := map[string][]byte{
		"deploykeyd gitea acme/web":  w.keys["gitea"].Public(),
		"deploykeyd strict acme/api": w.keys["strict"].Public(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// The same connection, bound: the keys of that host only, of which none is clear.
	w.must(t, c, bind{host: w.hosts["hub"]}.request(t), success)
	if got := listed(t, c); got != nil {
		t.Errorf("bound to github.test: %v", got)
	}
	line := w.log.last(t)
	if !strings.Contains(fmt.Sprint(line["reason"]), "hub has 2 keys") || line["next"] == nil || line["bound"] != true {
		t.Errorf("audit line %v", line)
	}
	w.server.Withdraw("hub", "acme/api", w.keys["api"])
	if diff := cmp.Diff([]string{"deploykeyd hub acme/web"}, listed(t, c)); diff != "" {
		t.Errorf("with one key left (-want +got):\n%s", diff)
	}
}

func (w *world) must(t *testing.T, c net.Conn, message []byte, number byte) []byte {
	t.Helper()
	reply, err := ask(c, message)
	if err != nil || len(reply) == 0 || reply[0] != number {
		t.Fatalf("reply %.40x, %v, want number %d: %v", reply, err, number, w.log.last(t))
	}
	return reply[1:]
}

func TestSignsLogins(t *testing.T) {
	w := newWorld(t)
	w.lendRSA(t)
	gitea, strict := w.hosts["gitea"], w.hosts["strict"]
	for name, c := range map[string]struct {
		key   string
		login login
		bind  *bind
	}{
		"unbound":                {key: "gitea"},
		"unbound ecdsa":          {key: "web"},
		"unbound hostbound":      {key: "gitea", login: login{method: hostbound, hostKey: gitea.PublicKey().Marshal()}},
		"flags of no meaning":    {key: "gitea", login: login{flags: 4}},
		"bound":                  {key: "gitea", bind: &bind{host: gitea}},
		"bound to an RSA host":   {key: "gitea", bind: &bind{host: w.hosts["gitea-rsa"], algorithm: "rsa-sha2-512"}},
		"bound hostbound":        {key: "gitea", bind: &bind{host: gitea}, login: login{method: hostbound, hostKey: gitea.PublicKey().Marshal()}},
		"bound long session":     {key: "gitea", bind: &bind{host: gitea, session: strings.Repeat("s", 64)}, login: login{session: strings.Repeat("s", 64)}},
		"required":               {key: "strict", bind: &bind{host: strict}},
		"required, rsa, sha-256": {key: "rsa", bind: &bind{host: strict}, login: login{algorithm: "rsa-sha2-256", flags: 2}},
		"required, rsa, sha-512": {key: "rsa", bind: &bind{host: strict}, login: login{algorithm: "rsa-sha2-512", flags: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			conn := w.dial(t)
			if c.bind != nil {
				w.must(t, conn, c.bind.request(t), success)
			}
			c.login.key = w.keys[c.key].Public()
			reply := w.must(t, conn, c.login.request(), signAnswer)
			checkSignature(t, c.login, reply)
			line := w.log.last(t)
			want := map[string]any{"decision": "signed", "action": "sign", "bound": c.bind != nil, "socket": "users", "key": provisionKey(c.login.key).Fingerprint()}
			for name, value := range want {
				if line[name] != value {
					t.Errorf("audit %s is %v, want %v", name, line[name], value)
				}
			}
		})
	}
}

func checkSignature(t *testing.T, l login, reply []byte) {
	t.Helper()
	var outer struct {
		Blob []byte
	}
	var signature ssh.Signature
	if err := errors.Join(ssh.Unmarshal(reply, &outer), ssh.Unmarshal(outer.Blob, &signature)); err != nil {
		t.Fatal(err)
	}
	public, err := ssh.ParsePublicKey(l.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := public.Verify(l.data(), &signature); err != nil {
		t.Error(err)
	}
	if l.algorithm != "" && signature.Format != l.algorithm {
		t.Errorf("signed with %s, want %s", signature.Format, l.algorithm)
	}
}

func TestQueryNamesTheExtensions(t *testing.T) {
	w := newWorld(t)
	reply := w.must(t, w.dial(t), join([]byte{extension}, str("query")), extensionResponse)
	if want := join(str("query"), str("query"), str("session-bind@openssh.com")); !bytes.Equal(reply, want) {
		t.Errorf("got %q, want %q", reply, want)
	}
}

// Clients of x/crypto's agent package get errors, not what they asked for.
func TestClientsCannotChangeTheAgent(t *testing.T) {
	w := newWorld(t)
	c := client(w.dial(t))
	public, err := ssh.ParsePublicKey(w.keys["gitea"].Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"remove": c.Remove(public), "remove all": c.RemoveAll(), "lock": c.Lock([]byte("x")), "unlock": c.Unlock([]byte("x")),
	} {
		if err == nil {
			t.Errorf("%s succeeded", name)
		}
	}
	if _, err := c.Sign(public, []byte("any data")); err == nil {
		t.Error("any data was signed")
	}
	if keys, err := c.List(); err != nil || len(keys) != 2 {
		t.Errorf("after all that: %d keys, %v", len(keys), err)
	}
}

// G7's half: the old key goes on signing until it is withdrawn.
func TestRotationKeepsTheOldKeySigning(t *testing.T) {
	w := newWorld(t)
	old, fresh := w.keys["gitea"], generate(t, key.Ed25519)
	c := w.dial(t)
	for _, repo := range []provision.Repository{"acme/api", "acme/web"} {
		w.server.Publish("gitea", repo, fresh)
		w.must(t, c, login{key: old.Public()}.request(), signAnswer)
		w.must(t, c, login{key: fresh.Public()}.request(), signAnswer)
	}
	w.server.Publish("gitea", "acme/api", old) // it is published: that makes it no newer
	w.must(t, c, bind{host: w.hosts["gitea"]}.request(t), success)
	keys, err := client(c).List()
	if err != nil || len(keys) != 1 || !bytes.Equal(keys[0].Blob, fresh.Public()) {
		t.Errorf("amid the rotation: %v, %v", keys, err)
	}
	w.server.Withdraw("gitea", "ACME/api", old)
	w.must(t, c, login{key: old.Public()}.request(), signAnswer)
	w.server.Withdraw("gitea", "acme/web", old)
	w.must(t, c, login{key: old.Public()}.request(), failure)
	w.server.Withdraw("gitea", "acme/web", old)
	w.must(t, c, login{key: fresh.Public()}.request(), signAnswer)
	fresh.Wipe()
	w.must(t, c, login{key: fresh.Public()}.request(), failure)
	if line := w.log.last(t); line["reason"] != key.ErrWiped.Error() {
		t.Errorf("audit line %v", line)
	}
}

func TestPublishForAnUnknownForgeLendsNothing(t *testing.T) {
	w := newWorld(t)
	w.server.Publish("elsewhere", "acme/api", w.keys["foreign"])
	if line := w.log.last(t); line["level"] != "ERROR" || line["forge"] != "elsewhere" {
		t.Errorf("log line %v", line)
	}
	w.must(t, w.dial(t), login{key: w.keys["foreign"].Public()}.request(), failure)
}

// The forge of a loan says which logins its key may sign: a key has one.
func TestPublishForASecondForgeLendsNothing(t *testing.T) {
	w := newWorld(t)
	k := w.keys["gitea"]
	w.server.Publish("hub", "acme/api", k)
	line := w.log.last(t)
	if line["level"] != "ERROR" || line["forge"] != "hub" || line["key"] != provisionKey(k.Public()).Fingerprint() ||
		!strings.Contains(fmt.Sprint(line["reason"]), "forge gitea already") {
		t.Errorf("log line %v", line)
	}
	c := w.dial(t)
	w.must(t, c, bind{host: w.hosts["hub"]}.request(t), success)
	w.must(t, c, login{key: k.Public()}.request(), failure)
	w.server.Publish("gitea", "acme/more", k)
	w.must(t, w.dial(t), login{key: k.Public()}.request(), signAnswer)
	for _, repo := range []provision.Repository{"acme/api", "acme/web", "acme/more"} {
		w.server.Withdraw("gitea", repo, k)
	}
	w.server.Publish("hub", "acme/api", k) // now it is free
	w.must(t, c, login{key: k.Public()}.request(), signAnswer)
}

// hungUp waits until the server has closed the connection.
func hungUp(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, c); n != 0 || os.IsTimeout(err) {
		t.Errorf("%d bytes, %v: the connection is open", n, err)
	}
}

func TestUsersThatAreNotListedGetNothing(t *testing.T) {
	w := newWorld(t, "61234")
	c := w.dial(t)
	_, _ = c.Write(str([]byte{listRequest}))
	hungUp(t, c)
	line := w.log.last(t)
	if line["decision"] != "refused" || line["action"] != "connect" || fmt.Sprint(line["uid"]) != me() ||
		!strings.Contains(fmt.Sprint(line["next"]), "users:") || fmt.Sprint(line["pid"]) != fmt.Sprint(os.Getpid()) {
		t.Errorf("audit line %v", line)
	}
}

func TestNobodyIsServedWithoutUsers(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	l, err := unixsock.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- sshagent.New(sshagent.Options{}).Serve(ctx, l) }()
	c, err := unixsock.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	hungUp(t, c)
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
