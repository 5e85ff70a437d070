package forgesim

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
)

// Transport returns a way to the forge without sockets. Latency and delays are
// waited for on timers alone, so it can be used within a testing/synctest
// bubble that New was called in. It answers for the host of URL and, for the
// hosted services, for the names of their APIs; other hosts do not resolve. A
// cut connection is io.ErrUnexpectedEOF.
func (f *Forge) Transport() http.RoundTripper { return transport{f} }

type transport struct{ forge *Forge }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	f := t.forge
	if host := r.URL.Host; host != f.host && !slices.Contains(f.dialect.hosts(), host) {
		closeBody(r)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}}
	}
	if !f.sim.enter() {
		closeBody(r)
		return nil, net.ErrClosed
	}
	defer f.sim.tasks.Done()
	c, err := f.newCall(r)
	if err != nil {
		return nil, err
	}
	c.header = r.Header.Clone()
	if _, given := c.header["User-Agent"]; !given {
		c.header.Set("User-Agent", "Go-http-client/1.1") // as net/http's own transport does
	}
	d := f.exchange(r.Context(), c, func() { traceWrite(r) })
	switch {
	case d.err != nil:
		return nil, d.err
	case d.cut:
		return nil, io.ErrUnexpectedEOF
	}
	return d.response(r), nil
}

// response puts a delivery into the form that net/http gives to clients.
func (d delivery) response(r *http.Request) *http.Response {
	length := d.padding + int64(len(d.body))
	body := io.MultiReader(io.LimitReader(blanks{}, d.padding), bytes.NewReader(d.body))
	if d.truncated {
		body = io.MultiReader(bytes.NewReader(d.body[:len(d.body)/2]), cutReader{})
	}
	if r.Method == http.MethodHead || d.status == http.StatusNoContent {
		body, length = http.NoBody, 0
	}
	return &http.Response{
		Status:     strconv.Itoa(d.status) + " " + http.StatusText(d.status),
		StatusCode: d.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        d.header,
		Body:          io.NopCloser(body),
		ContentLength: length,
		Request:       r,
	}
}

// traceWrite tells the client's trace that the whole request has been written.
func traceWrite(r *http.Request) {
	t := httptrace.ContextClientTrace(r.Context())
	if t == nil {
		return
	}
	if t.GotConn != nil {
		t.GotConn(httptrace.GotConnInfo{})
	}
	if t.WroteHeaders != nil {
		t.WroteHeaders()
	}
	if t.WroteRequest != nil {
		t.WroteRequest(httptrace.WroteRequestInfo{})
	}
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// blanks is endless white space.
type blanks struct{}

func (blanks) Read(p []byte) (int, error) {
	const block = "                                                                "
	n := 0
	for n < len(p) {
		n += copy(p[n:], block)
	}
	return n, nil
}

// cutReader is the end of a connection.
type cutReader struct{}

func (cutReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
