package forgesim_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

func TestGitHubRefusals(t *testing.T) {
	f := open(t, provision.GitHub)
	if err := f.AddRepository("acme/old", forgesim.RepositoryOptions{Archived: true}); err != nil {
		t.Fatal(err)
	}
	mine, elsewhere, account, archived := newPublic(t), newPublic(t), newPublic(t), newPublic(t)
	f.AddKey("acme/api", "one", mine, provision.Read)
	id := f.AddKey("acme/web", "two", elsewhere, provision.Read).ID
	old := f.AddKey("acme/old", "three", archived, provision.Read).ID
	f.AddUserKey(account)
	reader := &forgesim.Token{Username: "r", Secret: "reader", Scopes: []string{"administration:read"}, Admin: true}
	guest := &forgesim.Token{Username: "g", Secret: "guest", ReadOf: []string{"acme/api"}}
	f.AddToken(*reader)
	f.AddToken(*guest)
	keys := "/repos/acme/api/keys"
	post := func(body string) request { return request{method: "POST", path: keys, body: body} }
	body := createBody(f.Kind(), "x", newPublic(t).String())
	with := func(r request, token *forgesim.Token) request { r.token = token; return r }
	header := func(r request, name, value string) request { r.header = map[string]string{name: value}; return r }
	const inUse = `"errors":[{"resource":"PublicKey","code":"custom","field":"key","message":"key is already in use"}]`
	checkRefusals(t, f, []refusal{
		{"again", post(createBody(f.Kind(), "x", mine.String())), 422, inUse},
		{"elsewhere", post(createBody(f.Kind(), "x", elsewhere.String())), 422, inUse},
		{"account", post(createBody(f.Kind(), "x", account.String())), 422, inUse},
		{"no key", post(`{"title": "x"}`), 422, "missing_field"},
		{"bad key", post(createBody(f.Kind(), "x", "ssh-ed25519 AAAA")), 422, `"message":"key is invalid.`},
		{"short RSA", post(createBody(f.Kind(), "x", shortRSA(t))), 422, "key is invalid"},
		{"long title", post(createBody(f.Kind(), strings.Repeat("x", 256), newPublic(t).String())), 422, "too long"},
		{"not JSON", post(`{"title"`), 400, `"Problems parsing JSON"`},
		{"unknown member", post(`{"readonly": true}`), 422, "Invalid request."},
		{"form", header(post(body), "Content-Type", "text/plain"), 415, ""},
		{"large", post(`{"title": "` + strings.Repeat("x", 65<<10) + `"}`), 413, ""},
		{"no user agent", header(request{method: "GET", path: keys}, "User-Agent", ""), 403, "User-Agent"},
		{"accept", header(request{method: "GET", path: keys}, "Accept", "text/html"), 415, "Must accept"},
		{"version", header(request{method: "GET", path: keys}, "X-GitHub-Api-Version", "2001-01-01"), 400, "not a supported version"},
		{"anonymous", header(request{method: "GET", path: keys}, "Authorization", ""), 404, `"Not Found"`},
		{"bad token", with(post(body), &forgesim.Token{Secret: "wrong"}), 401, `"message":"Bad credentials"`},
		{"basic", header(post(body), "Authorization", "Basic eDp5"), 401, "Bad credentials"},
		{"scope", with(post(body), reader), 403, `"Resource not accessible by personal access token"`},
		{"no admin", with(request{method: "GET", path: keys}, guest), 403, "Resource not accessible"},
		{"hidden", with(request{method: "GET", path: "/repos/acme/web/keys"}, guest), 404, `"Not Found"`},
		{"missing", request{method: "GET", path: "/repos/acme/nosuch/keys"}, 404, `"Not Found"`},
		{"archived", request{method: "POST", path: "/repos/acme/old/keys", body: body}, 403, `"Repository was archived so is read-only."`},
		{"delete on archived", request{method: "DELETE", path: "/repos/acme/old/keys/" + old}, 403, "archived"},
		{"foreign key", request{method: "GET", path: keys + "/" + id}, 404, "Not Found"},
		{"delete foreign key", request{method: "DELETE", path: keys + "/" + id}, 404, "Not Found"},
		{"delete unknown key", request{method: "DELETE", path: keys + "/4711"}, 404, "Not Found"},
		{"trailing slash", request{method: "GET", path: keys + "/"}, 404, "Not Found"},
		{"method", request{method: "PATCH", path: keys}, 404, "Not Found"},
	})
	if a := send(t, f, with(post(body), reader)); a.header.Get("X-Accepted-GitHub-Permissions") != "administration=write" {
		t.Errorf("headers %v", a.header)
	}
	if a := send(t, f, with(request{method: "GET", path: keys}, reader)); a.status != http.StatusOK {
		t.Errorf("reading with administration:read: %d", a.status)
	}
}

func TestGitHubPolicy(t *testing.T) {
	f := open(t, provision.GitHub)
	id := mustCreate(t, f, "x", newPublic(t))
	f.SetPolicy(false)
	a := send(t, f, create(f.Kind(), "y", newPublic(t)))
	if a.status != 422 || !strings.Contains(a.body, `{"resource":"PublicKey","code":"custom","message":"Deploy keys are disabled for this repository"}`) {
		t.Error(a.status, a.body)
	}
	if k := decoded(t, send(t, f, request{method: "GET", path: keysPath(f.Kind(), "acme/api") + "/" + id})); k["enabled"] != false {
		t.Errorf("key %v", k)
	}
}

func TestGitHubCreated(t *testing.T) {
	for _, root := range []string{"", "/api/v3"} {
		f := open(t, provision.GitHub)
		key := newPublic(t)
		a := send(t, f, request{method: "POST", path: root + "/repos/acme/api/keys", body: `{"key": "` + key.String() + ` my comment"}`})
		if a.status != http.StatusCreated {
			t.Fatal(a.status, a.body)
		}
		got := decoded(t, a)
		id := f.Keys("acme/api")[0].ID
		if got["key"] != key.String() || got["read_only"] != false || got["url"] != f.URL()+root+"/repos/acme/api/keys/"+id {
			t.Errorf("created %v", got)
		}
		if a.header.Get("X-RateLimit-Limit") != "5000" || a.header.Get("X-RateLimit-Remaining") != "4999" || a.header.Get("X-RateLimit-Resource") != "core" {
			t.Errorf("headers %v", a.header)
		}
	}
}

// TestGitHubHostedNames serves the names of github.com's API in process.
func TestGitHubHostedNames(t *testing.T) {
	f := open(t, provision.GitHub)
	for host, works := range map[string]bool{"api.github.com": true, "github.test": true, "github.com": false} {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+"/repos/acme/api", nil)
		if err != nil {
			t.Fatal(err)
		}
		authenticate(q, f, nil)
		resp, err := f.Transport().RoundTrip(q)
		if (err == nil) != works {
			t.Errorf("%s: %v", host, err)
		}
		if err == nil {
			_ = resp.Body.Close()
		}
	}
}

func TestGitHubRename(t *testing.T) {
	f := open(t, provision.GitHub)
	key := newPublic(t)
	id := f.AddKey("acme/api", "x", key, provision.Read).ID
	f.Rename("acme/api", "acme/new")
	for path, want := range map[string]string{
		"/repos/acme/api":                   "/repositories/1",
		"/repos/acme/api/keys":              "/repositories/1/keys",
		"/api/v3/repos/acme/api/keys/" + id: "/api/v3/repositories/1/keys/" + id,
	} {
		a := send(t, f, request{method: "GET", path: path})
		if a.status != http.StatusMovedPermanently || a.header.Get("Location") != f.URL()+want {
			t.Fatalf("%s: %d, Location %q", path, a.status, a.header.Get("Location"))
		}
		if a := send(t, f, request{method: "GET", path: want}); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", want, a.status, a.body)
		}
	}
}

func TestGitHubPages(t *testing.T) {
	f := open(t, provision.GitHub)
	if a := send(t, f, request{method: "GET", path: "/repos/acme/api/keys"}); a.body != "[]\n" || a.header.Get("Link") != "" {
		t.Errorf("empty list: %q, %v", a.body, a.header)
	}
	for _, title := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		f.AddKey("acme/api", title, newPublic(t), provision.Read)
	}
	next := regexp.MustCompile(`<` + regexp.QuoteMeta(f.URL()) + `([^>]+)>; rel="next"`)
	path, got, pages := "/repos/acme/api/keys?per_page=2", "", 0
	for path != "" {
		a := send(t, f, request{method: "GET", path: path})
		pages++
		for _, m := range regexp.MustCompile(`"title":"(.)"`).FindAllStringSubmatch(a.body, -1) {
			got += m[1]
		}
		path = ""
		if m := next.FindStringSubmatch(a.header.Get("Link")); m != nil {
			path = m[1]
		}
	}
	if got != "abcdefg" || pages != 4 {
		t.Errorf("%q in %d pages", got, pages)
	}
}

func TestGitHubTokenOwnsKeys(t *testing.T) {
	f := open(t, provision.GitHub)
	pat := &forgesim.Token{Username: "p", Secret: "pat", Admin: true, OwnsKeys: true}
	f.AddToken(*pat)
	kept := newPublic(t)
	mustCreate(t, f, "kept", kept)
	r := create(f.Kind(), "gone", newPublic(t))
	r.token = pat
	if a := send(t, f, r); a.status != http.StatusCreated {
		t.Fatal(a.status)
	}
	f.RevokeToken("pat")
	if k := f.AllKeys(); len(k) != 1 || k[0].Key != kept {
		t.Errorf("keys %+v", k)
	}
	if a := send(t, f, r); a.status != http.StatusUnauthorized {
		t.Errorf("with the revoked token: %d", a.status)
	}
}
