package rest

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/credential"
)

// RequestTimeout bounds one attempt of one request, its reply's body included.
const RequestTimeout = 30 * time.Second

// The most that is read of one reply, in bytes. A list entry of Gitea has 2.6 KB.
const (
	maxReply = 1 << 20
	maxPage  = 8 << 20
)

// Options say whom a Client speaks to, and how.
type Options struct {
	Kind       provision.Kind
	Forge      string // the forge's name in the configuration
	Root       string // the API's root, such as https://git.acme.example/api/v1
	Credential credential.Source
	// Authorize puts a credential into a request's headers.
	Authorize func(*http.Request, credential.Secret)
	// Header is sent with every request, besides what rest sends itself.
	Header http.Header
	// Refine improves on what rest made of a refusal by its status alone: it
	// may set the class, message, next step and time to wait, and clear
	// Uncertain. Its message is cleaned and cut afterwards.
	Refine func(Reply, *provision.Error)
	// ClockPath is asked, without a credential, when nothing but the time is
	// wanted. Whatever the forge answers in JSON will do, and a bare 401.
	ClockPath string
	// Doer is what the credential is exchanged through at the same Root: the
	// client shares its connections and its clock. Nil: it has its own.
	Doer      *Doer
	Transport http.RoundTripper // nil: one with a pool of its own
	Logger    *slog.Logger      // nil: no logs
	UserAgent string
}

// Client speaks to one forge. It is safe for concurrent use.
type Client struct {
	options   Options
	root      *url.URL
	transport http.RoundTripper
	log       *slog.Logger
	clock     *clock
	seen      seen
	keeper    *keeper
}

// New returns a client. Its error names the option that is wrong.
func New(o Options) (*Client, error) {
	doer := o.Doer
	if doer == nil {
		var err error
		if doer, err = NewDoer(o); err != nil {
			return nil, err
		}
	}
	if o.Credential == nil {
		return nil, errors.New("no credential: name the file, environment variable, systemd credential or command that gives the token")
	}
	return &Client{
		options: o, root: doer.root, transport: doer.transport, log: doer.log, clock: &doer.clock,
		keeper: &keeper{source: o.Credential, forge: o.Forge, log: doer.log},
	}, nil
}

// Op is what a call is for, as messages name it.
type Op string

// The operations.
const (
	Register Op = "register"
	List     Op = "list"
	Revoke   Op = "revoke"
	askTime  Op = "time"
)

// Call is one request of the API and the one reply that counts as success.
type Call struct {
	Op     Op
	Target provision.Target
	Method string
	Path   string // below the root, with each part escaped; may have a query
	Body   any    // sent as JSON; nil for none
	Status int    // the documented status of success
	page   bool   // the reply is a page of a list: more of it is read
}

// plainPath returns the path without its query.
func (c Call) plainPath() string {
	path, _, _ := strings.Cut(c.Path, "?")
	return path
}

// changes reports whether the call may change something on the forge.
func (c Call) changes() bool { return c.Method != http.MethodGet }

// Do makes the call and decodes the JSON of its reply into result; nil expects
// no body. The error is a *provision.Error. The credential is read at the first
// call, some time before it ends, and once more when the forge refuses it: it
// may have been replaced. Calls share what reading it came to, a failure and the
// pause after it too.
func (c *Client) Do(ctx context.Context, call Call, result any) (http.Header, error) {
	secret, err := c.keeper.get(ctx, credential.Secret{})
	if err != nil {
		return nil, c.noCredential(ctx, call, err)
	}
	header, failure := c.run(ctx, call, secret, result)
	if failure != nil && failure.Class == provision.BadCredential {
		uncertain := failure.Uncertain
		if header, failure = c.again(ctx, call, secret, failure, result); failure != nil {
			failure.Uncertain = failure.Uncertain || uncertain
		}
	}
	if failure != nil {
		return nil, failure
	}
	return header, nil
}

// again makes a call whose credential was refused with a new one, if there is
// any. That none can be had just now says more than the refusal.
func (c *Client) again(ctx context.Context, call Call, refused credential.Secret, refusal *provision.Error, result any) (http.Header, *provision.Error) {
	fresh, err := c.keeper.get(ctx, refused)
	_, asked := errors.AsType[*credential.Error](err)
	switch {
	case asked, err != nil && ctx.Err() != nil:
		return nil, c.noCredential(ctx, call, err)
	case err != nil, fresh.Equal(refused):
		return nil, refusal
	}
	return c.run(ctx, call, fresh, result)
}

// noCredential is the end of a call that could not begin.
func (c *Client) noCredential(ctx context.Context, call Call, err error) *provision.Error {
	if ctx.Err() != nil { // says nothing about the credential
		e := c.failure(call, provision.Transient, "given up before the credential was read")
		e.Err = ctx.Err()
		return e
	}
	e := c.failure(call, provision.BadCredential, ownWords(err.Error()))
	e.Next = "make the credential readable: " + c.options.Credential.String()
	e.Err = contextError(err)
	if cause, ok := errors.AsType[*credential.Error](err); ok {
		e.Class = classOfReason(cause.Reason)
		e.RetryAfter, e.Next = cause.RetryAfter, cause.Next
		e.Err = cause.Err
	}
	if p, ok := errors.AsType[*postponed](err); ok {
		e.RetryAfter = p.wait
	}
	return e
}

// classOfReason returns what the failure of an exchange means for the call that
// needed the credential.
func classOfReason(r credential.Reason) provision.Class {
	switch r {
	case credential.Unknown:
		return provision.BadCredential
	case credential.Refused:
		return provision.Denied
	case credential.Moved:
		return provision.Moved
	case credential.Limited:
		return provision.RateLimited
	case credential.Trouble:
	}
	return provision.Transient
}

// run makes the call with one credential, repeating it where that is allowed.
func (c *Client) run(ctx context.Context, call Call, secret credential.Secret, result any) (http.Header, *provision.Error) {
	x := &exchange{client: c, call: call, secret: secret, result: result}
	if call.Body != nil {
		body, err := json.Marshal(call.Body)
		if err != nil {
			return nil, c.failure(call, provision.Invalid, "the request cannot be written as JSON")
		}
		x.body = body
	}
	if failure := x.run(ctx); failure != nil {
		return nil, failure
	}
	return x.reply.Header, nil
}

// failure begins an error about the call.
func (c *Client) failure(call Call, class provision.Class, message string) *provision.Error {
	return &provision.Error{Op: string(call.Op), Forge: c.options.Forge, Target: call.Target, Class: class, Message: message}
}
