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

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent/key"
	"deploykeyd/agent/unixsock"
	"deploykeyd/provision"
	"deploykeyd/provision/hostkey"
)

// newSession is a session of a made-up caller that is lent one key.
func newSession(tb testing.TB, log io.Writer, argv ...string) (*session, *key.Key) {
	tb.Helper()
	k, err := key.Generate(key.Ed25519)
	if err != nil {
		tb.Fatal(err)
	}
	host, err := hostkey.Parse("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIazEu89wgQZ4bqs3d63QSMzYVa0MuJ2e2gKTKqu+UUO")
	if err != nil {
		tb.Fatal(err)
	}
	f := &Forge{
		Name: "gitea", Kind: provision.Gitea, HostKeys: []hostkey.Pin{host},
		SSH: provision.SSHAddress{User: "git", Host: "gitea.test", Port: 22},
	}
	ring := &Keyring{}
	if err := ring.Publish(f, "acme/api", k); err != nil {
		tb.Fatal(err)
	}
	a := newAudience("users", ring, always(true), always(true), newTurns())
	a.uses, a.quota.every = &usage{}, 0 // signs as often as it likes
	return &session{
		forges:   []*Forge{f},
		audience: a,
		audit:    &audit{logger: slog.New(slog.NewJSONHandler(log, nil))},
		caller: caller{
			Peer: unixsock.Peer{UID: 1001, GID: 1002, PID: 4711, Proven: true}, account: user(1001), claim: printable(beginning(argv), maxClaim), hint: readHint(argv),
			facts: unixsock.Process{Exe: "/usr/bin/ssh", Comm: "ssh\n", Cgroup: "/system.slice/jenkins.service"},
		},
	}, k
}

// bubble serves a session over a pipe on the bubble's clock. The returned
// channel is closed when the session has ended.
func bubble(t *testing.T, s *session) (net.Conn, <-chan struct{}) {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = ours.Close() })
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = theirs.Close() }()
		s.serve(t.Context(), theirs)
	}()
	return ours, done
}

func TestIdleClientsAreLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s, _ := newSession(t, &log)
		_, done := bubble(t, s)
		began := time.Now()
		<-done
		if took := time.Since(began); took != idleLimit {
			t.Errorf("left after %v, want %v", took, idleLimit)
		}
		if log.Len() != 0 {
			t.Errorf("asked for nothing and was refused: %s", log.Bytes())
		}
	})
}

func TestSlowMessagesAreLeft(t *testing.T) {
	for name, c := range map[string]struct {
		from   time.Duration // age of the connection when the message begins
		took   time.Duration
		reason string
	}{
		"slow":    {0, arriveLimit, "not arrived within 10s"},
		"too old": {maxAge - time.Second, time.Second, "older than 5m0s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			s, _ := newSession(t, &log)
			conn, done := bubble(t, s)
			for age := time.Duration(0); age < c.from; age += time.Second { // so as not to be idle
				if number, err := exchange(conn, []byte{0, 0, 0, 1, msgRequestIdentities}); err != nil || number != msgIdentitiesAnswer {
					t.Fatalf("%s: reply %d, %v", name, number, err)
				}
				<-time.After(time.Second)
			}
			began := time.Now()
			if _, err := conn.Write([]byte{0, 0, 0, 9, 1}); err != nil {
				t.Fatal(err)
			}
			<-done
			if took := time.Since(began); took != c.took {
				t.Errorf("%s: left after %v, want %v", name, took, c.took)
			}
			all := lines(t, log.Bytes())
			if len(all) != 1 || all[0]["action"] != "message" || !strings.Contains(all[0]["reason"].(string), c.reason) {
				t.Errorf("%s: log %v", name, all)
			}
		})
	}
}

func TestClientsThatTakeNoReplyAreLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSession(t, io.Discard)
		c, done := bubble(t, s)
		began := time.Now()
		if _, err := c.Write([]byte{0, 0, 0, 1, msgRequestIdentities}); err != nil {
			t.Fatal(err)
		}
		<-done
		if took := time.Since(began); took != replyLimit {
			t.Errorf("left after %v, want %v", took, replyLimit)
		}
	})
}

func TestBusyClientsAreLeftInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSession(t, io.Discard)
		c, done := bubble(t, s)
		began := time.Now()
		for {
			_, err := c.Write([]byte{0, 0, 0, 1, msgRequestIdentities})
			if err == nil {
				_, err = io.ReadFull(c, make([]byte, 5))
				_, _ = c.Read(make([]byte, 1000))
			}
			if err != nil {
				break
			}
			select {
			case <-time.After(time.Minute):
			case <-done:
			}
		}
		<-done
		if took := time.Since(began); took != maxAge {
			t.Errorf("left after %v, want %v", took, maxAge)
		}
	})
}

// Who was not given a turn is shown nothing, and a bind that was not even looked
// at is a refused one.
func TestListsAndBindsWithoutATurn(t *testing.T) {
	s, _ := newSession(t, io.Discard)
	bind := pinHost(t, s)
	s.audience.turns = &turns{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	none := append([]byte{msgIdentitiesAnswer}, 0, 0, 0, 0)
	if reply := s.answer(ctx, []byte{msgRequestIdentities}); !bytes.Equal(reply, none) {
		t.Errorf("reply %x", reply)
	}
	if reply := s.answer(ctx, bind); reply[0] != msgExtensionFailure || !s.binding.refused || s.binding.done() {
		t.Errorf("reply %x, %+v", reply, s.binding)
	}
}

func TestAuditLine(t *testing.T) {
	var log bytes.Buffer
	s, k := newSession(t, &log, "ssh", "git@gitea.test", "git-upload-pack 'acme/api.git'", "\n\x1b]0;x\x07"+strings.Repeat("z", 1000))
	if reply := s.answer(t.Context(), []byte{msgRequestIdentities}); reply[0] != msgIdentitiesAnswer {
		t.Fatalf("reply %x", reply)
	}
	request := appendString([]byte{msgSignRequest}, k.Public())
	request = append(appendString(request, []byte("data")), 0, 0, 0, 0)
	if reply := s.answer(t.Context(), request); !bytes.Equal(reply, []byte{msgFailure}) {
		t.Fatalf("reply %x", reply)
	}
	var got map[string]any
	if err := json.Unmarshal(log.Bytes(), &got); err != nil {
		t.Fatalf("not one line: %v: %q", err, log.String())
	}
	line, _ := got["command_line"].(string)
	delete(got, "command_line")
	delete(got, "time")
	want := map[string]any{
		"level": "WARN", "msg": "agent request", "socket": "users", "uid": 1001.0, "gid": 1002.0, "pid": 4711.0,
		"exe": "/usr/bin/ssh", "comm": `ssh\n`, "cgroup": "/system.slice/jenkins.service",
		"action": "sign", "forge": "gitea", "repository": "acme/api", "key": fingerprint(k.Public()), "bound": false,
		"decision": "refused", "reason": errNotALogin.Error(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(line, `ssh git@gitea.test git-upload-pack 'acme/api.git' \n\x1b]0;x\azzz`) || len(line) != maxClaim+3 {
		t.Errorf("command line of %d bytes: %q", len(line), line)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "",
		`a "b" 'c'`:                 `a "b" 'c'`,
		"a\x00\r\n\x1b\x7f\u202e":   `a\x00\r\n\x1b\x7f\u202e`,
		"\xff":                      `\xff`,
		`back\slash`:                `back\\slash`,
		strings.Repeat("x", 300):    strings.Repeat("x", 300),
		strings.Repeat("x", 301):    strings.Repeat("x", 300) + "...",
		strings.Repeat("\n", 99):    strings.Repeat(`\n`, 99),
		strings.Repeat("\x00", 200): strings.Repeat(`\x00`, 75) + "...",
	} {
		if got := printable(in, 300); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
