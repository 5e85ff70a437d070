package credential

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	dateHeader   = "Tue, 01 Sep 2026 10:00:00 GMT"
	foundReply   = `{"id":42,"account":{"login":"acme"},"app_id":7}`
	tokenReply   = `{"token":"ghs_7_abc.def-ghi_jkl","expires_at":"2026-09-01T11:00:00Z","permissions":{"administration":"write","metadata":"read"}}`
	installation = "GET https://api.forge.test/orgs/acme/installation"
	tokens42     = "POST https://api.forge.test/app/installations/42/access_tokens"
)

var at = time.Date(2026, 9, 1, 10, 0, 0, 0, time.UTC)

func dated(status int, body string) served {
	return served{status: status, body: body, header: map[string]string{"Date": dateHeader}}
}

// newApp returns an App whose forge's clock is known to show the time at.
func newApp(t *testing.T, s *server, change func(*AppOptions)) Source {
	t.Helper()
	t.Setenv("DEPLOYKEYD_TEST_KEY", string(pkcs1PEM(testKey())))
	o := AppOptions{
		Doer: s, Now: func() time.Time { return at }, Root: "https://api.forge.test", ID: "Iv1.abc",
		Owner: "acme", Key: Env("DEPLOYKEYD_TEST_KEY"),
	}
	if change != nil {
		change(&o)
	}
	return GitHubApp(o)
}

// claims checks a JWT's signature and returns what it says.
func claims(t *testing.T, authorization string) (issued, expires time.Time, issuer string) {
	t.Helper()
	jwt, _ := strings.CutPrefix(authorization, "Bearer ")
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("no JWT: %s", authorization)
	}
	var decoded [3][]byte
	for i, part := range parts {
		text, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		decoded[i] = text
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&testKey().PublicKey, crypto.SHA256, sum[:], decoded[2]); err != nil {
		t.Error(err)
	}
	var header struct{ Alg, Typ string }
	var body struct {
		Iat, Exp int64
		Iss      string
	}
	if err := errors.Join(json.Unmarshal(decoded[0], &header), json.Unmarshal(decoded[1], &body)); err != nil || header.Alg != "RS256" || header.Typ != "JWT" {
		t.Errorf("%s, %s, %v", decoded[0], decoded[1], err)
	}
	return time.Unix(body.Iat, 0).UTC(), time.Unix(body.Exp, 0).UTC(), body.Iss
}

func TestGitHubApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{replies: []served{dated(200, foundReply), dated(201, tokenReply)}}
		source := newApp(t, s, nil)
		for range 2 {
			secret, err := source.Load(t.Context())
			if err != nil || secret.Reveal() != "ghs_7_abc.def-ghi_jkl" {
				t.Fatalf("gives %v", err)
			}
			if life := time.Until(secret.Expires()); life != time.Hour { // by this clock, which is in the year 2000
				t.Errorf("lasts %v", life)
			}
		}
		for i, line := range []string{installation, tokens42, tokens42} { // it is looked up once
			if r := s.asked[i]; r.line != line || (r.body == "") != (i == 0) || r.body != "" && (r.body != `{"permissions":{"administration":"write"}}` || r.contentType != "application/json") {
				t.Errorf("asks %+v", r)
			}
			issued, expires, issuer := claims(t, s.asked[i].authorization)
			if !issued.Equal(at.Add(-time.Minute)) || !expires.Equal(at.Add(9*time.Minute)) || issuer != "Iv1.abc" {
				t.Errorf("the JWT is from %v to %v for %s", issued, expires, issuer)
			}
		}
		if len(s.asked) != 3 || source.String() != "GitHub App Iv1.abc with the key of env DEPLOYKEYD_TEST_KEY" {
			t.Errorf("%d requests of %s", len(s.asked), source)
		}
	})
}

func TestGitHubAppWithInstallation(t *testing.T) {
	s := &server{replies: []served{{status: 201, body: tokenReply}}}
	secret, err := newApp(t, s, func(o *AppOptions) { o.Installation = 42 }).Load(t.Context())
	if err != nil || !secret.Expires().IsZero() { // the forge did not say what time it is
		t.Errorf("gives %v, which ends at %v", err, secret.Expires())
	}
	if len(s.asked) != 1 || s.asked[0].line != tokens42 {
		t.Errorf("asks %+v", s.asked)
	}
}

// TestGitHubAppIsInstalledAnew has an installation go that was looked up.
func TestGitHubAppIsInstalledAnew(t *testing.T) {
	s := &server{replies: []served{dated(200, foundReply), dated(201, tokenReply), dated(404, `{"message":"Not Found"}`), dated(200, `{"id":43}`), dated(201, tokenReply)}}
	source := newApp(t, s, nil)
	for range 2 {
		if _, err := source.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.asked) != 5 || s.asked[4].line != strings.Replace(tokens42, "42", "43", 1) {
		t.Errorf("asks %+v", s.asked)
	}
	s.replies = append(s.replies, dated(404, ""))
	_, err := source.Load(t.Context())
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Reason != Refused || !strings.Contains(e.Next, "install the App") || len(s.asked) != 8 { // of an organization, of a user
		t.Errorf("gone for good gives %v after %d requests", err, len(s.asked))
	}
}

func TestGitHubAppLearnsTheTime(t *testing.T) {
	refused := `{"message":"'Expiration time' claim ('exp') is too far in the future"}`
	for name, c := range map[string]struct {
		ours time.Time
		more bool // it is asked once more
	}{
		"in time":      {at, false},
		"30 s ahead":   {at.Add(30 * time.Second), false},
		"31 s ahead":   {at.Add(31 * time.Second), true},
		"31 s behind":  {at.Add(-31 * time.Second), true},
		"a day behind": {at.Add(-24 * time.Hour), true},
		"a year ahead": {at.AddDate(1, 0, 0), true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{replies: []served{dated(401, refused), dated(200, foundReply), dated(201, tokenReply)}}
				_, err := newApp(t, s, func(o *AppOptions) { o.Now = func() time.Time { return c.ours } }).Load(t.Context())
				if !c.more {
					e, ok := errors.AsType[*Error](err)
					if !ok || e.Reason != Unknown || len(s.asked) != 1 || !strings.Contains(e.Next, "clock") {
						t.Errorf("gives %v after %d requests", err, len(s.asked))
					}
					return
				}
				if err != nil || len(s.asked) != 3 {
					t.Fatalf("gives %v after %d requests", err, len(s.asked))
				}
				for i, want := range []time.Time{c.ours, at, at} {
					if issued, _, _ := claims(t, s.asked[i].authorization); !issued.Equal(want.Add(-time.Minute)) {
						t.Errorf("request %d is from %v", i, issued)
					}
				}
			})
		})
	}
	t.Run("once", func(t *testing.T) {
		s := &server{replies: []served{dated(401, refused)}}
		_, err := newApp(t, s, func(o *AppOptions) { o.Now = nil }).Load(t.Context())
		if e, ok := errors.AsType[*Error](err); !ok || e.Reason != Unknown || len(s.asked) != 2 {
			t.Errorf("gives %v after %d requests", err, len(s.asked))
		}
	})
	t.Run("from a cache", func(t *testing.T) {
		old := dated(401, refused)
		old.header["Age"] = "9"
		s := &server{replies: []served{old}}
		if _, err := newApp(t, s, func(o *AppOptions) { o.Now = nil }).Load(t.Context()); err == nil || len(s.asked) != 1 {
			t.Errorf("gives %v after %d requests", err, len(s.asked))
		}
	})
}

func TestGitHubAppFailures(t *testing.T) {
	made := func(body string) served { return dated(201, body) }
	for _, c := range append(commonFailures(), []exchangeFailure{
		{"not permitted", served{status: 422, body: `{"message":"The permissions requested are not granted to this installation."}`}, Refused, 0, "are not granted", "Administration: write"},
		{"suspended", served{status: 403, body: `{"message":"This installation has been suspended"}`}, Refused, 0, "suspended", "suspended"},
		{"secondary limit", served{
			status: 403, header: map[string]string{"X-RateLimit-Remaining": "4999"},
			body: `{"message":"wait","documentation_url":"https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`,
		}, Limited, time.Minute, "HTTP 403", "again"},
		{"secondary limit, old", served{status: 403, body: `{"message":"wait","documentation_url":"https://developer.github.com/v3/#abuse-rate-limits"}`}, Limited, time.Minute, "", ""},
		{"secondary limit by its words", served{
			status: 403, body: `{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}`,
		}, Limited, time.Minute, "exceeded", ""},
		{"words of a limit", served{status: 422, body: `{"message":"no secondary rate limit"}`}, Refused, 0, "", ""},
		{"not installed", served{status: 404, body: `{"message":"Not Found"}`}, Refused, 0, "Not Found", "install the App"},
		{"bad key", dated(401, `{"message":"A JSON web token could not be decoded"}`), Unknown, 0, "could not be decoded", "private key"},
		{"no token", made(`{"expires_at":"2026-09-01T11:00:00Z"}`), Trouble, 0, "it is empty", ""},
		{"a header's end", made(`{"token":"abc\nX: y"}`), Trouble, 0, "several lines", ""},
		{"ended", made(`{"token":"abc","expires_at":"2026-09-01T10:00:00Z"}`), Trouble, 0, "no time to live", ""},
		{"no time", made(`{"token":"abc","expires_at":"soon"}`), Trouble, 0, "not the JSON", ""},
		{"null", made(`null`), Trouble, 0, "it is empty", ""},
	}...) {
		t.Run(c.name, func(t *testing.T) {
			s := &server{replies: []served{c.reply}}
			source := newApp(t, s, func(o *AppOptions) { o.Installation = 42 })
			c.fails(t, source, string(pkcs1PEM(testKey())))
			if len(s.asked) != 1 {
				t.Errorf("%d requests", len(s.asked))
			}
		})
	}
	for _, body := range []string{``, `{}`, `null`, `{"id":0}`, `{"id":-1}`, `{"id":"42"}`, `{"id":1e30}`} {
		c := exchangeFailure{"lookup", dated(200, body), Trouble, 0, "names no installation", "login page"}
		c.fails(t, newApp(t, &server{replies: []served{c.reply}}, nil))
	}
	c := exchangeFailure{"lookup", dated(404, ""), Refused, 0, `the account "acme"`, "install the App"}
	c.fails(t, newApp(t, &server{replies: []served{c.reply}}, nil))
}

// TestGitHubAppOfAUser finds the installation on an account that is no
// organization's, whose name may be anything.
func TestGitHubAppOfAUser(t *testing.T) {
	s := &server{replies: []served{dated(404, `{"message":"Not Found"}`), dated(200, foundReply), dated(201, tokenReply)}}
	if _, err := newApp(t, s, func(o *AppOptions) { o.Owner = "a/../b" }).Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, line := range []string{"GET https://api.forge.test/orgs/a%2F..%2Fb/installation", "GET https://api.forge.test/users/a%2F..%2Fb/installation", tokens42} {
		if s.asked[i].line != line {
			t.Errorf("asks %s, want %s", s.asked[i].line, line)
		}
	}
	for _, reply := range []served{dated(403, `{}`), dated(500, ``), dated(301, ``), {err: errors.New("no way")}} { // says nothing about the kind of account
		s := &server{replies: []served{reply}}
		if _, err := newApp(t, s, nil).Load(t.Context()); err == nil || len(s.asked) != 1 {
			t.Errorf("%d gives %v after %d requests", reply.status, err, len(s.asked))
		}
	}
}

func TestGitHubAppBelievesNoEndlessToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{replies: []served{dated(201, `{"token":"abc","expires_at":"9999-01-01T00:00:00Z"}`)}}
		secret, err := newApp(t, s, func(o *AppOptions) { o.Installation = 42 }).Load(t.Context())
		if err != nil || time.Until(secret.Expires()) != longestLife {
			t.Errorf("ends at %v: %v", secret.Expires(), err)
		}
	})
}

func TestGitHubAppEchoedJWT(t *testing.T) {
	s := &server{}
	for range 2 { // the JWT of a time is always the same
		s.replies = []served{dated(403, `{"message":"no `+strings.TrimPrefix(last(s.asked), "Bearer ")+`"}`)}
		_, err := newApp(t, s, func(o *AppOptions) { o.Installation = 42 }).Load(t.Context())
		if err == nil {
			t.Fatal("accepted")
		}
		oneLine(t, err, last(s.asked))
		if len(s.asked) == 2 && !strings.Contains(err.Error(), `"no [redacted]"`) {
			t.Errorf("gives %v", err)
		}
	}
}

func last(asked []request) string {
	if len(asked) == 0 {
		return ""
	}
	return asked[len(asked)-1].authorization
}

// TestGitHubAppKeys reads the key from each kind of source, with all its lines.
func TestGitHubAppKeys(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.pem")
	if err := os.WriteFile(path, pkcs8PEM(t, testKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	t.Setenv("DEPLOYKEYD_TEST_TOKEN", theToken)
	for _, c := range []struct {
		source Source
		want   string // of the error; none is success
	}{
		{File(path), ""},
		{Env("DEPLOYKEYD_TEST_KEY"), ""},
		{systemd{"app.pem", dir}, ""},
		{Command([]string{"cat", path}, 0), ""},
		{foreign{string(pkcs1PEM(testKey()))}, ""},
		{File(path + "x"), "write the private key into it"},
		{Env("DEPLOYKEYD_TEST_NONE"), "set it to the private key"},
		{Env("DEPLOYKEYD_TEST_TOKEN"), "no private key in PEM form"},
		{foreign{}, "no private key in PEM form"},
	} {
		s := &server{replies: []served{dated(201, tokenReply)}}
		_, err := newApp(t, s, func(o *AppOptions) { o.Installation, o.Key = 42, c.source }).Load(t.Context())
		switch _, asked := errors.AsType[*Error](err); {
		case c.want == "" && err != nil, c.want != "" && (err == nil || asked || len(s.asked) != 0):
			t.Errorf("%s gives %v", c.source, err)
		case err != nil:
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.source.String()) {
				t.Errorf("%s gives %v", c.source, err)
			}
			oneLine(t, err, theToken)
		}
		if err := CheckAppKey(t.Context(), c.source); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("the check of %s gives %v", c.source, err)
		}
		if _, err := c.source.Load(t.Context()); err == nil && c.want == "" && c.source != (foreign{string(pkcs1PEM(testKey()))}) {
			t.Errorf("%s gives a key as a token", c.source)
		}
	}
}
