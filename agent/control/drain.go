package control

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Listener is a listener that can be told to accept no more without being
// closed, as that of a Unix socket can.
type Listener interface {
	net.Listener
	SetDeadline(time.Time) error
}

// Drain leaves the sockets that Serve serves to a successor. No connection is
// accepted any more, and the listeners are neither closed nor their files
// removed: who connects waits in the queue for whoever accepts next from the
// same socket. Those who wait for readiness are answered at once with the status
// as it is, other requests have until ctx ends; then their connections are
// closed. A connection on which no request comes is closed within five seconds.
// Serve returns nil, also when it is called later, and Drain returns after it.
//
// A revocation that has begun goes on when its connection is closed: the caller
// asks the daemon about that before it lets a successor in.
func (s *Server) Drain(ctx context.Context) {
	s.handover.begin()
	left := make(chan struct{})
	go func() {
		s.handover.serving.Wait()
		close(left)
	}()
	select {
	case <-left:
	case <-ctx.Done():
		s.handover.end()
	}
	<-left
}

// errDrained is what Accept returns once the server is to drain.
var errDrained = errors.New("told to drain")

// handover keeps the listeners that are served, and leaves them to a successor.
type handover struct {
	mu        sync.Mutex
	listeners map[Listener]struct{}
	serving   sync.WaitGroup // one for each listener

	draining context.Context //nolint:containedctx // owned: ends when no connection is accepted any more
	drain    context.CancelFunc

	over chan struct{} // closed by end: requests have no more time
	end  func()
}

func newHandover() *handover {
	over := make(chan struct{})
	h := &handover{listeners: map[Listener]struct{}{}, over: over, end: sync.OnceFunc(func() { close(over) })}
	h.draining, h.drain = context.WithCancel(context.Background())
	return h
}

// enter takes a listener in that is about to be served, unless the handover has
// begun. It must be followed by leave.
func (h *handover) enter(l Listener) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining.Err() != nil {
		return false
	}
	h.listeners[l] = struct{}{}
	h.serving.Add(1)
	return true
}

func (h *handover) leave(l Listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listeners, l)
	h.serving.Done()
}

// begin makes every Accept fail from now on. A connection that was accepted
// before is open like any other.
func (h *handover) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drain()
	for l := range h.listeners {
		_ = l.SetDeadline(time.Unix(1, 0)) // fails for a closed one, which accepts nothing
	}
}

// await waits until the open connections have ended or their time is over.
func (h *handover) await(open *sync.WaitGroup) {
	ended := make(chan struct{})
	go func() {
		open.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-h.over:
	}
}
