package rest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"deploykeyd/provision"
	"deploykeyd/provision/credential"
)

// exchange is one call with one credential: its attempts and what came of the
// last of them.
type exchange struct {
	client    *Client
	call      Call
	anyStatus bool // every status below 500 is a success
	secret    credential.Secret
	body      []byte
	result    any

	attempt   int
	reply     *Reply // the last attempt's, read whole; nil if it had none
	reach     *reach
	hidden    []string         // forms of the credential that no message may hold
	uncertain bool             // some attempt may have taken effect
	failure   *provision.Error // what the last attempt came to
	wait      time.Duration    // before the next attempt
	waited    time.Duration    // before all attempts so far
}

// Reply is a forge's answer, read whole.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// errTooLarge ends the reading of a reply that passes its cap.
var errTooLarge = errors.New("the reply is larger than deploykeyd reads")

// run makes the attempts and returns what the last one came to.
func (x *exchange) run(ctx context.Context) *provision.Error {
	var body any // an untyped nil is no body at all
	if x.body != nil {
		body = x.body
	}
	request, err := retryablehttp.NewRequestWithContext(ctx, x.call.Method, x.client.root.String()+x.call.Path, body)
	if err != nil {
		return x.client.failure(x.call, provision.Invalid, "the target cannot stand in a URL")
	}
	x.dress(request.Request)
	client := retryablehttp.Client{
		// A redirect would be followed with another method, or with the
		// credential to another place: it is an answer like any other.
		HTTPClient: &http.Client{
			Transport:     x,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		RetryMax:     maxAttempts - 1,
		CheckRetry:   x.checkRetry,
		Backoff:      x.backoff,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
	response, err := client.Do(request)
	if response != nil {
		_ = response.Body.Close() // in memory
	}
	if x.failure == nil && err != nil { // no attempt was judged
		x.failure = x.lost(ctx, err)
	}
	if x.failure != nil && x.failure.Err == nil {
		x.failure.Err = ctx.Err()
	}
	return x.failure
}

// dress puts the headers on a request.
func (x *exchange) dress(request *http.Request) {
	o := x.client.options
	maps.Copy(request.Header, o.Header)
	if request.Header.Get("Accept") == "" {
		request.Header.Set("Accept", "application/json")
	}
	request.Header.Set("User-Agent", o.UserAgent)
	if x.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if !x.secret.IsZero() {
		o.Authorize(request, x.secret)
		x.hidden = forms(x.secret, request.Header.Get("Authorization"))
	}
}

// RoundTrip makes one attempt and reads its reply whole, so that a reply that
// breaks off is a failed attempt like any other.
func (x *exchange) RoundTrip(request *http.Request) (*http.Response, error) {
	x.attempt++
	x.reply, x.reach = nil, &reach{}
	if err := request.Context().Err(); err != nil {
		return nil, err
	}
	x.reach.begun = true
	ctx, cancel := context.WithTimeout(request.Context(), RequestTimeout)
	defer cancel()
	begin := time.Now()
	response, err := x.client.transport.RoundTrip(request.WithContext(x.reach.trace(ctx)))
	if err != nil {
		return nil, err
	}
	arrived := time.Now()
	defer func() { _ = response.Body.Close() }()
	body, err := x.read(response.Body)
	if err != nil {
		return nil, err
	}
	x.reply = &Reply{Status: response.StatusCode, Header: response.Header, Body: body}
	if x.isOwn() {
		x.client.clock.note(response.Header, arrived)
	}
	x.client.log.DebugContext(ctx, "forge request",
		slog.String("forge", x.client.options.Forge), slog.String("op", string(x.call.Op)),
		slog.String("method", x.call.Method), slog.String("path", x.call.plainPath()),
		slog.Int("status", response.StatusCode), slog.Int("attempt", x.attempt),
		slog.Duration("took", time.Since(begin)))
	return &http.Response{
		Status: response.Status, StatusCode: response.StatusCode,
		Proto: response.Proto, ProtoMajor: response.ProtoMajor, ProtoMinor: response.ProtoMinor,
		Header: response.Header, Body: io.NopCloser(bytes.NewReader(nil)), Request: request,
	}, nil
}

// read returns a whole body within its cap.
func (x *exchange) read(from io.Reader) ([]byte, error) {
	if x.call.page {
		return readCapped(from, maxPage)
	}
	return readCapped(from, maxReply)
}

// readCapped returns a whole body of limit bytes at most.
func readCapped(from io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(from, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		return nil, errTooLarge
	}
	return body, nil
}

// reach tells how far one attempt got.
type reach struct {
	begun bool        // it was handed to the transport
	asked atomic.Bool // the transport reports its steps, and looked for a connection
	got   atomic.Bool // it has had a connection to write to
}

func (r *reach) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { r.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { r.got.Store(true) },
	})
}

// written reports whether the forge may have got the request, or a part of it.
func (r *reach) written() bool {
	return r.begun && (r.got.Load() || !r.asked.Load())
}
