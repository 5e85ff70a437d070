package sshagent_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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

func TestBrokenMessagesEndTheConnection(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		send   []byte
		reason string
	}{
		"too long":    {u32(256<<10 + 1), "262145 bytes"},
		"much longer": {u32(0xffffffff), "4294967295 bytes"},
		"empty":       {u32(0), "0 bytes"},
		"cut":         {join(u32(100), []byte{signRequest, 0, 0}), "before its announced length"},
		"cut length":  {[]byte{0, 0}, "before its announced length"},
	} {
		conn := w.dial(t).(*net.UnixConn)
		if _, err := conn.Write(c.send); err != nil {
			t.Fatal(err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		reply, err := io.ReadAll(conn)
		if err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v", name, err)
		}
		if len(reply) != 0 && !bytes.Equal(reply, str([]byte{failure})) {
			t.Errorf("%s: reply %x", name, reply)
		}
		if line := w.log.last(t); !strings.Contains(fmt.Sprint(line["reason"]), c.reason) {
			t.Errorf("%s: audit line %v", name, line)
		}
	}
}

// The longest message that is allowed is read; it is a sign request of a login
// whose user's name is long.
func TestLongMessagesAreRead(t *testing.T) {
	w := newWorld(t)
	c := w.dial(t)
	l := login{key: w.keys["gitea"].Public(), user: strings.Repeat("u", 200<<10)}
	w.must(t, c, l.request(), failure)
	l.user = ""
	w.must(t, c, l.request(), signAnswer)
}

func TestConnectionsOfAUserAreLimited(t *testing.T) {
	w := newWorld(t)
	const limit = 64
	var open []net.Conn
	for range limit {
		c := w.dial(t)
		w.must(t, c, join([]byte{extension}, str("query")), extensionResponse)
		open = append(open, c)
	}
	hungUp(t, w.dial(t))
	if line := w.log.last(t); !strings.Contains(fmt.Sprint(line["reason"]), "too many connections") {
		t.Errorf("audit line %v", line)
	}
	_ = open[0].Close()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for { // the server learns of the end in its own time
		c := w.dial(t)
		if _, err := ask(c, []byte{listRequest}); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("no place is free although a connection has ended")
		}
	}
}

func TestServeEndsWithOpenConnections(t *testing.T) {
	w := newWorld(t)
	idle, half := w.dial(t), w.dial(t)
	w.must(t, idle, []byte{listRequest}, listAnswer)
	w.must(t, half, []byte{listRequest}, listAnswer)
	if _, err := half.Write(binary.BigEndian.AppendUint32(nil, 1000)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	w.stop()
	if err := <-w.served; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	hungUp(t, idle)
	hungUp(t, half)
	if _, err := unixsock.Dial(t.Context(), w.socket); err == nil {
		t.Error("the socket still answers")
	}
}

// exhausted is a listener that has no file descriptor left, a few times.
type exhausted struct {
	net.Listener
	times int
}

func (l *exhausted) Accept() (net.Conn, error) {
	if l.times--; l.times >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

func TestServeOutlivesAShortageOfDescriptors(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(folder(t), "s")
	l, err := unixsock.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- w.server.Serve(ctx, &exhausted{l, 2}) }()
	c, err := unixsock.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	w.must(t, c, []byte{listRequest}, listAnswer)
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if n := len(w.log.lines(t)); n != 2 {
		t.Errorf("%d log lines, want 2", n)
	}
}

func TestServeTellsOfABrokenListener(t *testing.T) {
	l, err := unixsock.Listen(filepath.Join(folder(t), "s"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := sshagent.New(sshagent.Options{}).Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
