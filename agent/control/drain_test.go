package control_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"deploykeyd/agent"
	"deploykeyd/agent/control"
	"deploykeyd/agent/unixsock"
)

// successor serves the same socket, as the process does that takes over.
func (s *served) successor(t *testing.T, d control.Daemon) *served {
	t.Helper()
	f, err := s.l.File()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	ul := l.(*net.UnixListener)
	ul.SetUnlinkOnClose(false)
	return serveOn(t, &unixsock.Listener{UnixListener: ul}, s.path, d, nil)
}

// drain begins to drain. The channel is closed when that is over.
func (s *served) drain(ctx context.Context) chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.server.Drain(ctx)
	}()
	return done
}

// request sends a request on a connection of its own and returns that.
func (s *served) request(t *testing.T, text string) net.Conn {
	t.Helper()
	c := s.dial(t)
	if _, err := c.Write([]byte(text + " HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	return c
}

func status(t *testing.T, c net.Conn) int {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// Who waits for readiness is told how it is, who connects meanwhile is served
// by the successor, and the socket is there all the time.
func TestDrainLeavesTheQueueToTheSuccessor(t *testing.T) {
	d := &stub{status: someStatus(), readied: make(chan struct{}), entered: make(chan string, 9), revoking: make(chan struct{})}
	s := serve(t, d)
	waiting := s.request(t, "GET /v1/ready?wait=60s")
	<-d.entered
	command := s.request(t, "POST /v1/revoke")
	<-d.entered
	began := time.Now()
	done := s.drain(t.Context())
	if got := status(t, waiting); got != http.StatusServiceUnavailable || time.Since(began) > 10*time.Second {
		t.Errorf("who waited for readiness got %d after %v", got, time.Since(began))
	}
	queued := s.request(t, "GET /v1/status")
	select {
	case <-done:
		t.Error("drained while a request is under way")
	default:
	}
	close(d.revoking)
	if got := status(t, command); got != http.StatusOK {
		t.Errorf("the command got %d", got)
	}
	<-done
	if info, err := os.Lstat(s.path); err != nil || info.Mode().Type() != os.ModeSocket {
		t.Fatalf("the socket file: %v, %v", info, err)
	}
	second := s.successor(t, &stub{status: someStatus()})
	if got := status(t, queued); got != http.StatusOK {
		t.Errorf("who had queued got %d", got)
	}
	if _, err := second.client.Status(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.server.Serve(t.Context(), s.l); err != nil {
		t.Errorf("served after it was drained: %v", err)
	}
	if err := second.stop(); err != nil {
		t.Error(err)
	}
}

// Clients that ask all the time notice nothing of several hand-overs.
func TestNoClientNoticesADrain(t *testing.T) {
	now := serve(t, &stub{status: someStatus(), readied: make(chan struct{})})
	first := now
	over := make(chan struct{})
	answered := make(chan struct{}, 8)
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			for {
				ask := now.client.Status
				if i%2 == 0 {
					ask = func(ctx context.Context) (agent.Status, error) { return first.client.Ready(ctx, 10*time.Millisecond) }
				}
				if _, err := ask(t.Context()); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-over:
					return
				case answered <- struct{}{}:
				default:
				}
			}
		})
	}
	servers := []*served{now}
	for range 5 {
		for range 20 {
			<-answered
		}
		last := servers[len(servers)-1]
		<-last.drain(t.Context())
		servers = append(servers, last.successor(t, &stub{status: someStatus(), readied: make(chan struct{})}))
	}
	close(over)
	clients.Wait()
	for _, s := range servers {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	}
}

// What does not end has until ctx ends. The client is told that it was
// interrupted, and what it had begun goes on.
func TestDrainEndsWithItsContext(t *testing.T) {
	d := &stub{status: someStatus(), entered: make(chan string, 9), revoking: make(chan struct{})}
	s := serve(t, d)
	silent := s.dial(t)
	failed := make(chan error, 1)
	go func() {
		_, err := s.client.Revoke(t.Context())
		failed <- err
	}()
	<-d.entered
	ctx, cancel := context.WithCancel(t.Context())
	done := s.drain(ctx)
	select {
	case <-done:
		t.Error("did not wait")
	default:
	}
	cancel()
	<-done
	if err := <-failed; !errors.Is(err, control.ErrInterrupted) || !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("the client got %v", err)
	}
	closedByServer(t, silent)
	close(d.revoking) // which Revoke was still waiting for
	if _, err := os.Lstat(s.path); err != nil {
		t.Errorf("the socket file: %v", err)
	}
}

// A stop that comes while it drains is a stop: the socket goes, and a
// revocation may still answer.
func TestStopWhileDraining(t *testing.T) {
	d := &stub{status: someStatus(), entered: make(chan string, 9), revoking: make(chan struct{})}
	s := serve(t, d)
	command := s.request(t, "POST /v1/revoke")
	<-d.entered
	done := s.drain(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	for { // once nobody listens any more, the end has begun
		c, err := unixsock.Dial(t.Context(), s.path)
		if err != nil {
			break
		}
		_ = c.Close()
	}
	close(d.revoking)
	if got := status(t, command); got != http.StatusOK {
		t.Errorf("the command got %d", got)
	}
	<-done
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(s.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket file: %v", err)
	}
}
