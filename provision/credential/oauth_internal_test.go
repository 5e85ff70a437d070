package credential

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func newOAuth(t *testing.T, s *server) Source {
	t.Helper()
	t.Setenv("DEPLOYKEYD_TEST_TOKEN", theToken)
	return OAuthClient(OAuthOptions{Doer: s, URL: "https://forge.test/site/oauth2/access_token", ID: "the:id", Secret: Env("DEPLOYKEYD_TEST_TOKEN")})
}

func TestOAuthExchange(t *testing.T) {
	for body, life := range map[string]time.Duration{
		`{"access_token":"abc","token_type":"bearer","expires_in":7200,"scopes":"x","refresh_token":"y"}`: 2 * time.Hour,
		`{"access_token":"abc","token_type":"Bearer","expires_in":1}`:                                     time.Second,
		`{"access_token":"abc","token_type":"BEARER","expires_in":9223372036854775807}`:                   longestLife,
		`{"access_token":"abc","token_type":"bearer"}`:                                                    0,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{replies: []served{{status: 200, body: body}}}
			source := newOAuth(t, s)
			secret, err := source.Load(t.Context())
			if err != nil || secret.Reveal() != "abc" {
				t.Fatalf("%s gives %v", body, err)
			}
			if ends := secret.Expires(); life == 0 && !ends.IsZero() || life != 0 && time.Until(ends) != life {
				t.Errorf("%s ends at %v", body, ends)
			}
			want := request{
				"POST https://forge.test/site/oauth2/access_token", "Basic " + base64.StdEncoding.EncodeToString([]byte("the%3Aid:"+theToken)),
				"application/x-www-form-urlencoded", "grant_type=client_credentials",
			}
			if s.asked[0] != want {
				t.Errorf("asks %+v", s.asked[0])
			}
			if source.String() != "OAuth client the:id with the secret of env DEPLOYKEYD_TEST_TOKEN" {
				t.Errorf("is called %q", source)
			}
		})
	}
}

// exchangeFailure is a reply and what it must come to.
type exchangeFailure struct {
	name   string
	reply  served
	reason Reason
	wait   time.Duration
	says   string
	next   string
}

// commonFailures are those that do not depend on the kind of exchange.
func commonFailures() []exchangeFailure {
	return []exchangeFailure{
		{"redirect", served{status: 302, header: map[string]string{"Location": "https://login.example/?x=" + theToken}}, Moved, 0, "HTTP 302", "login page"},
		{"rate limit", served{status: 429, header: map[string]string{"Retry-After": "77"}}, Limited, 77 * time.Second, "HTTP 429", "again"},
		{"rate limit until a date", served{status: 429, header: map[string]string{
			"Retry-After": "Tue, 01 Sep 2026 10:01:40 GMT", "Date": "Tue, 01 Sep 2026 10:00:00 GMT",
		}}, Limited, 100 * time.Second, "", ""},
		{"rate limit without a time", served{status: 429}, Limited, time.Minute, "", ""},
		{"rate limit for ever", served{status: 429, header: map[string]string{"Retry-After": "4294967295"}}, Limited, longestAsked, "", ""},
		{"rate limit of GitHub", served{status: 403, header: map[string]string{
			"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1788256860", "Date": "Tue, 01 Sep 2026 10:00:00 GMT",
		}}, Limited, time.Minute, "HTTP 403", ""},
		{"rate limit that is over", served{status: 403, header: map[string]string{
			"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1788256700", "Date": "Tue, 01 Sep 2026 10:00:00 GMT",
		}}, Limited, time.Minute, "", ""},
		{"rate limit beyond numbers", served{status: 429, header: map[string]string{"Retry-After": "99999999999999999999"}}, Limited, longestAsked, "", ""},
		{"server error", served{status: 500}, Trouble, 0, "HTTP 500", "status"},
		{"server away", served{status: 503, header: map[string]string{"Retry-After": "5"}}, Trouble, 5 * time.Second, "", ""},
		{"slow request", served{status: 408}, Trouble, 0, "", ""},
		{"forbidden", served{status: 403, body: `{"message":"no"}`}, Refused, 0, "HTTP 403", ""},
		{"missing", served{status: 404}, Refused, 0, "HTTP 404", ""},
		{"unprocessable", served{status: 422}, Refused, 0, "HTTP 422", ""},
		{"bad request", served{status: 400}, Refused, 0, "HTTP 400", ""},
		{"unauthorized", served{status: 401}, Unknown, 0, "HTTP 401", "env DEPLOYKEYD_TEST_"},
		{"no connection", served{err: &Error{Reason: Trouble, Message: "no way", Next: "make one"}}, Trouble, 0, "no way", "make one"},
		{"an error of nobody's", served{err: errors.New("sent " + theToken)}, Trouble, 0, "no whole reply", "url"},
		{"a page", served{status: 200, header: map[string]string{"Content-Type": "text/html"}, body: "<html>"}, Trouble, 0, "HTTP 200", "login page"},
		{"another success", served{status: 204}, Trouble, 0, "HTTP 204", "login page"},
	}
}

// fails checks that a source fails as it must.
func (c exchangeFailure) fails(t *testing.T, source Source, secrets ...string) {
	t.Helper()
	secret, err := source.Load(t.Context())
	e, ok := errors.AsType[*Error](err)
	if !ok || !secret.IsZero() {
		t.Fatalf("gives %v", err)
	}
	if e.Reason != c.reason || e.RetryAfter != c.wait || !strings.Contains(err.Error(), c.says) || !strings.Contains(e.Next, c.next) || e.Next == "" {
		t.Errorf("gives %v: %+v", err, e)
	}
	if !strings.HasPrefix(err.Error(), "credential "+source.String()+": ") {
		t.Errorf("does not name the source: %v", err)
	}
	oneLine(t, err, secrets...)
	oneLine(t, errors.New(e.Next), secrets...)
}

func TestOAuthFailures(t *testing.T) {
	basic := base64.StdEncoding.EncodeToString([]byte("the%3Aid:" + theToken))
	ok := func(body string) served { return served{status: 200, body: body} }
	for _, c := range append(commonFailures(), []exchangeFailure{
		{"bad secret", served{status: 401, body: `{"error":"invalid_client","error_description":"no\nsuch client"}`}, Unknown, 0, `invalid_client: no\nsuch client`, "client_id"},
		{"bad secret as a bad request", served{status: 400, body: `{"error":"invalid_client"}`}, Unknown, 0, "invalid_client", "client_id"},
		{"bad secret on Bitbucket", served{status: 400, body: `{"error":"unauthorized_client","error_description":"Invalid OAuth client credentials"}`}, Unknown, 0, "Invalid OAuth", "client_id"},
		{"not private", served{status: 400, body: `{"error":"invalid_grant","error_description":"Cannot use client_credentials with a consumer marked as \"public\"."}`}, Refused, 0, "marked as", "private"},
		{"echo", served{status: 401, body: `{"error":"` + theToken + `","error_description":"` + basic + `"}`}, Unknown, 0, "[redacted]: [redacted]", ""},
		{"no token", ok(`{"token_type":"bearer"}`), Trouble, 0, "it is empty", "login page"},
		{"no type", ok(`{"access_token":"abc"}`), Trouble, 0, "not a bearer token", ""},
		{"another type", ok(`{"access_token":"abc","token_type":"mac"}`), Trouble, 0, "not a bearer token", ""},
		{"a header's end", ok(`{"access_token":"abc\r\nX: y","token_type":"bearer"}`), Trouble, 0, "several lines", ""},
		{"not ASCII", ok(`{"access_token":"äbc","token_type":"bearer"}`), Trouble, 0, "outside ASCII", ""},
		{"ended", ok(`{"access_token":"abc","token_type":"bearer","expires_in":0}`), Trouble, 0, "no time to live", ""},
		{"ended long ago", ok(`{"access_token":"abc","token_type":"bearer","expires_in":-5}`), Trouble, 0, "no time to live", ""},
		{"null", ok(`null`), Trouble, 0, "not a bearer token", ""},
		{"a list", ok(`[]`), Trouble, 0, "not the JSON", ""},
		{"half", ok(`{"access_token":"abc`), Trouble, 0, "not the JSON", ""},
		{"too much", ok(`{"access_token":"` + strings.Repeat("x", maxReply) + `"}`), Trouble, 0, "larger", ""},
	}...) {
		t.Run(c.name, func(t *testing.T) {
			s := &server{replies: []served{c.reply}}
			c.fails(t, newOAuth(t, s), theToken, basic)
			if len(s.asked) != 1 {
				t.Errorf("%d requests", len(s.asked))
			}
		})
	}
}

func TestOAuthSecretIsReadAnew(t *testing.T) {
	s := &server{replies: []served{{status: 200, body: `{"access_token":"abc","token_type":"bearer"}`}}}
	source := newOAuth(t, s)
	for _, secret := range []string{"first", "second"} {
		t.Setenv("DEPLOYKEYD_TEST_TOKEN", secret)
		if _, err := source.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if last := s.asked[len(s.asked)-1]; last.authorization != "Basic "+base64.StdEncoding.EncodeToString([]byte("the%3Aid:"+secret)) {
			t.Errorf("%s was not read", secret)
		}
	}
	t.Setenv("DEPLOYKEYD_TEST_TOKEN", "")
	_, err := source.Load(t.Context())
	if _, asked := errors.AsType[*Error](err); err == nil || asked || !strings.Contains(err.Error(), "set it to the client secret") || len(s.asked) != 2 {
		t.Errorf("without a secret gives %v", err)
	}
}

func TestExchangeIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &server{replies: []served{{err: &http.MaxBytesError{}}}}
	source := newOAuth(t, s)
	cancel()
	_, err := source.Load(ctx)
	if _, asked := errors.AsType[*Error](err); !errors.Is(err, context.Canceled) || asked {
		t.Errorf("gives %v", err)
	}
}
