package sshagent

import (
	"context"
	"log/slog"
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

// Drain leaves the sockets that Serve and ServeRepository serve to a successor.
// No connection is accepted any more, and the listeners are neither closed nor
// their files removed: who connects waits in the queue for whoever accepts next
// from the same socket. Drain waits until the open connections have ended by
// themselves, which one with OpenSSH does after its login, or until ctx ends;
// those that are left then are closed. Serve and ServeRepository return nil, also
// when they are called later, and Drain returns after them.
//
// Verification sockets go on: who opened them closes them.
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
	<-left // within finishLimit
}

// handover keeps the listeners that are served, and leaves them to a successor.
type handover struct {
	mu        sync.Mutex
	begun     bool
	listeners map[Listener]struct{}
	serving   sync.WaitGroup // one for each listener

	over chan struct{} // closed by end: open connections have no more time
	end  func()
}

func newHandover() *handover {
	over := make(chan struct{})
	return &handover{listeners: map[Listener]struct{}{}, over: over, end: sync.OnceFunc(func() { close(over) })}
}

// enter takes a listener in that is about to be served, unless the handover has
// begun. It must be followed by leave.
func (h *handover) enter(l Listener) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.begun {
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
	h.begun = true
	for l := range h.listeners {
		_ = l.SetDeadline(time.Unix(1, 0)) // fails for a closed one, which accepts nothing
	}
}

// await waits until the open connections have ended, their time is over or ctx
// ends.
func (s *Server) await(ctx context.Context, open *sync.WaitGroup, a *audience) {
	ended := make(chan struct{})
	go func() {
		open.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	case <-s.handover.over:
		s.audit.logger.InfoContext(ctx, "connections are closed: their time to end by themselves is over", slog.String("socket", a.name))
	}
}
