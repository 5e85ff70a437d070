package preemption

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// standardEndpoint is the address that all three clouds have in common.
const standardEndpoint = "http://169.254.169.254"

const (
	// maxReply is what is read of a reply, in bytes. The longest are Azure's lists
	// of events, each with the names of up to some hundred machines.
	maxReply = 1 << 20
	// quickReply is how long a reply may take that the service has at hand.
	quickReply = 5 * time.Second
	// dialTime is how long a connection may take to the machine's own host.
	dialTime = 3 * time.Second
)

// client asks one metadata service.
type client struct {
	root string // without a slash at its end
	http *http.Client
}

func newClient(endpoint string) (*client, error) {
	if endpoint == "" {
		endpoint = standardEndpoint
	}
	root, err := parseEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:                  nil, // the address means another service elsewhere
		DialContext:            (&net.Dialer{Timeout: dialTime}).DialContext,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 16 << 10,
	}
	return &client{root: root, http: &http.Client{Transport: transport, CheckRedirect: stay}}, nil
}

// stay follows no redirect: the headers that prove to the service that the
// request is meant would go along.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// parseEndpoint wants an address, never a name, and one that no router passes on
// to the internet: whoever answers there can have this machine's keys revoked.
func parseEndpoint(endpoint string) (string, error) {
	const fix = "write an address such as " + standardEndpoint + " or http://[fd00:ec2::254]"
	u, err := url.Parse(strings.TrimSuffix(endpoint, "/"))
	if err != nil || u.Scheme != "http" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return "", errors.New("metadata endpoint: not a plain http:// root: " + fix)
	}
	at, err := netip.ParseAddr(u.Hostname())
	if err != nil || at.Zone() != "" {
		return "", errors.New("metadata endpoint: its host is no IP address: " + fix)
	}
	at = at.Unmap()
	if near := at.IsLinkLocalUnicast() || at.IsLoopback() || at.Is6() && at.IsPrivate(); !near {
		return "", fmt.Errorf("metadata endpoint: %s is neither link-local nor local: %s", at, fix)
	}
	return u.Scheme + "://" + u.Host, nil
}

// reply is an answer of the service, read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// call is one request.
type call struct {
	method string // "" is GET
	path   string // with its query
	header map[string]string
	body   string
	within time.Duration
}

// do makes a request. Its errors hold no text of the reply and no query.
func (c *client) do(ctx context.Context, q call) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, q.within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, q.method, c.root+q.path, strings.NewReader(q.body))
	if err != nil {
		return reply{}, errors.New("the request cannot be made")
	}
	for name, value := range q.header {
		req.Header.Set(name, value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return reply{}, plain(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case err != nil:
		return reply{}, plain(err)
	case len(body) > maxReply:
		return reply{}, fmt.Errorf("the reply has more than %d bytes", maxReply)
	}
	return reply{resp.StatusCode, resp.Header, body}, nil
}

// plain keeps of an error of net/http what comes from this machine: its own
// words may quote the reply and the address that was asked.
func plain(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return errors.New("no reply in time")
	}
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	return errors.New("no usable HTTP reply")
}

// unexpected is the error of a status that means neither yes nor no.
func unexpected(r reply) error { return fmt.Errorf("unexpected HTTP status %d", r.status) }
