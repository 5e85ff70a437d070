package sshagent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"deploykeyd/agent/key"
	"deploykeyd/agent/unixsock"
	"deploykeyd/provision"
	"deploykeyd/provision/hostkey"
)

// pinHost pins a new host key at the session's forge and returns a request that
// binds the connection to a session with it.
func pinHost(t *testing.T, s *session) (request []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	host, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	pin, err := hostkey.Parse(string(ssh.MarshalAuthorizedKey(host.PublicKey())))
	if err != nil {
		t.Fatal(err)
	}
	s.forges[0].HostKeys = append(s.forges[0].HostKeys, pin)
	signature, err := host.Sign(rand.Reader, []byte(thirtyTwo))
	if err != nil {
		t.Fatal(err)
	}
	request = appendString([]byte{msgExtension}, extSessionBind)
	request = appendString(appendString(request, host.PublicKey().Marshal()), thirtyTwo)
	return append(appendString(request, ssh.Marshal(signature)), 0)
}

// Everything that takes some work has its turn, what is refused too: without one
// nothing is even looked at.
func TestNothingIsDoneWithoutATurn(t *testing.T) {
	var log bytes.Buffer
	s, k := newSession(t, &log)
	bind := pinHost(t, s)
	good := signMessageOf(k)[4:]
	bad := bytes.Clone(good)
	bad[len(bad)-1] = 1 // unknown flags
	for name, message := range map[string][]byte{"list": {msgRequestIdentities}, "sign": good, "sign, refused": bad, "bind": bind} {
		log.Reset()
		one, turns := another(s, 1001), &turns{}
		a := *s.audience
		a.turns = turns
		one.audience = &a
		ctx, stop := context.WithCancel(t.Context())
		stop()
		one.answer(ctx, message)
		all := lines(t, log.Bytes())
		if len(all) != 1 || all[0]["reason"] != errStopping.Error() || all[0]["bound"] != false || all[0]["key"] != nil {
			t.Errorf("%s: without a turn: log %v", name, all)
		}
		one.binding.refused = false
		turns.free = 1
		reply := one.answer(t.Context(), message)
		if refused := reply[0] == msgFailure; refused != (name == "sign, refused") {
			t.Errorf("%s: reply %x with a turn", name, reply)
		}
		atRest(t, turns, 1)
	}
}

// What is refused takes nothing out of the quota.
func TestRefusalsTakeNothingOutOfTheQuota(t *testing.T) {
	s, k := newSession(t, io.Discard)
	s.audience.quota.every = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // nobody waits for the quota
	defer cancel()
	message := signMessageOf(k)[4:]
	message[len(message)-1] = 1 // unknown flags
	if reply := s.answer(ctx, message); reply[0] != msgFailure {
		t.Fatalf("reply %x", reply)
	}
	if len(s.audience.quota.whole) != 0 {
		t.Errorf("taken out of the quota: %v", s.audience.quota.whole)
	}
	message[len(message)-1] = 0
	if reply := s.answer(ctx, message); reply[0] != msgSignResponse {
		t.Fatalf("reply %x", reply)
	}
	if left := time.Until(s.audience.quota.whole[user(1001)]); left < 59*time.Minute || left > time.Hour {
		t.Errorf("a signature took %v out of the quota, want once %v", left, time.Hour)
	}
}

// All users that one group lets in have one account, whoever they are.
func TestAGroupIsOneAccount(t *testing.T) {
	s, k := newSession(t, io.Discard)
	s.audience.quota.every = time.Hour
	reading := 0
	s.audience.read = func(p unixsock.Peer) caller {
		s.audience.reads.mu.Lock()
		defer s.audience.reads.mu.Unlock()
		reading += s.audience.reads.groups
		return caller{Peer: p}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // nobody waits for the quota
	defer cancel()
	all := &turns{free: 1}
	s.audience.turns = all
	var waiting sync.WaitGroup
	for uid := range uint32(3) {
		one := another(s, uid)
		one.caller = s.audience.callerOf(t.Context(), unixsock.Peer{UID: uid}, group(7))
		one.answer(ctx, signMessageOf(k)[4:])
		if err := all.enter(t.Context(), user(1)); err != nil {
			t.Fatal(err)
		}
		waiting.Go(func() { one.answer(t.Context(), []byte{msgRequestIdentities}) })
		if !waits(t, all, nil) {
			t.Fatal("does not wait")
		}
		all.mu.Lock()
		who := all.lines[0].who
		all.mu.Unlock()
		if who != group(7) {
			t.Errorf("waits as %+v", who)
		}
		all.leave()
		waiting.Wait()
	}
	left := time.Until(s.audience.quota.whole[group(7)])
	if len(s.audience.quota.whole) != 1 || left < 2*time.Hour || left > 3*time.Hour {
		t.Errorf("quotas %v, want one that is whole in 3 hours", s.audience.quota.whole)
	}
	if reading != 3 {
		t.Errorf("%d of 3 processes were read on the group's account", reading)
	}
	taken(&s.audience.reads, group(7))
	if c := s.audience.callerOf(t.Context(), unixsock.Peer{UID: 9}, group(7)); c.account != group(7) {
		t.Errorf("%+v where no process can be read any more", c.account)
	}
}

// All sockets of a process have one set of turns.
func TestAllSocketsShareTheTurns(t *testing.T) {
	k, err := key.Generate(key.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Forges: []Forge{{Name: "hub", Kind: provision.GitHub, SSH: provision.SSHAddress{User: "git", Host: "github.test", Port: 22}}}})
	s.users.known, s.users.admit = always(true), always(true)
	s.Publish("hub", "acme/api", k)
	dir := shortDir(t)
	v, err := s.OpenVerification(dir, "hub", "acme/api", k)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	repository := filepath.Join(dir, "r")
	serveUntilEnd(t, repository, func(ctx context.Context, l Listener) error { return s.ServeRepository(ctx, l, "hub", "acme/api") })
	shared := filepath.Join(dir, "s")
	serveUntilEnd(t, shared, s.Serve)

	all := s.users.turns
	for range all.free {
		if err := all.enter(t.Context(), user(4711)); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{v.Path(), repository, shared} {
		c, err := unixsock.Dial(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		answered := make(chan byte, 1)
		go func() {
			number, _ := exchange(c, signMessageOf(k))
			answered <- number
		}()
		if !waits(t, all, answered) {
			t.Fatalf("%s: answered without one of the turns", path)
		}
		all.leave()
		if number := <-answered; number != msgSignResponse {
			t.Errorf("%s: reply %d", path, number)
		}
		if err := all.enter(t.Context(), user(4711)); err != nil {
			t.Fatal(err)
		}
	}
}

// waits reports whether a request comes to wait for a turn rather than be answered.
func waits(t *testing.T, turns *turns, answered <-chan byte) bool {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(10 * time.Second); ; {
		turns.mu.Lock()
		n := len(turns.lines)
		turns.mu.Unlock()
		if n == 1 {
			return true
		}
		select {
		case <-answered:
			return false
		case <-deadline:
			t.Fatal("neither waits nor is answered")
		case <-tick.C:
		}
	}
}
