package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"deploykeyd/agent"
	"deploykeyd/agent/unixsock"
)

// In the chains of a Client's errors.
var (
	// ErrNotRunning means that nobody answers on the socket. It is in the chain
	// of ErrInterrupted as well.
	ErrNotRunning = errors.New("deploykeyd is not running")
	// ErrInterrupted means that the daemon ended, or another process of it took
	// over, before it answered. What was asked for may have been done or not:
	// whoever asks again learns that from whoever answers then.
	ErrInterrupted error = interruptedError{}
	// ErrRefused means that the daemon does not do this for the caller's user.
	ErrRefused = errors.New("refused")
)

type interruptedError struct{}

func (interruptedError) Error() string { return "deploykeyd ended or was reloaded before it answered" }

// Unwrap returns ErrNotRunning.
func (interruptedError) Unwrap() error { return ErrNotRunning }

// Error is a request that the daemon answered with a refusal or a failure.
type Error struct {
	Message string // the daemon's words
	Next    string // the next step for a person; may be empty
	Err     error  // ErrRefused, or nil
}

// Error returns the daemon's words.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Err.Error() + ": " + e.Message
	}
	return e.Message
}

// Unwrap returns ErrRefused for a refusal.
func (e *Error) Unwrap() error { return e.Err }

// maxReply bounds an answer: a status of some ten thousand repositories fits.
const maxReply = 16 << 20

// maxReplyHead bounds what comes before it.
const maxReplyHead = 64 << 10

// answerTime is what the answer to a revocation may take.
const answerTime = time.Second

// Client asks a daemon. Each call is one connection.
type Client struct{ path string }

// NewClient returns a client for the socket at path.
func NewClient(path string) *Client { return &Client{path} }

// Status returns the daemon's status.
func (c *Client) Status(ctx context.Context) (agent.Status, error) {
	var s agent.Status
	err := c.call(ctx, http.MethodGet, statusPath, &s)
	return s, err
}

// Ready returns the status as soon as the daemon is ready, or as it is after
// wait, which the daemon shortens to a minute.
func (c *Client) Ready(ctx context.Context, wait time.Duration) (agent.Status, error) {
	var s agent.Status
	err := c.call(ctx, http.MethodGet, readyPath+"?wait="+url.QueryEscape(wait.String()), &s)
	return s, err
}

// Verify makes the daemon prove every repository again and returns the status
// after that.
func (c *Client) Verify(ctx context.Context) (agent.Status, error) {
	var s agent.Status
	err := c.call(ctx, http.MethodPost, verifyPath, &s)
	return s, err
}

// Revoke makes the daemon revoke every key and returns what may remain. Of the
// time that ctx leaves, the daemon uses all but what the answer needs.
func (c *Client) Revoke(ctx context.Context) ([]agent.Remnant, error) {
	path := revokePath
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		path += "?timeout=" + url.QueryEscape((left - min(answerTime, left/4)).String())
	}
	var r revocation
	err := c.call(ctx, http.MethodPost, path, &r)
	return r.Remaining, err
}

// call makes one request and reads its answer.
func (c *Client) call(ctx context.Context, method, path string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://deploykeyd"+path, http.NoBody)
	if err != nil {
		return err
	}
	conn, err := unixsock.Dial(ctx, c.path)
	if err != nil {
		return unanswered(err)
	}
	defer func() { _ = conn.Close() }()
	status, body, err := exchange(conn, req)
	switch {
	case err != nil && ctx.Err() != nil:
		return unanswered(context.Cause(ctx))
	case err != nil:
		return unanswered(err)
	case len(body) > maxReply:
		return fmt.Errorf("the daemon's answer is longer than %d bytes", maxReply)
	case status == http.StatusOK, status == http.StatusServiceUnavailable:
		if err := json.Unmarshal(body, answer); err != nil {
			return fmt.Errorf("the daemon's answer is not understood: %w", err)
		}
		return nil
	}
	return failure(status, body)
}

// exchange sends a request over conn and reads the answer, at most until the
// request's context ends. A body that is longer than maxReply is cut after that.
// It is no http.Client, which hides how a connection ended.
func exchange(conn net.Conn, req *http.Request) (status int, body []byte, err error) {
	stop := context.AfterFunc(req.Context(), func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req.Close = true
	if err := req.Write(conn); err != nil {
		return 0, nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxReplyHead+maxReply+1)), req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	return resp.StatusCode, body, err
}

// failure reads an answer that is a problem.
func failure(status int, body []byte) error {
	var p problem
	if json.Unmarshal(body, &p) != nil || p.Error == "" {
		p = problem{Error: fmt.Sprintf("the daemon answered with status %d", status), Next: "use the deploykeyd that the daemon is"}
	}
	e := &Error{Message: p.Error, Next: p.Next}
	if status == http.StatusForbidden {
		e.Err = ErrRefused
	}
	return e
}

// unanswered tells a daemon that does not run, or ran just now, from one that
// cannot be reached.
func unanswered(err error) error {
	for _, nobody := range []error{fs.ErrNotExist, syscall.ECONNREFUSED} {
		if errors.Is(err, nobody) {
			return ErrNotRunning
		}
	}
	for _, gone := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, gone) {
			return ErrInterrupted
		}
	}
	return fmt.Errorf("ask the daemon: %w", err)
}
