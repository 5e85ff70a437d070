package sshagent

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"deploykeyd/agent/key"
)

// costly is a log in which each line takes a time, as a slow signature would.
type costly struct{ slog.Handler }

const cost = time.Millisecond

func (costly) Enabled(context.Context, slog.Level) bool { return true }

func (costly) Handle(context.Context, slog.Record) error {
	<-time.After(cost)
	return nil
}

// signMessageOf asks for a login to be signed.
func signMessageOf(k *key.Key) []byte {
	request := appendString([]byte{msgSignRequest}, k.Public())
	request = appendString(request, loginData(k.Public(), methodPublicKey))
	return appendString(nil, append(request, 0, 0, 0, 0))
}

// exchange sends a message and returns the reply's number.
func exchange(c net.Conn, message []byte) (byte, error) {
	if _, err := c.Write(message); err != nil {
		return 0, err
	}
	var head [5]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return 0, err
	}
	r := reader{rest: head[:4]}
	_, err := io.CopyN(io.Discard, c, int64(r.uint32())-1)
	return head[4], err
}

// another is a session of a user over the same socket.
func another(s *session, uid uint32) *session {
	same := *s
	same.caller.UID, same.caller.account = uid, user(uid)
	return &same
}

// greedily signs without pause, on as many connections as one user may have,
// until end is called.
func greedily(t *testing.T, s *session, message []byte) (end func()) {
	t.Helper()
	var ends []func()
	for range maxPerUser {
		c, done := bubble(t, another(s, 1001))
		go func() {
			for {
				if _, err := exchange(c, message); err != nil {
					return
				}
			}
		}()
		ends = append(ends, func() {
			_ = c.Close()
			<-done
		})
	}
	return func() {
		for _, end := range ends {
			end()
		}
	}
}

// politely signs every now and then for a user, and returns the longest wait. It
// gives up once that is longer than most.
func politely(t *testing.T, s *session, message []byte, times int, most time.Duration) time.Duration {
	t.Helper()
	c, done := bubble(t, another(s, 1002))
	var longest time.Duration
	for n := 0; n < times && longest <= most; n++ {
		<-time.After(10*time.Millisecond + 300*time.Microsecond)
		began := time.Now()
		if number, err := exchange(c, message); err != nil || number != msgSignResponse {
			t.Fatalf("reply %d, %v", number, err)
		}
		longest = max(longest, time.Since(began))
	}
	_ = c.Close()
	<-done
	return longest
}

// One user signs without pause on 64 connections. Each of another user's
// signatures waits for what is being worked on and for one turn of the greedy
// user, never for its 64. The time is virtual: work alone takes any.
func TestAGreedyUserSlowsAnotherByOneTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newSession(t, io.Discard)
		s.audit = &audit{logger: slog.New(costly{slog.DiscardHandler})}
		s.audience.turns = &turns{free: 2}
		end := greedily(t, s, signMessageOf(k))
		defer end()
		began := time.Now()
		longest := politely(t, s, signMessageOf(k), 200, 3*cost)
		if longest > 3*cost {
			t.Errorf("a signature took up to %v beside a greedy user, want at most the one in work, one turn and its own: %v", longest, 3*cost)
		}
		could := 2 * uint64(time.Since(began)/cost)
		if n := s.audience.uses.all().signatures; n < could*9/10 {
			t.Errorf("%d signatures, but %d could be made: nobody was greedy", n, could)
		}
	})
}

// A greedy user gets its quota, and with it its lines in the log, and no more.
func TestAGreedyUserGetsItsQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newSession(t, io.Discard)
		s.audience.quota.every = signEvery
		end := greedily(t, s, signMessageOf(k))
		defer end()
		const during = 15 * time.Second
		if longest := politely(t, s, signMessageOf(k), int(during/(10*time.Millisecond)), 0); longest != 0 {
			t.Errorf("the other user waited for up to %v", longest)
		}
		polite := uint64(during / (10 * time.Millisecond))
		quota := signBurst + uint64((during+time.Second)/signEvery)
		if n := s.audience.uses.all().signatures - polite; n > quota || n < signBurst {
			t.Errorf("%d signatures of the greedy user, the quota is %d", n, quota)
		}
		if n := s.audience.uses.all().refused; n != 0 {
			t.Errorf("%d were refused", n)
		}
	})
}

// lines reads a log of JSON lines.
func lines(t *testing.T, log []byte) []map[string]any {
	t.Helper()
	var all []map[string]any
	for d := json.NewDecoder(bytes.NewReader(log)); d.More(); {
		var line map[string]any
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		all = append(all, line)
	}
	return all
}

// waitingRequest is a session with a request that waits.
type waitingRequest struct {
	*session
	key  *key.Key
	stop context.CancelFunc
}

func (w waitingRequest) withdraw() { w.audience.ring.Withdraw(w.forges[0], "acme/api", w.key) }

func onQuota(every time.Duration) func(*session) {
	return func(s *session) { s.audience.limits = &limits{quota: quota{every: every}} }
}

func onATurn(s *session) { s.audience.turns = &turns{} }

// What waits is refused, with one line: at once when the daemon stops, and when
// the connection is too old. What was withdrawn meanwhile is not signed with.
func TestWaitingRequestsEnd(t *testing.T) {
	stop := func(w waitingRequest) { w.stop() }
	none := func(waitingRequest) {}
	const known, unknown = true, false
	for name, c := range map[string]struct {
		wait   func(*session)
		then   func(waitingRequest)
		after  time.Duration
		known  bool // for which repository: what waits for its first turn has not been looked at
		reason string
	}{
		"quota, stop":      {onQuota(time.Hour), stop, 0, known, "is stopping"},
		"turn, stop":       {onATurn, stop, 0, unknown, "is stopping"},
		"quota, age":       {onQuota(time.Hour), none, maxAge, known, "older than 5m0s"},
		"turn, age":        {onATurn, none, maxAge, unknown, "older than 5m0s"},
		"quota, withdrawn": {onQuota(time.Minute), waitingRequest.withdraw, time.Minute, known, "not lent"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				s, k := newSession(t, &log)
				s.audience.uses.know("gitea", "acme/api")
				c.wait(s)
				ours, theirs := net.Pipe()
				defer func() { _ = ours.Close() }()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go s.serve(ctx, theirs)
				go func() { _, _ = exchange(ours, signMessageOf(k)) }()
				synctest.Wait()
				c.then(waitingRequest{s, k, cancel})
				<-time.After(c.after)
				synctest.Wait()
				all := lines(t, log.Bytes())
				if len(all) != 1 || all[0]["decision"] != "refused" || (all[0]["repository"] == "acme/api") != c.known ||
					!strings.Contains(all[0]["reason"].(string), c.reason) {
					t.Errorf("log %v, want one refusal with %q", all, c.reason)
				}
				if u := s.audience.uses; u.all() != (tally{refused: 1}) || (u.of("gitea", "acme/api") == u.all()) != c.known {
					t.Errorf("counted %+v", u.all())
				}
			})
		})
	}
}
