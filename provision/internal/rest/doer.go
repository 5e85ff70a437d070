package rest

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"time"

	"deploykeyd/provision/credential"
)

// Doer makes the requests by which one server hands out credentials, with the
// manners of a Client: bounded in time and size, no redirect followed, nothing
// sent in clear over a network or to another server. It is safe for concurrent
// use. It never repeats a request.
type Doer struct {
	options   Options
	root      *url.URL
	transport http.RoundTripper
	log       *slog.Logger
	clock     clock
}

var _ credential.Doer = (*Doer)(nil)

// NewDoer returns the Doer of the server that has o.Root. Of the other options
// it uses Forge, Header, Transport, Logger and UserAgent.
func NewDoer(o Options) (*Doer, error) {
	root, err := parseRoot(o.Root)
	if err != nil {
		return nil, err
	}
	d := &Doer{options: o, root: root, transport: o.Transport, log: o.Logger}
	if d.transport == nil {
		d.transport = newTransport(root)
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	return d, nil
}

// Now returns the time by the server's clock, as its replies to this Doer and to
// the clients that share it have shown it; before the first of them, by this
// machine's.
func (d *Doer) Now() time.Time {
	if now, ok := d.clock.now(); ok {
		return now
	}
	return time.Now()
}

// Do makes a request of the server and returns the reply with its body in
// memory. The error is a *credential.Error.
func (d *Doer) Do(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme != d.root.Scheme || request.URL.Host != d.root.Host {
		return nil, &credential.Error{Reason: credential.Refused, Message: "the request is for another server", Next: nextReport}
	}
	asked := request.Context()
	ctx, cancel := context.WithTimeout(asked, RequestTimeout)
	defer cancel()
	request = request.Clone(ctx)
	d.dress(request)
	begin := time.Now()
	response, err := d.transport.RoundTrip(request)
	if err != nil {
		return nil, lostExchange(asked, request, err)
	}
	arrived := time.Now()
	defer func() { _ = response.Body.Close() }()
	body, err := readCapped(response.Body, maxReply)
	if err != nil {
		return nil, lostExchange(asked, request, err)
	}
	if reply := (Reply{Status: response.StatusCode, Header: response.Header, Body: body}); reply.isForges() {
		d.clock.note(response.Header, arrived)
	}
	d.log.DebugContext(ctx, "credential request",
		slog.String("forge", d.options.Forge), slog.String("method", request.Method),
		slog.String("path", request.URL.Path), slog.Int("status", response.StatusCode),
		slog.Duration("took", time.Since(begin)))
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}

// dress puts the headers on a request that it does not have.
func (d *Doer) dress(request *http.Request) {
	maps.Copy(request.Header, d.options.Header)
	if request.Header.Get("Accept") == "" {
		request.Header.Set("Accept", "application/json")
	}
	request.Header.Set("User-Agent", d.options.UserAgent)
}

// lostExchange is the error of a request that brought no whole reply.
func lostExchange(ctx context.Context, request *http.Request, err error) *credential.Error {
	err = withoutURL(err)
	authorization := request.Header.Get("Authorization")
	hidden := forms(credential.Secret{}, authorization)
	if _, password, ok := request.BasicAuth(); ok {
		hidden = append(hidden, forms(credential.NewSecret(password), authorization)...)
	}
	e := &credential.Error{Reason: credential.Trouble, Err: cause(ctx, err)}
	e.Message, e.Next = explain(ctx, err)
	e.Message = say(e.Message, hidden)
	return e
}
