package forgesim_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// shortRSA is a key of 1024 bits.
func shortRSA(t *testing.T) string {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	k, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))
}

// refusal is a request and what the forge must say to it.
type refusal struct {
	name    string
	request request
	status  int
	words   string // in the body
}

// checkRefusals makes each request and sees that it changed nothing.
func checkRefusals(t *testing.T, f *forgesim.Forge, refusals []refusal) {
	t.Helper()
	before := f.AllKeys()
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			a := send(t, f, c.request)
			if a.status != c.status || !strings.Contains(a.body, c.words) {
				t.Errorf("status %d, body %s; want %d and %q", a.status, a.body, c.status, c.words)
			}
			if strings.HasPrefix(a.header.Get("Content-Type"), "application/json") && !json.Valid([]byte(a.body)) {
				t.Errorf("body is not JSON: %s", a.body)
			}
			if d := cmp.Diff(before, f.AllKeys(), cmp.Comparer(func(a, b provision.PublicKey) bool { return a == b })); d != "" {
				t.Errorf("the keys have changed: %s", d)
			}
		})
	}
}

func TestGiteaRefusals(t *testing.T) {
	f := open(t, provision.Gitea)
	for name, o := range map[string]forgesim.RepositoryOptions{"other/x": {}, "other/open": {Public: true}} {
		if err := f.AddRepository(name, o); err != nil {
			t.Fatal(err)
		}
	}
	mine, foreign, account := newPublic(t), newPublic(t), newPublic(t)
	f.AddKey("acme/api", "one", mine, provision.Read)
	id := f.AddKey("acme/web", "two", foreign, provision.Read).ID
	f.AddUserKey(account)
	reader := &forgesim.Token{Username: "r", Secret: "reader", Scopes: []string{"read:repository"}, Admin: true}
	guest := &forgesim.Token{Username: "g", Secret: "guest", ReadOf: []string{"acme/api"}}
	f.AddToken(*reader)
	f.AddToken(*guest)
	keys := "/api/v1/repos/acme/api/keys"
	post := func(body string) request { return request{method: "POST", path: keys, body: body} }
	body := createBody(f.Kind(), "x", newPublic(t).String())
	with := func(r request, token *forgesim.Token) request { r.token = token; return r }
	header := func(r request, name, value string) request { r.header = map[string]string{name: value}; return r }
	checkRefusals(t, f, []refusal{
		{"again", post(createBody(f.Kind(), "other", mine.String())), 422, `"This key has already been added to this repository"`},
		{"again with its title", post(createBody(f.Kind(), "one", mine.String())), 422, `already been added`},
		{"title", post(createBody(f.Kind(), "one", newPublic(t).String())), 422, `"A key with the same name already exists"`},
		{"account", post(createBody(f.Kind(), "x", account.String())), 422, `"Key content has been used as non-deploy key"`},
		{"no key", post(`{"title": "x"}`), 422, `"[Key]: Required"`},
		{"no title", post(`{"key": "` + mine.String() + `"}`), 422, `"[Title]: Required"`},
		{"long title", post(createBody(f.Kind(), strings.Repeat("x", 256), newPublic(t).String())), 422, `[Title]`},
		{
			"options", post(createBody(f.Kind(), "x", `command="x" `+newPublic(t).String())), 422,
			"Invalid key content: extractTypeFromBase64Key: invalid key format: illegal base64 data at input byte 3",
		},
		{"short RSA", post(createBody(f.Kind(), "x", shortRSA(t))), 422, "Invalid key content: key length is not enough: got 1024, needs 3071"},
		{"two lines", post(createBody(f.Kind(), "x", newPublic(t).String()+"\n"+newPublic(t).String())), 422, "Invalid key content"},
		{"not JSON", post(`{"title"`), 422, `"[]: `},
		{"unknown member", post(`{"title": "x", "readonly": true}`), 422, "unknown field"},
		{"two values", post(body + "{}"), 422, `"[]: `},
		{"form", header(post(body), "Content-Type", "application/x-www-form-urlencoded"), 415, "Content-Type"},
		{"large", post(`{"title": "` + strings.Repeat("x", 65<<10) + `"}`), 413, "too large"},
		{"no credential", header(post(body), "Authorization", ""), 404, `"errors":null,"message":"not found"`},
		{"no credential and nothing hidden", header(request{method: "POST", path: "/api/v1/repos/other/open/keys", body: body}, "Authorization", ""), 401, `"token is required"`},
		{"bad token", with(post(body), &forgesim.Token{Secret: "wrong"}), 401, `"invalid username, password or token"`},
		{"scheme", header(post(body), "Authorization", "Digest "+reader.Secret), 404, "not found"},
		{
			"scope", with(post(body), reader), 403,
			"token does not have at least one of required scope(s), required=[write:repository], token scope=read:repository",
		},
		{"scope before repository", with(request{method: "POST", path: "/api/v1/repos/acme/nosuch/keys", body: body}, reader), 403, "scope"},
		{"no admin", with(request{method: "GET", path: keys}, guest), 403, "user should be an owner or a collaborator with admin write of a repository"},
		{"hidden", with(request{method: "GET", path: "/api/v1/repos/acme/web/keys"}, guest), 404, `"errors":null,"message":"not found"`},
		{"missing", request{method: "GET", path: "/api/v1/repos/acme/nosuch/keys"}, 404, `"not found"`},
		{"no owner", request{method: "GET", path: "/api/v1/repos/nobody/api/keys"}, 404, "user redirect does not exist [name: nobody]"},
		{"foreign key", request{method: "GET", path: keys + "/" + id}, 404, "not found"},
		{"delete foreign key", request{method: "DELETE", path: keys + "/" + id}, 500, "deploy key " + id + " does not belong to repository 1"},
		{"delete on missing repository", request{method: "DELETE", path: "/api/v1/repos/acme/nosuch/keys/" + id}, 404, "not found"},
		{"trailing slash", request{method: "GET", path: keys + "/"}, 404, "not found"},
		{"no such path", request{method: "GET", path: "/api/v1/nothing"}, 404, "not found"},
		{"method", request{method: "PATCH", path: keys}, 405, ""},
	})
}

// TestGiteaWithoutToken is a caller who is nobody: private repositories do not
// exist for him.
func TestGiteaWithoutToken(t *testing.T) {
	f := open(t, provision.Gitea)
	if err := f.AddRepository("acme/open", forgesim.RepositoryOptions{Public: true}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"acme/open": 200, "acme/open/keys": 401, "acme/api": 404, "acme/api/keys": 404, "acme/nosuch": 404} {
		a := send(t, f, request{method: "GET", path: "/api/v1/repos/" + path, header: map[string]string{"Authorization": ""}})
		if a.status != want || want == 404 && decoded(t, a)["message"] != "not found" {
			t.Errorf("%s: %d %s, want %d", path, a.status, a.body, want)
		}
	}
}

func TestGiteaDeleteUnknown(t *testing.T) {
	f := open(t, provision.Gitea)
	for _, id := range []string{"4711", "x"} {
		if a := send(t, f, request{method: "DELETE", path: "/api/v1/repos/acme/api/keys/" + id}); a.status != http.StatusNoContent || a.body != "" {
			t.Errorf("%s: status %d, body %q", id, a.status, a.body)
		}
	}
}

func TestGiteaPolicy(t *testing.T) {
	f := open(t, provision.Gitea)
	f.SetPolicy(false)
	if a := send(t, f, create(f.Kind(), "x", newPublic(t))); a.status != 422 || !strings.Contains(a.body, `"SSH is disabled"`) {
		t.Error(a.status, a.body)
	}
	f.SetPolicy(true)
	mustCreate(t, f, "x", newPublic(t))
}

// TestGiteaOneRow follows one key over two repositories: two ids, one row, whose
// text stays that of the first registration.
func TestGiteaOneRow(t *testing.T) {
	f := open(t, provision.Gitea)
	key := newPublic(t)
	post := func(repo, comment string) map[string]any {
		a := send(t, f, request{method: "POST", path: "/api/v1/repos/acme/" + repo + "/keys", body: createBody(f.Kind(), repo, key.String()+comment)})
		if a.status != http.StatusCreated {
			t.Fatal(a.status, a.body)
		}
		return decoded(t, a)
	}
	first, second := post("api", " first"), post("web", " second")
	if first["key_id"] != second["key_id"] || first["id"] == second["id"] || second["key"] != key.String()+" second" {
		t.Errorf("created %v and %v", first, second)
	}
	var listed []map[string]any
	a := send(t, f, request{method: "GET", path: "/api/v1/repos/acme/web/keys"})
	if err := json.Unmarshal([]byte(a.body), &listed); err != nil {
		t.Fatal(err)
	}
	if len(listed) != 1 || listed[0]["key"] != key.String()+" first" || listed[0]["title"] != "web" {
		t.Errorf("listed %v", listed)
	}
	if r, ok := listed[0]["repository"].(map[string]any); !ok || r["full_name"] != "acme/web" {
		t.Errorf("an administrator's list names no repository: %v", listed)
	}
}

func TestGiteaWriteByDefault(t *testing.T) {
	f := open(t, provision.Gitea)
	a := send(t, f, request{method: "POST", path: "/api/v1/repos/acme/api/keys", body: `{"title": "x", "key": "` + newPublic(t).String() + `"}`})
	if a.status != http.StatusCreated || f.Keys("acme/api")[0].Access != provision.Write {
		t.Error(a.status, f.Keys("acme/api"))
	}
}

func TestGiteaRename(t *testing.T) {
	f := open(t, provision.Gitea)
	f.Rename("acme/api", "acme/new")
	for _, method := range []string{"GET", "POST"} {
		a := send(t, f, request{method: method, path: "/api/v1/repos/acme/api/keys"})
		if a.status != http.StatusMovedPermanently || a.header.Get("Location") != "/api/v1/repos/acme/new/keys" || a.body != "" {
			t.Errorf("%s: %d, Location %q, body %q", method, a.status, a.header.Get("Location"), a.body)
		}
	}
}

func TestGiteaPages(t *testing.T) {
	f := open(t, provision.Gitea)
	for _, title := range []string{"a", "b", "c", "d"} {
		f.AddKey("acme/api", title, newPublic(t), provision.Read)
	}
	for query, want := range map[string]string{
		"":                "abcd",
		"?limit=1":        "abcd",
		"?page=1":         "abc",
		"?page=2":         "d",
		"?page=3":         "",
		"?page=2&limit=1": "b",
	} {
		a := send(t, f, request{method: "GET", path: "/api/v1/repos/acme/api/keys" + query})
		var keys []struct{ Title string }
		if err := json.Unmarshal([]byte(a.body), &keys); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, k := range keys {
			got += k.Title
		}
		if got != want || a.header.Get("X-Total-Count") != "4" || a.header.Get("Link") != "" || !strings.HasPrefix(a.body, "[") {
			t.Errorf("%q: %q, want %q; headers %v", query, got, want, a.header)
		}
	}
}
