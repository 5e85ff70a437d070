package forgesim

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"deploykeyd/provision"
)

// Request is one API request as the forge saw it.
type Request struct {
	Method     string    `json:"method"`
	Path       string    `json:"path"` // decoded, without the query
	Query      string    `json:"query,omitempty"`
	Op         Op        `json:"op,omitempty"`         // empty where it was about no key
	Repository string    `json:"repository,omitempty"` // the repository it named
	Status     int       `json:"status"`               // 0 when the connection was cut instead of a reply
	Time       time.Time `json:"time"`
}

// Command is one SSH command as the forge saw it.
type Command struct {
	Line       string              `json:"line"`                 // empty where a shell was asked for
	Repository string              `json:"repository,omitempty"` // as the command spells it
	Key        provision.PublicKey `json:"key"`                  // that the client logged in with
	Exit       int                 `json:"exit"`
	Time       time.Time           `json:"time"` // of its end
}

// Requests returns the API requests so far, oldest first.
func (f *Forge) Requests() []Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Request(nil), f.requests...)
}

// Commands returns the SSH commands that have ended so far, oldest first.
func (f *Forge) Commands() []Command {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Command(nil), f.commands...)
}

// noteCommand writes an ended SSH command to the log.
func (f *Forge) noteCommand(c Command) {
	f.mu.Lock()
	f.commands = append(f.commands, c)
	f.event()
	f.mu.Unlock()
	f.logger.Info("ssh command", slog.String("command", c.Line), slog.Int("exit", c.Exit))
}

// note writes a request to the log.
func (f *Forge) note(c *call, status int) {
	f.mu.Lock()
	f.requests = append(f.requests, Request{
		Method: c.method, Path: c.url.Path, Query: c.url.RawQuery, Op: c.op,
		Repository: c.repository, Status: status, Time: c.arrived,
	})
	f.event()
	f.mu.Unlock()
	f.logger.Info("api request", slog.String("method", c.method), slog.String("path", c.url.Path), slog.Int("status", status))
}

// event wakes everybody who waits for a change. f.mu is held.
func (f *Forge) event() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// Await waits until condition holds, looking again whenever a request has been
// answered, held or let go, an SSH command has ended, or a late effect has
// happened. The condition may call the forge's methods.
func (f *Forge) Await(ctx context.Context, condition func() bool) error {
	for {
		f.mu.Lock()
		changed := f.changed
		f.mu.Unlock()
		if condition() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-f.sim.running.Done():
			return http.ErrServerClosed
		}
	}
}
