package sshagent

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"deploykeyd/agent/unixsock"
)

// user is the account of a user that is listed itself, group that of a group.
func user(id uint32) unixsock.Account  { return unixsock.Account{ID: id} }
func group(id uint32) unixsock.Account { return unixsock.Account{Group: true, ID: id} }

// always is a decision that is the same for everybody.
func always(yes bool) judge {
	return func(p unixsock.Peer) (unixsock.Account, bool) { return user(p.UID), yes }
}

// serveAudience serves a on a socket. end stops it and returns how long that took.
func serveAudience(t *testing.T, a *audience, log io.Writer) (dial func() net.Conn, end func() time.Duration) {
	t.Helper()
	dir, err := os.MkdirTemp("", "dkd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := unixsock.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Logger: slog.New(slog.NewJSONHandler(log, nil))})
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.serve(ctx, l, a) }()
	dial = func() net.Conn {
		c, err := unixsock.Dial(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	end = func() time.Duration {
		began := time.Now()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		return time.Since(began)
	}
	return dial, end
}

// closed waits until the server has hung up.
func closed(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); os.IsTimeout(err) {
		t.Error("the connection is open")
	}
}

// A client whose /proc entries block whoever reads them holds nobody up.
func TestStrangersAreRefusedBeforeTheirProcessIsLookedAt(t *testing.T) {
	var log bytes.Buffer
	a := newAudience("users", &Keyring{}, always(false), always(false), newTurns())
	a.read = func(p unixsock.Peer) caller {
		t.Error("read")
		return caller{Peer: p, facts: unixsock.Process{Exe: "/claim"}}
	}
	dial, end := serveAudience(t, a, &log)
	closed(t, dial())
	end()
	var line map[string]any
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, log.Bytes())
	}
	for _, name := range []string{"exe", "comm", "cgroup", "command_line"} {
		if _, there := line[name]; there {
			t.Errorf("audit line %v has %s", line, name)
		}
	}
	if line["uid"] != float64(os.Geteuid()) || line["pid"] != float64(os.Getpid()) {
		t.Errorf("audit line %v", line)
	}
}

func TestServesWithoutAHintWhatCannotBeRead(t *testing.T) {
	release, reading := make(chan struct{}), make(chan struct{}, 10)
	defer close(release)
	a := newAudience("users", &Keyring{}, always(true), always(true), newTurns())
	a.read = func(p unixsock.Peer) caller {
		reading <- struct{}{}
		<-release
		return caller{Peer: p}
	}
	dial, end := serveAudience(t, a, io.Discard)
	c := dial()
	if _, err := c.Write([]byte{0, 0, 0, 1, msgRequestIdentities}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Errorf("not served: %v", err)
	}
	dial()
	<-reading
	<-reading
	if took := end(); took > readLimit {
		t.Errorf("the end took %v", took)
	}
}

// Looking a user up may take long, and even that must not hold up the end.
func TestServeEndsAlthoughAnAdmissionHangs(t *testing.T) {
	release, asked := make(chan struct{}), make(chan struct{}, 1)
	a := newAudience("users", &Keyring{}, always(false), func(unixsock.Peer) (unixsock.Account, bool) {
		asked <- struct{}{}
		<-release
		return unixsock.Account{}, false
	}, newTurns())
	var log bytes.Buffer
	dial, end := serveAudience(t, a, &log)
	dial()
	<-asked
	if took := end(); took > finishLimit+time.Second {
		t.Errorf("the end took %v", took)
	}
	if !bytes.Contains(log.Bytes(), []byte("connections left")) {
		t.Errorf("log: %s", log.Bytes())
	}
	close(release)
}

func TestReadsThatHangAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		a := newAudience("users", &Keyring{}, always(true), always(true), newTurns())
		a.read = func(p unixsock.Peer) caller {
			<-release
			return caller{Peer: p, claim: "late"}
		}
		ask := func(uid uint32) (caller, time.Duration) {
			began := time.Now()
			return a.callerOf(t.Context(), unixsock.Peer{UID: uid}, user(uid)), time.Since(began)
		}
		for range maxPerUser {
			if c, _ := ask(1001); c.claim != "" || c.UID != 1001 {
				t.Fatalf("got %+v", c)
			}
		}
		if _, took := ask(1001); took != 0 {
			t.Errorf("one more took %v", took)
		}
		if _, took := ask(1002); took != readLimit {
			t.Errorf("another user waited for %v, want %v", took, readLimit)
		}
		close(release)
		synctest.Wait()
		if c, took := ask(1001); took != 0 || c.claim == "" {
			t.Errorf("after all have ended: %+v, %v", c, took)
		}
		if a.reads.total != 0 {
			t.Errorf("%d reads still count", a.reads.total)
		}
	})
}

func TestStrangersWaitInPlacesOfTheirOwn(t *testing.T) {
	release, asked := make(chan struct{}), make(chan struct{}, maxPerUser)
	defer close(release)
	a := newAudience("users", &Keyring{}, always(false), func(unixsock.Peer) (unixsock.Account, bool) {
		asked <- struct{}{}
		<-release
		return unixsock.Account{}, false
	}, newTurns())
	dial, end := serveAudience(t, a, io.Discard)
	for range maxPerStranger {
		dial()
		<-asked
	}
	closed(t, dial()) // refused without being asked for
	if a.users.total != 0 || a.strangers.total != maxPerStranger || len(asked) != 0 {
		t.Errorf("%d places of users and %d of strangers are taken", a.users.total, a.strangers.total)
	}
	release <- struct{}{}
	end()
}

func TestUsersThatAppearLeaveTheStrangersPlaces(t *testing.T) {
	a := newAudience("users", &Keyring{}, always(false), always(true), newTurns())
	dial, end := serveAudience(t, a, io.Discard)
	for n := range 2 * maxPerStranger {
		c := dial()
		if _, err := c.Write([]byte{0, 0, 0, 1, msgRequestIdentities}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
			t.Fatalf("connection %d: %v", n, err)
		}
	}
	end()
	if a.users.total != 0 || a.strangers.total != 0 {
		t.Errorf("%d and %d places are still taken", a.users.total, a.strangers.total)
	}
}

// lockedBuffer is a log that timers write to.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// take returns what was written since the last time.
func (b *lockedBuffer) take() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.Next(b.Len()))
}

func TestRefusalsDoNotFloodTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lockedBuffer
		s, _ := newSession(t, &log)
		lines := func() (told, more []map[string]any) {
			for d := json.NewDecoder(bytes.NewReader(log.take())); d.More(); {
				var line map[string]any
				if err := d.Decode(&line); err != nil {
					t.Fatal(err)
				}
				if line["msg"] == "agent request" {
					told = append(told, line)
				} else {
					more = append(more, line)
				}
			}
			return told, more
		}
		flood := func(uid uint32, times int) {
			s.caller.UID = uid
			for range times {
				s.refused(t.Context(), event{action: "sign"}, errPoisoned)
			}
		}
		flood(1001, 200)
		for range 200 {
			s.audit.signed(t.Context(), s, event{action: "sign"})
		}
		flood(1002, 60)
		told, more := lines()
		if len(told) != 60+200+60 || len(more) != 0 {
			t.Errorf("%d lines and %d summaries", len(told), len(more))
		}
		<-time.After(unixsock.RefusalWindow + time.Second)
		synctest.Wait()
		told, more = lines()
		if len(told) != 0 || len(more) != 1 || more[0]["uid"] != 1001.0 || more[0]["count"] != 140.0 {
			t.Errorf("after a minute: %v, %v", told, more)
		}
		for uid := range uint32(1000) { // nobody fills it with many users either
			flood(2000+uid, 1)
		}
		if told, _ = lines(); len(told) >= 500 {
			t.Errorf("%d lines of 1000 users", len(told))
		}
		<-time.After(unixsock.RefusalWindow + time.Second)
		synctest.Wait()
		if _, more = lines(); len(more) != 1 || more[0]["uid"] != "several" || more[0]["count"] != float64(1000-len(told)) {
			t.Errorf("of 1000 users: %v", more)
		}
	})
}

func TestAuditTellsWhatTheKernelDoesNotVouchFor(t *testing.T) {
	for _, proven := range []bool{true, false} {
		var log bytes.Buffer
		s, _ := newSession(t, &log, "ssh", "git@gitea.test")
		s.caller.Proven = proven
		s.refused(t.Context(), event{action: "sign"}, errPoisoned)
		if got := bytes.Contains(log.Bytes(), []byte(`"process":"unproven"`)); got == proven {
			t.Errorf("proven %v: %s", proven, log.Bytes())
		}
	}
}
