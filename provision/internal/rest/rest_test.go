package rest_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/credential"
	"deploykeyd/provision/internal/rest"
)

const token = "tok+0123456789/abcdefghij=="

// source gives its tokens one after the other, the last one for ever. An empty
// one is an error.
type source struct {
	mu     sync.Mutex
	tokens []string
	loads  int
}

func (s *source) String() string { return "file /etc/token" }

func (s *source) Load(ctx context.Context) (credential.Secret, error) {
	if err := ctx.Err(); err != nil {
		return credential.Secret{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.tokens[min(s.loads, len(s.tokens)-1)]
	s.loads++
	if text == "" {
		return credential.Secret{}, errors.New("it does not exist")
	}
	return credential.NewSecret(text), nil
}

// forge is a stand-in for a forge behind a RoundTripper: it plays its replies
// one after the other, the last one for ever.
type forge struct {
	mu       sync.Mutex
	replies  []reply
	requests []*http.Request
	bodies   []string
}

type reply struct {
	status int
	header map[string]string
	body   string
	err    error
	cut    bool          // the body ends with an error
	delay  time.Duration // before the reply
}

const jsonType = "application/json; charset=utf-8"

func ok(body string) reply {
	return reply{status: http.StatusOK, header: map[string]string{"Content-Type": jsonType}, body: body}
}

func status(code int, header ...string) reply {
	r := reply{status: code, header: map[string]string{}}
	for i := 0; i < len(header); i += 2 {
		r.header[header[i]] = header[i+1]
	}
	return r
}

func (f *forge) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	at := f.replies[min(len(f.requests), len(f.replies)-1)]
	f.requests = append(f.requests, r)
	if r.Body != nil {
		body, _ := io.ReadAll(r.Body)
		f.bodies = append(f.bodies, string(body))
	}
	f.mu.Unlock()
	if at.delay > 0 {
		timer := time.NewTimer(at.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if at.err != nil {
		return nil, at.err
	}
	body := io.Reader(strings.NewReader(at.body))
	if at.cut {
		body = io.MultiReader(body, errorReader{})
	}
	response := &http.Response{StatusCode: at.status, Header: http.Header{}, Body: io.NopCloser(body), Request: r}
	for k, v := range at.header {
		response.Header.Set(k, v)
	}
	return response, nil
}

type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func (f *forge) sent() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.requests)
}

type setup struct {
	root      string
	transport http.RoundTripper
	source    credential.Source
	logger    *slog.Logger
	refine    func(rest.Reply, *provision.Error)
	basic     bool
}

func newClient(t *testing.T, s setup) *rest.Client {
	t.Helper()
	if s.root == "" {
		s.root = "https://git.acme.example/api/v1"
	}
	if s.source == nil {
		s.source = &source{tokens: []string{token}}
	}
	if s.refine == nil {
		s.refine = func(r rest.Reply, e *provision.Error) {
			var body struct{ Message string }
			if r.JSON(&body) {
				e.Message = body.Message
			}
		}
	}
	c, err := rest.New(rest.Options{
		Kind: provision.Gitea, Forge: "forge", Root: s.root, Credential: s.source,
		Authorize: func(r *http.Request, secret credential.Secret) {
			if s.basic {
				r.SetBasicAuth("ci@acme.example", secret.Reveal())
				return
			}
			r.Header.Set("Authorization", "token "+secret.Reveal())
		},
		Refine: s.refine, ClockPath: "/version", Transport: s.transport, Logger: s.logger, UserAgent: "deploykeyd/test",
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var target = provision.RepositoryTarget("acme/app")

func get() rest.Call {
	return rest.Call{Op: rest.List, Target: target, Method: http.MethodGet, Path: "/repos/acme/app/keys?secret=query", Status: http.StatusOK}
}

func post() rest.Call {
	return rest.Call{Op: rest.Register, Target: target, Method: http.MethodPost, Path: "/repos/acme/app/keys", Body: map[string]string{"k": "v"}, Status: http.StatusCreated}
}

func del() rest.Call {
	return rest.Call{Op: rest.Revoke, Target: target, Method: http.MethodDelete, Path: "/repos/acme/app/keys/1", Status: http.StatusNoContent}
}

// want checks the class of an error and whether it is uncertain.
func want(t *testing.T, err error, class provision.Class, uncertain bool) {
	t.Helper()
	_ = errorOf(t, err, class, uncertain)
}

// errorOf is want that returns the error.
func errorOf(t *testing.T, err error, class provision.Class, uncertain bool) *provision.Error {
	t.Helper()
	e, ok := errors.AsType[*provision.Error](err)
	if !ok {
		t.Fatalf("gives %v", err)
	}
	if e.Class != class || e.Uncertain != uncertain {
		t.Fatalf("gives %q, uncertain %v; want %q, %v: %v", e.Class, e.Uncertain, class, uncertain, err)
	}
	for cause := error(e); cause != nil; cause = errors.Unwrap(cause) {
		text := fmt.Sprintf("%v %+v %#v", cause, cause, cause)
		for _, secret := range []string{token, "secret=query", "git.acme.example/api", base64.StdEncoding.EncodeToString([]byte("ci@acme.example:" + token))} {
			if strings.Contains(text, secret) {
				t.Errorf("the error shows %q: %s", secret, text)
			}
		}
	}
	return e
}

func TestDo(t *testing.T) {
	f := &forge{replies: []reply{{status: http.StatusCreated, header: map[string]string{"Content-Type": jsonType, "X-One": "1"}, body: `{"id":7}`}}}
	c := newClient(t, setup{transport: f})
	var result struct{ ID int }
	header, err := c.Do(t.Context(), post(), &result)
	if err != nil || result.ID != 7 || header.Get("X-One") != "1" {
		t.Fatalf("gives %+v, %v, %v", result, header, err)
	}
	r := f.requests[0]
	if r.Method != http.MethodPost || r.URL.String() != "https://git.acme.example/api/v1/repos/acme/app/keys" || f.bodies[0] != `{"k":"v"}` {
		t.Errorf("sent %s %s %s", r.Method, r.URL, f.bodies[0])
	}
	for name, value := range map[string]string{
		"Authorization": "token " + token, "Content-Type": "application/json", "Accept": "application/json", "User-Agent": "deploykeyd/test",
	} {
		if r.Header.Get(name) != value {
			t.Errorf("%s is %q", name, r.Header.Get(name))
		}
	}
}

func TestStatusClasses(t *testing.T) {
	for _, c := range []struct {
		status    int
		class     provision.Class
		uncertain bool // for a POST
	}{
		{400, provision.Invalid, false},
		{401, provision.BadCredential, false},
		{403, provision.Denied, false},
		{404, provision.NotFound, false},
		{405, provision.Invalid, false},
		{408, provision.Transient, true},
		{409, provision.Invalid, false},
		{410, provision.NotFound, false},
		{422, provision.Invalid, false},
		{500, provision.Transient, true},
		{501, provision.Transient, true},
		{502, provision.Transient, true},
		{503, provision.Transient, true},
		{504, provision.Transient, true},
		{200, provision.Transient, true}, // a success that is not documented
		{202, provision.Transient, true},
		{204, provision.Transient, true},
		{600, provision.Transient, true},
		{0, provision.Transient, true},
	} {
		f := &forge{replies: []reply{status(c.status)}}
		_, err := newClient(t, setup{transport: f}).Do(t.Context(), post(), nil)
		e := errorOf(t, err, c.class, c.uncertain)
		if e.Status != c.status || e.Op != "register" || e.Forge != "forge" || e.Target != target || e.Message == "" {
			t.Errorf("%d gives %+v", c.status, e)
		}
		if f.sent() != 1 {
			t.Errorf("%d: a POST was sent %d times", c.status, f.sent())
		}
	}
}

func TestBadReplies(t *testing.T) {
	for name, c := range map[string]struct {
		reply reply
		want  string
	}{
		"a page for people":         {reply{status: 201, header: map[string]string{"Content-Type": "text/html"}, body: "<html>log in</html>"}, "HTML page"},
		"a page that says nothing":  {reply{status: 201, body: "  <!DOCTYPE html>"}, "HTML page"},
		"a page called JSON":        {reply{status: 201, header: map[string]string{"Content-Type": jsonType}, body: "<html>"}, "HTML page"},
		"JSON called text":          {reply{status: 201, header: map[string]string{"Content-Type": "text/plain"}, body: "{}"}, "not the JSON"},
		"no type":                   {reply{status: 201, body: "{}"}, "not the JSON"},
		"nothing":                   {reply{status: 201, header: map[string]string{"Content-Type": jsonType}}, "not the JSON"},
		"half":                      {reply{status: 201, header: map[string]string{"Content-Type": jsonType}, body: `{"id":`}, "not the JSON"},
		"more":                      {reply{status: 201, header: map[string]string{"Content-Type": jsonType}, body: `{"id":1} {"id":2}`}, "not the JSON"},
		"something else":            {reply{status: 201, header: map[string]string{"Content-Type": jsonType}, body: `["id"]`}, "not the JSON"},
		"a cut":                     {reply{status: 201, header: map[string]string{"Content-Type": jsonType}, body: `{"id":1}`, cut: true}, "cut"},
		"a cut refusal":             {reply{status: 422, header: map[string]string{"Content-Type": jsonType}, body: `{"message":"no`, cut: true}, "cut"},
		"more than the cap":         {reply{status: 201, header: map[string]string{"Content-Type": jsonType}, body: `{"id":1}` + strings.Repeat(" ", 1<<20)}, "larger"},
		"a refusal beyond the cap":  {reply{status: 422, header: map[string]string{"Content-Type": jsonType}, body: strings.Repeat(" ", 1<<20+1)}, "larger"},
		"a connection that is gone": {reply{err: io.EOF}, "cut"},
	} {
		f := &forge{replies: []reply{c.reply}}
		var result struct{ ID int }
		_, err := newClient(t, setup{transport: f}).Do(t.Context(), post(), &result)
		e := errorOf(t, err, provision.Transient, true)
		if !strings.Contains(e.Message, c.want) || strings.Contains(e.Message, "<") || e.Next == "" {
			t.Errorf("%s: message %q, next %q", name, e.Message, e.Next)
		}
		if f.sent() != 1 {
			t.Errorf("%s: sent %d times", name, f.sent())
		}
	}
}

func TestReplyOfExactlyTheCap(t *testing.T) {
	body := `{"id":1}`
	f := &forge{replies: []reply{ok(body + strings.Repeat(" ", 1<<20-len(body)))}}
	var result struct{ ID int }
	if _, err := newClient(t, setup{transport: f}).Do(t.Context(), get(), &result); err != nil || result.ID != 1 {
		t.Errorf("gives %v, %v", result, err)
	}
}

func TestNoBodyExpected(t *testing.T) {
	f := &forge{replies: []reply{status(204)}}
	if _, err := newClient(t, setup{transport: f}).Do(t.Context(), del(), nil); err != nil {
		t.Error(err)
	}
}

func TestCredentialIsReadAgain(t *testing.T) {
	for _, c := range []struct {
		name        string
		tokens      []string
		replies     []reply
		sent, loads int
		fine        bool
	}{
		{"replaced", []string{"old", "new"}, []reply{status(401), ok("{}")}, 2, 2, true},
		{"the same", []string{"old"}, []reply{status(401)}, 1, 2, false},
		{"replaced and as bad", []string{"old", "new", "newer"}, []reply{status(401)}, 2, 2, false},
		{"gone", []string{"old", ""}, []reply{status(401)}, 1, 2, false},
	} {
		f, s := &forge{replies: c.replies}, &source{tokens: c.tokens}
		client := newClient(t, setup{transport: f, source: s})
		var result struct{}
		_, err := client.Do(t.Context(), get(), &result)
		if c.fine != (err == nil) || f.sent() != c.sent || s.loads != c.loads {
			t.Errorf("%s: %v after %d requests and %d loads", c.name, err, f.sent(), s.loads)
		}
		if err != nil {
			if e := errorOf(t, err, provision.BadCredential, false); !strings.Contains(e.Next, "file /etc/token") {
				t.Errorf("%s: next is %q", c.name, e.Next)
			}
		}
		for i, r := range f.requests {
			if got := r.Header.Get("Authorization"); got != "token "+c.tokens[i] {
				t.Errorf("%s: request %d has %q", c.name, i, got)
			}
		}
	}
}

func TestCredentialIsKept(t *testing.T) {
	f, s := &forge{replies: []reply{ok("{}")}}, &source{tokens: []string{token}}
	client := newClient(t, setup{transport: f, source: s})
	for range 3 {
		if _, err := client.Do(t.Context(), get(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if s.loads != 1 {
		t.Errorf("the credential was read %d times", s.loads)
	}
}

func TestUnreadableCredential(t *testing.T) {
	f, s := &forge{replies: []reply{ok("{}")}}, &source{tokens: []string{"", token}}
	client := newClient(t, setup{transport: f, source: s})
	_, err := client.Do(t.Context(), post(), nil)
	e := errorOf(t, err, provision.BadCredential, false)
	if !strings.Contains(e.Message, "does not exist") || !strings.Contains(e.Next, "/etc/token") || f.sent() != 0 {
		t.Errorf("gives %+v after %d requests", e, f.sent())
	}
	if _, err := client.Do(t.Context(), get(), nil); err != nil {
		t.Errorf("a later credential is not read: %v", err)
	}
}
