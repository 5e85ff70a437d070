package sshagent_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent/key"
	"deploykeyd/agent/sshagent"
	"deploykeyd/agent/unixsock"
	"deploykeyd/provision"
)

// drained is a listener that tells when its server accepts no more.
type drained struct {
	*unixsock.Listener
	ended chan struct{}
}

func (d *drained) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	if err != nil {
		close(d.ended)
	}
	return c, err
}

// generation is one process of a daemon that is replaced in place.
type generation struct {
	server *sshagent.Server
	key    *key.Key
	l      *drained
	stop   context.CancelFunc
	served chan error
}

// newGeneration begins to serve l with a key of its own for the repository.
func newGeneration(t *testing.T, l *unixsock.Listener, repo provision.Repository) *generation {
	t.Helper()
	g := &generation{
		server: sshagent.New(sshagent.Options{
			Forges: []sshagent.Forge{{Name: "gitea", Kind: provision.Gitea, SSH: address("gitea.test", 2222), HostKeys: pins(t, edHost(t))}},
			Users:  unixsock.NewUsers([]string{me()}, nil, unixsock.Resolver{}, nil),
		}),
		key: generate(t, key.Ed25519), l: &drained{l, make(chan struct{})}, served: make(chan error, 1),
	}
	g.server.Publish("gitea", repo, g.key)
	ctx, cancel := context.WithCancel(t.Context())
	g.stop = cancel
	t.Cleanup(cancel)
	go func() { g.served <- g.server.Serve(ctx, g.l) }()
	return g
}

// inherited returns another listener on the same socket, as the process has it
// that comes next.
func inherited(t *testing.T, l *unixsock.Listener) *unixsock.Listener {
	t.Helper()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	again, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	ul := again.(*net.UnixListener)
	ul.SetUnlinkOnClose(false)
	t.Cleanup(func() { _ = ul.Close() })
	return &unixsock.Listener{UnixListener: ul}
}

func listen(t *testing.T) (*unixsock.Listener, string) {
	t.Helper()
	path := filepath.Join(folder(t), "s")
	l, err := unixsock.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, path
}

// drain begins to drain, and returns when nothing is accepted any more. The
// channel is closed when that is over.
func (g *generation) drain(ctx context.Context) chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.server.Drain(ctx)
	}()
	<-g.l.ended
	return done
}

// Who is connected is served to the end, who connects meanwhile by the
// successor, and the socket is there all the time.
func TestDrainLeavesTheQueueToTheSuccessor(t *testing.T) {
	l, path := listen(t)
	first := newGeneration(t, l, "acme/first")
	open := dialPath(t, path)
	if diff := cmp.Diff([]string{"deploykeyd gitea acme/first"}, listed(t, open)); diff != "" {
		t.Fatal(diff)
	}
	done := first.drain(t.Context())

	queued := dialPath(t, path)
	if _, err := queued.Write(str([]byte{listRequest})); err != nil {
		t.Fatal(err)
	}
	reply, err := ask(open, login{key: first.key.Public()}.request())
	if err != nil || reply[0] != signAnswer {
		t.Errorf("the open connection got %x, %v", reply, err)
	}
	select {
	case <-done:
		t.Error("drained while a connection is open")
	case err := <-first.served:
		t.Errorf("ended while a connection is open: %v", err)
	default:
	}
	_ = open.Close()
	<-done
	if err := <-first.served; err != nil {
		t.Error(err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() != os.ModeSocket {
		t.Fatalf("the socket file: %v, %v", info, err)
	}

	second := newGeneration(t, inherited(t, l), "acme/second")
	if reply, err = receive(queued); err != nil || reply[0] != listAnswer {
		t.Fatalf("who had queued got %x, %v", reply, err)
	}
	if diff := cmp.Diff([]string{"deploykeyd gitea acme/second"}, listed(t, queued)); diff != "" {
		t.Error(diff)
	}
	second.stop()
	if err := <-second.served; err != nil {
		t.Error(err)
	}
}

// Clients that connect all the time notice nothing of several hand-overs.
func TestNoClientNoticesADrain(t *testing.T) {
	l, path := listen(t)
	now := newGeneration(t, l, "acme/api")
	over := make(chan struct{})
	var clients sync.WaitGroup
	served := make(chan struct{}, 8)
	for range 8 {
		clients.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				if err := askOnce(t.Context(), path); err != nil {
					t.Error(err)
					return
				}
				select {
				case served <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 5 {
		for range 20 {
			<-served
		}
		<-now.drain(t.Context())
		if err := <-now.served; err != nil {
			t.Error(err)
		}
		now = newGeneration(t, inherited(t, now.l.Listener), "acme/api")
	}
	close(over)
	clients.Wait()
	now.stop()
	if err := <-now.served; err != nil {
		t.Error(err)
	}
}

// askOnce connects, asks for the keys and goes.
func askOnce(ctx context.Context, path string) error {
	c, err := unixsock.Dial(ctx, path)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	reply, err := ask(c, []byte{listRequest})
	if err == nil && reply[0] != listAnswer {
		err = fmt.Errorf("reply %x", reply)
	}
	return err
}

// Connections that do not end have until ctx ends, whether they are silent or
// take no reply.
func TestDrainEndsWithItsContext(t *testing.T) {
	l, path := listen(t)
	g := newGeneration(t, l, "acme/api")
	silent, deaf := dialPath(t, path), dialPath(t, path)
	if got := listed(t, silent); len(got) != 1 {
		t.Fatal(got)
	}
	flood(t, deaf)
	ctx, cancel := context.WithCancel(t.Context())
	done := g.drain(ctx)
	select {
	case <-done:
		t.Error("did not wait")
	default:
	}
	began := time.Now()
	cancel()
	<-done
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if err := <-g.served; err != nil {
		t.Error(err)
	}
	hungUp(t, silent)
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the socket file: %v", err)
	}
}

// flood asks until the server cannot reply any more, because nobody takes its
// replies.
func flood(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := c.Write(str([]byte{listRequest})); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			return
		}
	}
}

// A stop that comes while it drains is a stop: the socket goes.
func TestStopWhileDraining(t *testing.T) {
	l, path := listen(t)
	g := newGeneration(t, l, "acme/api")
	open := dialPath(t, path)
	if got := listed(t, open); len(got) != 1 {
		t.Fatal(got)
	}
	done := g.drain(t.Context())
	g.stop()
	<-done
	if err := <-g.served; err != nil {
		t.Error(err)
	}
	hungUp(t, open)
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket file: %v", err)
	}
}

// What begins to be served too late, and what was never served, is left alone.
func TestServeAfterDrain(t *testing.T) {
	server := sshagent.New(sshagent.Options{Forges: []sshagent.Forge{{Name: "gitea"}}})
	server.Drain(t.Context())
	server.Drain(t.Context())
	l, path := listen(t)
	if err := server.Serve(t.Context(), l); err != nil {
		t.Error(err)
	}
	if err := server.ServeRepository(t.Context(), l, "gitea", "acme/api"); err != nil {
		t.Error(err)
	}
	c := dialPath(t, path)
	if _, err := l.Accept(); err != nil {
		t.Errorf("the listener was touched: %v", err)
	}
	_ = c.Close()
}

// The sockets of repositories drain with the shared one; proofs go on.
func TestDrainIsForTheUsersSocketsAlone(t *testing.T) {
	w := newWorld(t)
	own := w.serveRepository(t, "hub", "acme/api")
	v, err := w.server.OpenVerification(folder(t), "hub", "acme/api", w.keys["api"])
	if err != nil {
		t.Fatal(err)
	}
	proof := dialPath(t, v.Path())
	w.must(t, proof, []byte{listRequest}, listAnswer)
	w.server.Drain(t.Context())
	for _, path := range []string{w.socket, own} {
		c := dialPath(t, path) // it waits in the queue
		if _, err := c.Write(str([]byte{listRequest})); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
	w.must(t, proof, login{key: w.keys["api"].Public()}.request(), signAnswer)
	w.must(t, dialPath(t, v.Path()), login{key: w.keys["api"].Public()}.request(), signAnswer)
	if err := v.Close(); err != nil {
		t.Error(err)
	}
}
