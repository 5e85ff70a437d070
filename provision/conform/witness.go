package conform

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"deploykeyd/provision"
)

// witness is an adapter whose every error is looked at.
type witness struct {
	*bench
	inner provision.Forge
}

func (w *witness) Register(ctx context.Context, t provision.Target, r provision.KeyRequest) (provision.Registration, error) {
	made, err := w.inner.Register(ctx, t, r)
	w.check("register", t, err)
	if err == nil && (made.Key != r.Key || made.ID == "" || made.Title == "") {
		w.Errorf("register gives %+v", made)
	}
	if err != nil && made != (provision.Registration{}) {
		w.Errorf("register gives an error and %+v", made)
	}
	return made, err
}

func (w *witness) List(ctx context.Context, t provision.Target) iter.Seq2[provision.Registration, error] {
	return func(yield func(provision.Registration, error) bool) {
		ended := false
		for r, err := range w.inner.List(ctx, t) {
			if ended {
				w.Error("the list goes on after its error")
			}
			w.check("list", t, err)
			ended = err != nil
			if !yield(r, err) {
				return
			}
		}
	}
}

func (w *witness) Revoke(ctx context.Context, t provision.Target, r provision.Registration) error {
	err := w.inner.Revoke(ctx, t, r)
	w.check("revoke", t, err)
	return err
}

func (w *witness) Time(ctx context.Context) (time.Time, error) {
	clock, ok := w.inner.(provision.Clock)
	if !ok {
		w.Fatal("the adapter keeps no clock")
	}
	at, err := clock.Time(ctx)
	w.check("time", provision.Target{}, err)
	return at, err
}

// check holds what is promised of every error.
func (w *witness) check(op string, t provision.Target, err error) {
	w.Helper()
	if err == nil {
		return
	}
	e, ok := errors.AsType[*provision.Error](err)
	if !ok {
		w.Errorf("%s gives a %T: %v", op, err, err)
		return
	}
	if e.Op != op || e.Forge != "forge-under-test" || e.Target != t || e.Class == "" {
		w.Errorf("the error does not say what it is about: %+v", e)
	}
	if e.Message == "" || len(e.Message) > 500 || strings.ContainsFunc(e.Message, unicode.IsControl) {
		w.Errorf("the error's message is not one short line: %q", e.Message)
	}
	if !e.Class.Retryable() && e.Next == "" {
		w.Errorf("nothing says what to do about: %v", e)
	}
	if e.Class == provision.RateLimited && e.Uncertain {
		w.Errorf("a refusal for the rate is uncertain: %v", e)
	}
	if op == "list" && e.Uncertain {
		w.Errorf("a list is uncertain: %v", e)
	}
	for cause := error(e); cause != nil; cause = errors.Unwrap(cause) {
		text := fmt.Sprintf("%v %+v %#v %s", cause, cause, cause, e.Next)
		w.wantNoSecret("an error", text)
		if strings.Contains(cause.Error(), "?") || strings.Contains(cause.Error(), "://") {
			w.Errorf("an error shows a URL or a query: %v", cause)
		}
	}
}

// wantError checks an error's class and whether the request may have taken
// effect.
func (b *bench) wantError(err error, uncertain bool, classes ...provision.Class) {
	b.Helper()
	_ = b.errorOf(err, uncertain, classes...)
}

// errorOf is wantError that returns the error.
func (b *bench) errorOf(err error, uncertain bool, classes ...provision.Class) *provision.Error {
	b.Helper()
	e, ok := errors.AsType[*provision.Error](err)
	if !ok {
		b.Fatalf("gives %v, want an error of class %q", err, classes)
	}
	found := false
	for _, c := range classes {
		found = found || e.Class == c
	}
	if !found || e.Uncertain != uncertain {
		b.Fatalf("gives class %q, uncertain %v; want %q, %v: %v", e.Class, e.Uncertain, classes, uncertain, err)
	}
	return e
}

// spy looks at each request as it leaves the adapter.
type spy struct {
	*testing.T
	inner http.RoundTripper

	mu     sync.Mutex
	bodies []string // of requests that had one, save exchanges
}

// RoundTrip implements http.RoundTripper.
func (s *spy) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.User != nil || strings.Contains(strings.ToLower(r.URL.RawQuery), "token") {
		s.Errorf("a credential in the URL %s", r.URL)
	}
	if r.Header.Get("User-Agent") != "deploykeyd/conform" || r.Header.Get("Accept") == "" {
		s.Errorf("the headers are %v", r.Header)
	}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			s.Error(err)
		}
		s.mu.Lock()
		if len(body) > 0 && !isExchange(r.URL.Path) {
			s.bodies = append(s.bodies, string(body))
		}
		s.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return s.inner.RoundTrip(r)
}

// isExchange reports whether a path is one where tokens are handed out.
func isExchange(path string) bool {
	return strings.HasSuffix(path, "/access_token") || strings.HasSuffix(path, "/access_tokens")
}

// basic is how a username and token travel in a header.
func basic(username, token string) string {
	return base64.StdEncoding.EncodeToString([]byte(username + ":" + token))
}
