package credential

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Doer makes one request of an exchange. It bounds the time that takes, follows
// no redirect, sends nothing in clear over a network, and gives the replies of
// the one server that it is for. Where it brings no reply, its error is an *Error.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// maxReply is the most that is read of one reply, in bytes.
const maxReply = 256 << 10

// shortestPause is the wait after a rate limit that names no time, as GitHub asks
// for it ("Rate limits for the REST API").
const shortestPause = time.Minute

// nextPlace is the next step where something else than the forge seems to
// answer.
const nextPlace = "check that the forge's url is right and that no login page or proxy answers in its place"

// nextMoved is the next step after a redirect. Following one would show the
// secret to another place.
const nextMoved = "update the owner's name in the configuration, if that was changed, or the forge's url, if the forge itself moved; a login page or proxy may answer in its place, too"

// query is one request of an exchange.
type query struct {
	method, url   string
	authorization string // the header
	contentType   string
	body          []byte
}

// answer is its reply, read whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask makes a request. Its error is an *Error or the context's.
func ask(ctx context.Context, doer Doer, q query) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, q.method, q.url, bytes.NewReader(q.body))
	if err != nil {
		return answer{}, &Error{Reason: Refused, Message: "the place to ask for a token is no URL", Next: "correct the forge's url in the configuration"}
	}
	request.Header.Set("Authorization", q.authorization)
	if q.contentType != "" {
		request.Header.Set("Content-Type", q.contentType)
	}
	response, err := doer.Do(request)
	if err != nil {
		return answer{}, lost(ctx, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxReply+1))
	switch {
	case err != nil:
		return answer{}, lost(ctx, err)
	case len(body) > maxReply:
		return answer{}, &Error{Reason: Trouble, Status: response.StatusCode, Message: "the reply is larger than deploykeyd reads", Next: nextPlace}
	}
	return answer{response.StatusCode, response.Header, body}, nil
}

// lost is the error of a request without a whole reply. Other errors than the
// Doer's own may quote what was sent.
func lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Reason: Trouble, Message: "the forge gave no whole reply", Next: "check the forge's url and this machine's way to it"}
}

// json decodes the body into v and reports whether it could.
func (a answer) json(v any) bool {
	media, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	isJSON := media == "application/json" || strings.HasSuffix(media, "+json")
	return err == nil && isJSON && json.Unmarshal(a.body, v) == nil
}

// strange is the error of a success that is not what the forge documents.
func (a answer) strange(message string) *Error {
	return &Error{Reason: Trouble, Status: a.status, Message: message, Next: nextPlace}
}

// refused begins the error of a reply that is no success, with the forge's own
// words where it has any, and without the secrets that were sent. Whether those
// words tell of a rate limit is for the caller to say.
func (a answer) refused(message, words string, limited bool, sent ...string) *Error {
	e := &Error{Reason: Refused, Status: a.status, Message: message}
	if said := shown(words, sent...); said != "" {
		e.Message += ", which says " + said
	}
	switch {
	case limited, a.limited():
		e.Reason, e.Next = Limited, "nothing: it is tried again"
		if e.RetryAfter = a.retryAfter(); e.RetryAfter == 0 {
			e.RetryAfter = shortestPause
		}
	case a.status >= http.StatusInternalServerError, a.status == http.StatusRequestTimeout:
		e.Reason, e.RetryAfter = Trouble, a.retryAfter()
		e.Next = "look at the forge's own status; it is tried again"
	case a.status >= http.StatusMultipleChoices && a.status < http.StatusBadRequest:
		e.Reason, e.Next = Moved, nextMoved
	case a.status < http.StatusBadRequest:
		e.Reason, e.Next = Trouble, nextPlace
	case a.status == http.StatusUnauthorized:
		e.Reason = Unknown
	}
	return e
}

// limited reports whether the reply is a rate limit by its status and headers.
// GitHub says 403 to these as well ("Rate limits for the REST API").
func (a answer) limited() bool {
	return a.status == http.StatusTooManyRequests || a.status == http.StatusForbidden &&
		(a.header.Get("Retry-After") != "" || a.header.Get("X-Ratelimit-Remaining") == "0")
}

// retryAfter returns how long the reply asks to wait, by Retry-After or by the
// end of GitHub's limit; zero when it does not say.
func (a answer) retryAfter() time.Duration {
	if asked := RetryAfter(a.header); asked > 0 || a.header.Get("X-Ratelimit-Remaining") != "0" {
		return asked
	}
	reset, err := strconv.ParseInt(a.header.Get("X-Ratelimit-Reset"), 10, 64)
	if err != nil {
		return 0
	}
	return Until(a.header, time.Unix(reset, 0))
}
