package control_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"deploykeyd/agent"
	"deploykeyd/agent/control"
	"deploykeyd/agent/unixsock"
)

// stub is a daemon whose answers a test decides. Its channels are nil where a
// call answers at once.
type stub struct {
	mu     sync.Mutex
	status agent.Status

	readied  chan struct{} // closed when it is ready
	entered  chan string   // gets the name of each call that begins
	revoking chan struct{} // Revoke answers when it is closed
	remnants []agent.Remnant
	failure  error
}

func (s *stub) note(call string) {
	if s.entered != nil {
		s.entered <- call
	}
}

func (s *stub) Status() agent.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *stub) becomeReady() {
	s.mu.Lock()
	s.status.Ready = true
	s.mu.Unlock()
	close(s.readied)
}

func (s *stub) AwaitReady(ctx context.Context) error {
	s.note("await")
	select {
	case <-s.readied:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *stub) Verify(ctx context.Context) (agent.Status, error) {
	s.note("verify")
	return s.Status(), errors.Join(s.failure, ctx.Err())
}

func (s *stub) Revoke(ctx context.Context) []agent.Remnant {
	s.note("revoke")
	if s.revoking != nil {
		select {
		case <-s.revoking:
		case <-ctx.Done():
		}
	}
	return s.remnants
}

// served is a running server.
type served struct {
	path   string
	l      *unixsock.Listener
	server *control.Server
	client *control.Client
	stop   func() error // ends it and returns what Serve did
	log    *lockedBuffer
}

func serve(t *testing.T, d control.Daemon, users ...string) *served {
	t.Helper()
	return serveTo(t, d, unixsock.NewUsers(users, nil, unixsock.Resolver{}, nil))
}

func serveTo(t *testing.T, d control.Daemon, users *unixsock.Users) *served {
	t.Helper()
	path := filepath.Join(folder(t), "control.sock")
	l, err := unixsock.Listen(path, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, l, path, d, users)
}

func serveOn(t *testing.T, l *unixsock.Listener, path string, d control.Daemon, users *unixsock.Users) *served {
	t.Helper()
	s := &served{path: path, l: l, log: &lockedBuffer{}}
	s.server = control.NewServer(control.Options{
		Daemon: d, Users: users,
		Logger: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.server.Serve(ctx, l) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	s.client = control.NewClient(s.path)
	return s
}

// dial connects without saying anything.
func (s *served) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := unixsock.Dial(t.Context(), s.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// say sends raw bytes and reads the answer.
func (s *served) say(t *testing.T, text string) (status int, body string) {
	t.Helper()
	c := s.dial(t)
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%.40q: %v", text, err)
	}
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil && !errors.Is(err, syscall.ECONNRESET) { // which ends an answer to a request that was not read whole
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// closedByServer waits until the server has closed c.
func closedByServer(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the server keeps a connection open")
	}
}

// folder returns a folder that other users may look into.
func folder(t *testing.T) string {
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

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) has(t *testing.T, words ...string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range words {
		if !strings.Contains(b.buf.String(), w) {
			t.Errorf("no %q in the log:\n%s", w, b.buf.String())
		}
	}
}

// hammerEnv makes the test binary connect to the socket over and over.
const hammerEnv = "DEPLOYKEYD_CONTROL_TEST_HAMMER"

// hammer lives as long as its standard input is open. It says so when the queue
// has been full.
func hammer(path string) {
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	full := sync.OnceFunc(func() { _, _ = os.Stdout.WriteString("full") })
	for {
		c, err := new(net.Dialer).DialContext(context.Background(), "unix", path)
		if err == nil {
			_ = c.Close()
		}
		if errors.Is(err, syscall.EAGAIN) {
			full()
		}
	}
}

// clientEnv makes the test binary ask as another user: "uid socket".
const clientEnv = "DEPLOYKEYD_CONTROL_TEST"

func TestMain(m *testing.M) {
	if path := os.Getenv(hammerEnv); path != "" {
		hammer(path)
	}
	path := os.Getenv(clientEnv)
	if path == "" {
		m.Run()
		return
	}
	ctx := context.Background()
	c := control.NewClient(path)
	say := func(what string, err error) {
		if err == nil {
			err = errors.New("allowed")
		}
		if e, ok := errors.AsType[*control.Error](err); ok && (e.Next == "" || !errors.Is(err, control.ErrRefused)) {
			err = fmt.Errorf("no proper refusal: %w", err)
		}
		_, _ = fmt.Fprintf(os.Stdout, "%s: %v\n", what, err)
	}
	_, err := c.Status(ctx)
	say("status", err)
	_, err = c.Ready(ctx, 0)
	say("ready", err)
	_, err = c.Verify(ctx)
	say("verify", err)
	_, err = c.Revoke(ctx)
	say("revoke", err)
}
