package control_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"deploykeyd/agent"
	"deploykeyd/agent/control"
	"deploykeyd/agent/unixsock"
)

func TestStopIsNotHeldByIdleClients(t *testing.T) {
	d := &stub{status: someStatus(), readied: make(chan struct{}), entered: make(chan string, 9)}
	s := serve(t, d)
	silent, half, idle := s.dial(t), s.dial(t), s.dial(t)
	if _, err := io.WriteString(half, "POST /v1/revoke HTTP/1.1\r\nHo"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(idle, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(idle), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	waiting := make(chan error, 1)
	go func() {
		_, err := s.client.Ready(t.Context(), time.Minute)
		waiting <- err
	}()
	<-d.entered

	begin := time.Now()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("the end took %v", took)
	}
	if err := <-waiting; err != nil {
		t.Errorf("who waited for readiness got no status: %v", err)
	}
	for _, c := range []net.Conn{silent, half, idle} {
		closedByServer(t, c)
	}
	if _, err := os.Stat(s.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket file is left: %v", err)
	}
	if _, err := s.client.Status(t.Context()); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("after the end: %v", err)
	}
}

func TestStopLetsARevocationAnswer(t *testing.T) {
	d := &stub{status: someStatus(), entered: make(chan string, 1), revoking: make(chan struct{}), remnants: someRemnants()}
	s := serve(t, d)
	type answer struct {
		left []agent.Remnant
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		left, err := s.client.Revoke(t.Context())
		answers <- answer{left, err}
	}()
	<-d.entered
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
	if got := <-answers; got.err != nil || len(got.left) != 1 {
		t.Errorf("the answer is %+v", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestStopDoesNotWaitForARevocationForEver(t *testing.T) {
	t.Parallel()
	d := &stub{entered: make(chan string, 1), revoking: make(chan struct{})}
	defer close(d.revoking)
	s := serve(t, d)
	failed := make(chan error, 1)
	go func() {
		_, err := s.client.Revoke(t.Context())
		failed <- err
	}()
	<-d.entered
	begin := time.Now()
	if err := s.stop(); err != nil || time.Since(begin) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
	if err := <-failed; !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("the client got %v", err)
	}
}

func TestRevocationGoesOnWithoutItsClient(t *testing.T) {
	d := &stub{entered: make(chan string, 1), revoking: make(chan struct{})}
	s := serve(t, d)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := s.client.Revoke(ctx)
		left <- err
	}()
	<-d.entered
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the client that left got %v", err)
	}
	close(d.revoking) // Revoke would have ended before, with an error in the log
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	if strings.Contains(s.log.buf.String(), "revocation failed") {
		t.Error("the client's leaving ended the revocation")
	}
}
