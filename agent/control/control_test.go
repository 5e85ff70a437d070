package control_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent"
	"deploykeyd/agent/control"
	"deploykeyd/agent/unixsock"
)

func someStatus() agent.Status {
	return agent.Status{
		Version: "1", Fleet: "ci", Machine: "m-1", Phase: agent.Serving, Started: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
		Repositories: []agent.RepositoryStatus{{Forge: "f", Repository: "acme/app", Condition: agent.ConditionFailed, Reason: "because"}},
		Remaining:    []agent.Remnant{}, Warnings: []string{"w"},
	}
}

func someRemnants() []agent.Remnant {
	return []agent.Remnant{{Forge: "f", Target: "acme/app", Title: "deploykeyd:…", Fingerprint: "SHA256:x", Reason: "r", Next: "n"}}
}

func TestAnswers(t *testing.T) {
	d := &stub{status: someStatus(), remnants: someRemnants()}
	s := serve(t, d)
	for name, ask := range map[string]func(context.Context) (agent.Status, error){
		"status": s.client.Status,
		"ready":  func(ctx context.Context) (agent.Status, error) { return s.client.Ready(ctx, 0) },
		"verify": s.client.Verify,
	} {
		got, err := ask(t.Context())
		if diff := cmp.Diff(someStatus(), got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	got, err := s.client.Revoke(t.Context())
	if diff := cmp.Diff(someRemnants(), got); diff != "" || err != nil {
		t.Errorf("revoke: %v (-want +got):\n%s", err, diff)
	}
	s.log.has(t, `msg="control command" request="POST /v1/verify" uid=`+strconv.Itoa(os.Geteuid()), "POST /v1/revoke")
}

func TestFailuresReachTheClient(t *testing.T) {
	d := &stub{status: someStatus(), failure: errors.New("it is stopping")}
	s := serve(t, d)
	_, err := s.client.Verify(t.Context())
	e, ok := errors.AsType[*control.Error](err)
	if !ok || e.Message != "it is stopping" || !strings.Contains(e.Next, "deploykeyd status") || errors.Is(err, control.ErrRefused) {
		t.Errorf("verify: %#v", err)
	}
}

// A revocation that takes too long answers in its client's time.
func TestRevocationAnswersInTime(t *testing.T) {
	d := &stub{revoking: make(chan struct{}), remnants: someRemnants()}
	s := serve(t, d)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	left, err := s.client.Revoke(ctx)
	if diff := cmp.Diff(someRemnants(), left); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if status, _ := s.say(t, "POST /v1/revoke?timeout=soon HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"); status != http.StatusBadRequest {
		t.Errorf("a timeout that is none: status %d", status)
	}
}

func TestReadyWaits(t *testing.T) {
	d := &stub{status: someStatus(), readied: make(chan struct{}), entered: make(chan string, 9)}
	s := serve(t, d)
	if status, body := s.say(t, "GET /v1/ready?wait=10ms HTTP/1.1\r\nHost: x\r\n\r\n"); status != http.StatusServiceUnavailable || !strings.Contains(body, `"because"`) {
		t.Errorf("not ready in time: %d %s", status, body)
	}
	<-d.entered
	answers := make(chan agent.Status, 1)
	go func() {
		got, err := s.client.Ready(t.Context(), time.Minute)
		if err != nil {
			t.Error(err)
		}
		answers <- got
	}()
	<-d.entered
	select {
	case <-answers:
		t.Error("answered before it was ready")
	default:
	}
	d.becomeReady()
	if got := <-answers; !got.Ready {
		t.Error("not ready when it was")
	}
	if status, _ := s.say(t, "GET /v1/ready HTTP/1.1\r\nHost: x\r\n\r\n"); status != http.StatusOK {
		t.Errorf("ready is %d", status)
	}
}

// TestLongWaitOutlivesTheLimitsOfReading holds a question open for longer than
// a client may take to send one.
func TestLongWaitOutlivesTheLimitsOfReading(t *testing.T) {
	t.Parallel()
	d := &stub{status: someStatus(), readied: make(chan struct{})}
	s := serve(t, d)
	begin := time.Now()
	if _, err := s.client.Ready(t.Context(), 6*time.Second); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took < 6*time.Second {
		t.Errorf("asked to wait 6s, answered after %v", took)
	}
}

func TestAnotherUsersRights(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can be another user")
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(folder(t), "client") // where the other user may run it
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, text, 0o755); err != nil {
		t.Fatal(err)
	}
	const refused = "refused: user id 61234 may not do this"
	for name, test := range map[string]struct {
		users []string
		uid   uint32
		want  string
	}{
		"listed":     {[]string{"61234"}, 61234, "status: allowed\nready: allowed\nverify: " + refused + "\nrevoke: " + refused + "\n"},
		"not listed": {[]string{"61235"}, 61234, "status: " + refused + "\nready: " + refused + "\nverify: " + refused + "\nrevoke: " + refused + "\n"},
		"root":       {nil, 0, "status: allowed\nready: allowed\nverify: allowed\nrevoke: allowed\n"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &stub{status: someStatus(), entered: make(chan string, 9)}
			s := serve(t, d, test.users...)
			cmd := exec.CommandContext(t.Context(), program)
			cmd.Dir = "/"
			cmd.Env = []string{clientEnv + "=" + s.path}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: test.uid, Gid: 61234}}
			out, err := cmd.Output()
			if diff := cmp.Diff(test.want, string(out)); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			if test.uid == 0 {
				return
			}
			close(d.entered)
			for call := range d.entered {
				if call != "await" || name != "listed" {
					t.Errorf("%s reached the daemon", call)
				}
			}
			s.log.has(t, `level=WARN msg="control request refused" request="POST /v1/revoke" uid=61234 pid=`)
		})
	}
}

func TestOddRequests(t *testing.T) {
	d := &stub{status: someStatus(), entered: make(chan string, 9)}
	s := serve(t, d)
	for text, want := range map[string]int{
		"GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n":                                          404,
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n":                                                    404,
		"GET /v1/revoke HTTP/1.1\r\nHost: x\r\n\r\n":                                           405,
		"POST /v1/status HTTP/1.1\r\nHost: x\r\n\r\n":                                          405,
		"GET /v1/ready?wait=soon HTTP/1.1\r\nHost: x\r\n\r\n":                                  400,
		"GET /v1/ready?wait= HTTP/1.1\r\nHost: x\r\n\r\n":                                      400,
		"POST /v1/revoke HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n{":              400,
		"POST /v1/revoke HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n":  400,
		"GET /v1/status HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n": 431,
		"\x00\x01\x02\r\n\r\n":                                                                 400,
		"GET /v1/ready?wait=-5s HTTP/1.1\r\nHost: x\r\n\r\n":                                   503,
	} {
		if status, body := s.say(t, text); status != want {
			t.Errorf("%.60q: %d %s, want %d", text, status, body, want)
		}
	}
	close(d.entered)
	for call := range d.entered {
		if call != "await" {
			t.Errorf("%s reached the daemon", call)
		}
	}
}

func TestOneUserCannotTakeAllConnections(t *testing.T) {
	s := serve(t, &stub{status: someStatus()})
	var held []net.Conn
	for range 32 {
		held = append(held, s.dial(t))
	}
	closedByServer(t, s.dial(t)) // one too many
	_ = held[0].Close()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := s.client.Status(t.Context()); err == nil {
			break
		} else if !errors.Is(err, control.ErrNotRunning) {
			t.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("a connection that was closed still counts")
		}
	}
}

func TestServeTellsWhenItsListenerBreaks(t *testing.T) {
	l, err := unixsock.Listen(filepath.Join(folder(t), "s"), 0o666)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	err = control.NewServer(control.Options{Daemon: &stub{}}).Serve(t.Context(), l)
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("error is %v", err)
	}
}

func TestClientWithoutADaemon(t *testing.T) {
	dir := folder(t)
	if _, err := control.NewClient(filepath.Join(dir, "none")).Status(t.Context()); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("no socket: %v", err)
	}
	dead := filepath.Join(dir, "dead")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", dead)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
	if _, err := control.NewClient(dead).Revoke(t.Context()); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("dead socket: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := control.NewClient(dead).Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestClientAgainstOddServers has something else answer on the socket.
func TestClientAgainstOddServers(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		want   string
		is     error
	}{
		"hangs up":      {"", "", control.ErrNotRunning},
		"cuts":          {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "", control.ErrNotRunning},
		"no JSON":       {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "not understood", nil},
		"other failure": {"HTTP/1.1 500 X\r\nContent-Length: 5\r\n\r\n<oops", "status 500", nil},
		"redirect":      {"HTTP/1.1 302 X\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n", "status 302", nil},
		"too much": {
			fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 17<<20, strings.Repeat(" ", 17<<20)), "longer than", nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(folder(t), "s")
			l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer func() { _ = c.Close() }()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					_, _ = io.WriteString(c, test.answer)
				}
			}()
			_, err = control.NewClient(path).Status(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("error is %v", err)
			}
		})
	}
}
