package rest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"

	"deploykeyd/provision"
)

// judge says what an attempt came to; nil is success.
func (x *exchange) judge(ctx context.Context, err error) *provision.Error {
	r := x.reply
	switch {
	case r == nil:
		return x.lost(ctx, err)
	case x.anyStatus && r.Status < http.StatusInternalServerError:
		return nil
	case r.Status >= 300 && r.Status < 400:
		return x.moved()
	case r.Status == x.call.Status:
		return x.decode()
	}
	return x.refused()
}

// errNotDocumented is a success whose body is none.
var errNotDocumented = errors.New("the reply is not the JSON that the forge's documentation promises")

// decode reads the success.
func (x *exchange) decode() *provision.Error {
	if x.result == nil {
		return nil
	}
	if x.reply.isJSON() && json.Unmarshal(x.reply.Body, x.result) == nil {
		return nil
	}
	message := errNotDocumented.Error()
	if x.reply.isHTML() {
		message = htmlInstead
	}
	e := x.client.failure(x.call, provision.Transient, message)
	e.Status, e.Uncertain = x.reply.Status, x.call.changes()
	e.Err = finalError{errNotDocumented} // and result may be half filled
	e.Next = "check that the forge's url is right and that no login page or proxy answers in its place"
	return e
}

// shownPath is a path that can be shown as it is.
var shownPath = regexp.MustCompile(`^/[A-Za-z0-9._~{}/-]+$`)

const longestShownPath = 151 // bytes

// moved classes a redirect. Following one would turn a POST or DELETE into a
// GET, whose success would look like the request's own.
func (x *exchange) moved() *provision.Error {
	message := "the forge points to another place"
	to, err := url.Parse(x.reply.Header.Get("Location"))
	if err == nil && len(to.Path) <= longestShownPath && shownPath.MatchString(to.Path) {
		message = "the forge points to " + x.say(to.Path)
	}
	e := x.client.failure(x.call, provision.Moved, message)
	e.Status = x.reply.Status
	e.Next = "the repository was probably renamed: update its name in the configuration (or the forge's url, if the forge itself moved)"
	return e
}

// refused classes a reply that is neither success nor redirect: by its status
// first, then by what the forge's dialect makes of it.
func (x *exchange) refused() *provision.Error {
	r := *x.reply
	e := x.client.failure(x.call, provision.Transient, "")
	e.Status, e.RetryAfter = r.Status, r.RetryAfter()
	e.Class = classOf(r)
	// A server error may come after the work was done, and so may a success
	// that nobody promised. That holds for a 503 with a time to come again as
	// well: a proxy says it when the forge has got the request and is slow.
	e.Uncertain = x.call.changes() && e.Class == provision.Transient
	switch e.Class { //nolint:exhaustive // the dialect knows the next step of the others, or time is the next step
	case provision.BadCredential:
		e.Next = "put a valid token into the credential: " + x.client.options.Credential.String()
	case provision.Invalid:
		e.Next = "the forge does not take the request as it is: where its words do not say what to change, report them"
	}
	x.client.options.Refine(r, e)
	if e.Message == "" {
		e.Message = r.words()
	}
	e.Message = x.say(e.Message)
	return e
}

// classOf classes a reply by its status alone.
func classOf(r Reply) provision.Class {
	switch {
	case r.Status == http.StatusUnauthorized:
		return provision.BadCredential
	case r.Status == http.StatusForbidden:
		return provision.Denied
	case r.Status == http.StatusNotFound, r.Status == http.StatusGone:
		return provision.NotFound
	case r.Status == http.StatusTooManyRequests:
		return provision.RateLimited
	case r.Status == http.StatusRequestTimeout:
		return provision.Transient
	case r.Status >= 400 && r.Status < 500:
		return provision.Invalid
	}
	return provision.Transient
}

// finalError marks a cause that an immediate repetition would meet again.
type finalError struct{ error }

// Unwrap returns the cause.
func (e finalError) Unwrap() error { return e.error }

// lost classes an attempt that brought no whole reply.
func (x *exchange) lost(ctx context.Context, err error) *provision.Error {
	err = withoutURL(err)
	e := x.client.failure(x.call, provision.Transient, "")
	e.Uncertain = x.call.changes() && x.reach != nil && x.reach.written() && !unconnected(err)
	e.Message, e.Next = explain(ctx, err)
	e.Message = x.say(e.Message)
	e.Err = cause(ctx, err)
	return e
}

// withoutURL drops the URL in a url.Error, which may have a query.
func withoutURL(err error) error {
	for e, ok := errors.AsType[*url.Error](err); ok; e, ok = errors.AsType[*url.Error](err) {
		err = e.Err
	}
	return err
}

// unconnected reports whether err says that there was no connection at all.
func unconnected(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// explain words a failure below HTTP and names what to do about it.
func explain(ctx context.Context, err error) (message, next string) {
	const way = "check the forge's url and this machine's way to it"
	dns, isDNS := errors.AsType[*net.DNSError](err)
	op, isOp := errors.AsType[*net.OpError](err)
	_, isTLS := errors.AsType[*tls.CertificateVerificationError](err)
	_, isRecord := errors.AsType[tls.RecordHeaderError](err)
	isRecord = isRecord || errors.Is(err, http.ErrSchemeMismatch)
	switch {
	case ctx.Err() != nil:
		return "given up before the forge answered", ""
	case errors.Is(err, errTooLarge):
		return errTooLarge.Error(), "check that the forge's url is right; a list so long needs old keys removed"
	case isDNS:
		return fmt.Sprintf("the name %s cannot be resolved", dns.Name), "check the forge's url and this machine's name servers"
	case isTLS:
		return "the forge's certificate is not trusted", "add the certificate authority to the system's trust store, or correct the forge's url"
	case isRecord:
		return "the forge does not speak TLS there", "correct the scheme or port in the forge's url"
	case errors.Is(err, errNotLoopback):
		return errNotLoopback.Error(), "use https in the forge's url"
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no whole reply within %s", RequestTimeout), way
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "the connection was cut before the whole reply had come", way
	case isOp:
		return op.Op + ": " + op.Err.Error(), way
	case err != nil:
		return err.Error(), way
	}
	return "no reply", way
}

// cause keeps of a failure what callers may want to recognise and what cannot
// hold words from outside.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, errTooLarge) {
		return finalError{errTooLarge}
	}
	if errors.Is(err, errNotLoopback) {
		return finalError{errNotLoopback}
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return finalError{e}
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e
	}
	return contextError(err)
}

// contextError returns the context's error in err's chain, if any.
func contextError(err error) error {
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return known
		}
	}
	return nil
}
