package github_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/credential"
	"deploykeyd/provision/github"
)

const (
	keyLine   = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKRA+ciGbh7m9liOp2utE+vpbdh1VGSQwJD/hhjFAMVM"
	tokenName = "DEPLOYKEYD_TEST_GITHUB"
)

var target = provision.RepositoryTarget("acme/app")

// roundTripper is a transport that is a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// serve returns a forge whose server is handle.
func serve(t *testing.T, handle http.HandlerFunc) *github.Forge {
	t.Helper()
	t.Setenv(tokenName, "0123456789")
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	f, err := github.New(github.Options{Name: "forge", URL: server.URL, Credential: credential.Env(tokenName), UserAgent: "deploykeyd/test"})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func reply(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}

func request(t *testing.T) provision.KeyRequest {
	t.Helper()
	key, err := provision.ParsePublicKey(keyLine)
	if err != nil {
		t.Fatal(err)
	}
	return provision.KeyRequest{Title: "title", Key: key, Access: provision.Read}
}

func TestRoots(t *testing.T) {
	t.Setenv(tokenName, "0123456789")
	for url, want := range map[string]string{
		"":                         "https://api.github.com/repos/acme/app/keys",
		"https://api.github.com":   "https://api.github.com/repos/acme/app/keys",
		"https://api.github.com/":  "https://api.github.com/repos/acme/app/keys",
		"https://github.com":       "https://api.github.com/repos/acme/app/keys",
		"https://ghe.acme.example": "https://ghe.acme.example/api/v3/repos/acme/app/keys",
		"http://127.0.0.2:3000/":   "http://127.0.0.2:3000/api/v3/repos/acme/app/keys",
	} {
		var got *http.Request
		f, err := github.New(github.Options{
			URL: url, Credential: credential.Env(tokenName), UserAgent: "deploykeyd/test",
			Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				got = r
				return &http.Response{
					StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
					Body: io.NopCloser(strings.NewReader(`[]`)),
				}, nil
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range f.List(t.Context(), target) {
			t.Fatal(err)
		}
		if at, _, _ := strings.Cut(got.URL.String(), "?"); at != want {
			t.Errorf("%q asks %s, want %s", url, at, want)
		}
		for name, value := range map[string]string{
			"Authorization": "Bearer 0123456789", "Accept": "application/vnd.github+json",
			"X-GitHub-Api-Version": "2022-11-28", "User-Agent": "deploykeyd/test",
		} {
			if got.Header.Get(name) != value {
				t.Errorf("%s is %q", name, got.Header.Get(name))
			}
		}
	}
	for _, url := range []string{"api.github.com", "http://ghe.acme.example", "https://u:p@ghe.acme.example"} {
		if _, err := github.New(github.Options{URL: url, Credential: credential.Env(tokenName)}); err == nil {
			t.Errorf("%q is accepted", url)
		}
	}
}

func problem(message string) string {
	return `{"message":"Validation Failed","errors":[{"resource":"PublicKey","code":"custom","field":"key","message":"` + message + `"}],"status":"422"}`
}

func TestRefusals(t *testing.T) {
	const docs = `"documentation_url":"https://docs.github.com/rest`
	for _, c := range []struct {
		name   string
		status int
		header map[string]string
		body   string
		class  provision.Class
		next   string
		wait   time.Duration
	}{
		{"bad token", 401, nil, `{"message":"Bad credentials"}`, provision.BadCredential, "token", 0},
		{"app without permission", 403, nil, `{"message":"Resource not accessible by integration"}`, provision.Denied, "Administration: write", 0},
		{"token without permission, with rate headers", 403, map[string]string{"X-RateLimit-Remaining": "4999"}, `{"message":"Resource not accessible by personal access token"}`, provision.Denied, "Administration: write", 0},
		{"token without permission, and nothing remains", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1788264000"}, `{"message":"Resource not accessible by personal access token"}`, provision.Denied, "Administration: write", 0},
		{"single sign-on", 403, map[string]string{"X-GitHub-SSO": "required; url=https://github.com/orgs/acme/sso?authorization_request=AAAA"}, `{"message":"Resource protected by organization SAML enforcement."}`, provision.PolicyForbids, "single sign-on", 0},
		{"archived", 403, nil, `{"message":"Repository was archived so is read-only."}`, provision.PolicyForbids, "unarchive", 0},
		{"missing", 404, nil, `{"message":"Not Found"}`, provision.NotFound, "name", 0},
		{"policy", 422, nil, `{"message":"Validation Failed","errors":[{"resource":"PublicKey","code":"custom","message":"Deploy keys are disabled for this repository"}]}`, provision.PolicyForbids, "organisation", 0},
		{"bad key", 422, nil, problem("key is invalid. You must supply a key in OpenSSH public key format"), provision.Invalid, "key type", 0},
		{"something else", 422, nil, problem("title is too long (maximum is 255 characters)"), provision.Invalid, "", 0},
		{"primary limit", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1788264000", "Date": "Tue, 01 Sep 2026 11:20:00 GMT"}, `{"message":"API rate limit exceeded",` + docs + `/overview/rate-limits-for-the-rest-api"}`, provision.RateLimited, "", 40 * time.Minute},
		{"primary limit as 429", 429, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1788264000", "Date": "Tue, 01 Sep 2026 11:20:00 GMT"}, `{}`, provision.RateLimited, "", 40 * time.Minute},
		{"secondary limit", 403, map[string]string{"X-RateLimit-Remaining": "4999"}, `{"message":"You have exceeded a secondary rate limit",` + docs + `/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`, provision.RateLimited, "", time.Minute},
		{"secondary limit, as it was called", 403, nil, `{"message":"You have triggered an abuse detection mechanism",` + docs + `/#abuse-rate-limits"}`, provision.RateLimited, "", time.Minute},
		{"secondary limit with a time", 403, map[string]string{"Retry-After": "77"}, `{"message":"You have exceeded a secondary rate limit"}`, provision.RateLimited, "", 77 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			requests := 0
			f := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				requests++
				for name, value := range c.header {
					w.Header().Set(name, value)
				}
				reply(w, c.status, c.body)
			})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // less than any of the waits
			defer cancel()
			_, err := f.Register(ctx, target, request(t))
			e, ok := errors.AsType[*provision.Error](err)
			if !ok || e.Class != c.class || e.Uncertain || e.RetryAfter != c.wait || !strings.Contains(e.Next, c.next) {
				t.Fatalf("gives %+v", e)
			}
			if requests != 1 || strings.Contains(e.Error()+e.Next, "AAAA") {
				t.Errorf("%d requests: %v", requests, err)
			}
		})
	}
}

func TestListOfStrangeEntries(t *testing.T) {
	f := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, `[{"id":1,"key":"ssh-rsa !!!","title":"broken","read_only":false,"enabled":false,"added_by":null,"last_used":null},
			{"id":98765432101,"key":"`+keyLine+`","title":"t","created_at":"2026-09-01T10:00:00Z","read_only":true}]`)
	})
	var all []provision.Registration
	for r, err := range f.List(t.Context(), target) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	if len(all) != 2 || !all[0].Key.IsZero() || all[0].Access != provision.Write || all[1].Key != request(t).Key || all[1].ID != "98765432101" {
		t.Errorf("lists %+v", all)
	}
}

func TestNextPageElsewhere(t *testing.T) {
	for _, link := range []string{
		`<https://evil.example/api/v3/x?page=2>; rel="next"`,
		`<http://127.0.0.1:1/api/v3/x?page=2>; rel="next"`,
		`</login>; rel="next"`,
		`broken; rel="next"`,
	} {
		requests := 0
		f := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			requests++
			w.Header().Set("Link", link)
			reply(w, http.StatusOK, `[{"id":1,"key":"`+keyLine+`"}]`)
		})
		_, found, err := provision.Find(t.Context(), f, target, provision.PublicKey{})
		if found || provision.ClassOf(err) != provision.Transient || err == nil || requests != 1 {
			t.Errorf("%s gives %v, %v after %d requests", link, found, err, requests)
		}
	}
}

// TestRepliesThatAreNoList are successes by their status: taken for empty lists
// they would say that a key is gone.
func TestRepliesThatAreNoList(t *testing.T) {
	for _, body := range []string{`null`, `{}`, `{"message":"x"}`, `[null]`} {
		f := serve(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, body) })
		_, found, err := provision.Find(t.Context(), f, target, request(t).Key)
		if found || err == nil || provision.ClassOf(err) != provision.Transient || provision.NextStep(err) == "" {
			t.Errorf("%s gives %v, %v", body, found, err)
		}
	}
}
