package control

import (
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

// Errors of a Client.
var (
	// ErrNotRunning means that nobody answers on the socket.
	ErrNotRunning = errors.New("deploykeyd is not running")
	// ErrRefused means that the daemon does not do this for the caller's user.
	ErrRefused = errors.New("refused")
)

// maxReply bounds an answer: a status of some thousand repositories fits.
const maxReply = 16 << 20

// Client asks a daemon. Each call is one connection.
type Client struct{ http *http.Client }

// NewClient returns a client for the socket at path.
func NewClient(path string) *Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return unixsock.Dial(ctx, path)
		},
		DisableKeepAlives: true,
	}
	return &Client{&http.Client{Transport: transport}}
}

// Status returns the daemon's status.
func (c *Client) Status(ctx context.Context) (agent.Status, error) {
	var s agent.Status
	err := c.call(ctx, http.MethodGet, "/v1/status", &s)
	return s, err
}

// Ready returns the status as soon as the daemon is ready, or as it is after
// wait, which is at most a minute.
func (c *Client) Ready(ctx context.Context, wait time.Duration) (agent.Status, error) {
	var s agent.Status
	err := c.call(ctx, http.MethodGet, "/v1/ready?wait="+url.QueryEscape(wait.String()), &s)
	return s, err
}

// Verify makes the daemon prove every repository again and returns the status
// after that.
func (c *Client) Verify(ctx context.Context) (agent.Status, error) {
	var s agent.Status
	err := c.call(ctx, http.MethodPost, "/v1/verify", &s)
	return s, err
}

// Revoke makes the daemon revoke every key and returns what may remain.
func (c *Client) Revoke(ctx context.Context) ([]agent.Remnant, error) {
	var r revocation
	err := c.call(ctx, http.MethodPost, "/v1/revoke", &r)
	return r.Remaining, err
}

func (c *Client) call(ctx context.Context, method, path string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://deploykeyd"+path, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return connectError(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case err != nil:
		return fmt.Errorf("read the daemon's answer: %w", err)
	case len(body) > maxReply:
		return fmt.Errorf("the daemon's answer is longer than %d bytes", maxReply)
	case resp.StatusCode == http.StatusOK, resp.StatusCode == http.StatusServiceUnavailable:
		if err := json.Unmarshal(body, answer); err != nil {
			return fmt.Errorf("the daemon's answer is not understood: %w", err)
		}
		return nil
	}
	var p problem
	if json.Unmarshal(body, &p) != nil || p.Error == "" {
		p.Error = "the daemon answered " + resp.Status
	}
	if resp.StatusCode == http.StatusForbidden {
		return fmt.Errorf("%w: %s", ErrRefused, p.Error)
	}
	return errors.New(p.Error)
}

// connectError tells a daemon that does not run from one that cannot be
// reached, and drops the URL that means nothing here.
func connectError(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return ErrNotRunning
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return fmt.Errorf("ask the daemon: %w", err)
}
