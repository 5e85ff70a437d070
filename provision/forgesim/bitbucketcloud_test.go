package forgesim_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

func TestBitbucketCloudRefusals(t *testing.T) {
	f := open(t, provision.BitbucketCloud)
	mine, elsewhere, account := newPublic(t), newPublic(t), newPublic(t)
	f.AddKey("acme/api", "one", mine, provision.Read)
	id := f.AddKey("acme/web", "two", elsewhere, provision.Read).ID
	f.AddUserKey(account)
	const admin, write = "admin:repository:bitbucket", "write:ssh-key:bitbucket"
	lister := &forgesim.Token{Username: "l@x", Secret: "lister", Scopes: []string{admin}, Admin: true}
	writer := &forgesim.Token{Username: "w@x", Secret: "writer", Scopes: []string{admin, write}, Admin: true}
	guest := &forgesim.Token{Username: "g@x", Secret: "guest", ReadOf: []string{"acme/api"}}
	access := &forgesim.Token{Username: "bot", Secret: "access", Admin: true, AccessToken: true}
	consumer := &forgesim.Token{Secret: "consumer", Scopes: []string{"repository"}, Admin: true}
	for _, token := range []*forgesim.Token{lister, writer, guest, access, consumer} {
		f.AddToken(*token)
	}
	keys := keysPath(f.Kind(), "acme/api")
	post := func(body string) request { return request{method: "POST", path: keys, body: body} }
	body := createBody(f.Kind(), "x", newPublic(t).String())
	with := func(r request, token *forgesim.Token) request { r.token = token; return r }
	header := func(r request, name, value string) request { r.header = map[string]string{name: value}; return r }
	const invalid = "Token is invalid, expired, or not supported for this endpoint."
	_, secret := f.Credential()
	checkRefusals(t, f, []refusal{
		{"again", post(createBody(f.Kind(), "x", mine.String())), 400, "Someone has already added that access key to this repository."},
		{"account", post(createBody(f.Kind(), "x", account.String())), 400, "Someone has already registered that SSH key."},
		{"no key", post(`{"label": "x"}`), 400, `"fields":{"key":["This field is required."]}`},
		{"bad key", post(createBody(f.Kind(), "x", "ssh-ed25519 AAAA")), 400, "Invalid SSH key."},
		{"long label", post(createBody(f.Kind(), strings.Repeat("x", 256), newPublic(t).String())), 400, `"label"`},
		{"not JSON", post(`{"label"`), 400, `"type":"error"`},
		{"unknown member", post(`{"title": "x"}`), 400, "unknown field"},
		{"form", header(post(body), "Content-Type", "text/plain"), 415, ""},
		{"large", post(`{"label": "` + strings.Repeat("x", 65<<10) + `"}`), 413, ""},
		{"no credential", header(post(body), "Authorization", ""), 401, invalid},
		{"API token as bearer", header(post(body), "Authorization", "Bearer "+secret), 401, invalid},
		{"wrong user", with(post(body), &forgesim.Token{Username: "x@x", Secret: secret}), 401, invalid},
		{"access token", with(post(body), access), 403, ""},
		{
			"scope of create", with(post(body), lister), 403,
			`"detail":{"granted":["` + admin + `"],"required":["` + admin + `","` + write + `"]}`,
		},
		{"scope of delete", with(request{method: "DELETE", path: keys + "/" + id}, writer), 403, "delete:ssh-key:bitbucket"},
		{"scope of OAuth", with(request{method: "GET", path: keys}, consumer), 403, "repository:admin"},
		{"no admin", with(request{method: "GET", path: keys}, guest), 403, "admin"},
		{"hidden", with(request{method: "GET", path: keysPath(f.Kind(), "acme/web")}, guest), 404, "not found"},
		{"missing", request{method: "GET", path: keysPath(f.Kind(), "acme/nosuch")}, 404, "not found"},
		{"foreign key", request{method: "GET", path: keys + "/" + id}, 404, "not found"},
		{"delete foreign key", request{method: "DELETE", path: keys + "/" + id}, 404, "not found"},
		{"delete unknown key", request{method: "DELETE", path: keys + "/4711"}, 404, "not found"},
		{"other key text", request{method: "PUT", path: keys + "/" + f.Keys("acme/api")[0].ID, body: body}, 400, "cannot be changed"},
		{"small page", request{method: "GET", path: keys + "?pagelen=5"}, 400, "pagelen"},
		{"large page", request{method: "GET", path: keys + "?pagelen=101"}, 400, "pagelen"},
		{"counted page", request{method: "GET", path: keys + "?page=2"}, 400, "page"},
		{"trailing slash", request{method: "GET", path: keys + "/"}, 404, ""},
		{"method", request{method: "PATCH", path: keys}, 405, ""},
	})
}

func TestBitbucketCloudCreated(t *testing.T) {
	f := open(t, provision.BitbucketCloud)
	key := newPublic(t)
	r := create(f.Kind(), "label", key)
	r.body = createBody(f.Kind(), "label", key.String()+" my comment")
	a := send(t, f, r)
	got := decoded(t, a)
	if a.status != http.StatusOK || got["key"] != key.String() || got["comment"] != "my comment" || got["type"] != "deploy_key" {
		t.Errorf("%d, %v", a.status, got)
	}
	if k := f.Keys("acme/api")[0]; k.Access != provision.Read || k.Title != "label" {
		t.Errorf("the forge has %+v", k)
	}
	// The same key on another repository is another key.
	r.path = keysPath(f.Kind(), "acme/web")
	if b := decoded(t, send(t, f, r)); b["id"] == got["id"] || b["id"] == nil {
		t.Errorf("on the second repository %v", b)
	}
}

func TestBitbucketCloudUpdate(t *testing.T) {
	f := open(t, provision.BitbucketCloud)
	key := newPublic(t)
	id := mustCreate(t, f, "old", key)
	a := send(t, f, request{method: "PUT", path: keysPath(f.Kind(), "acme/api") + "/" + id, body: createBody(f.Kind(), "new", key.String())})
	if a.status != http.StatusOK || f.Keys("acme/api")[0].Title != "new" {
		t.Error(a.status, a.body)
	}
}

func TestBitbucketCloudReserved(t *testing.T) {
	f := open(t, provision.BitbucketCloud)
	f.ReserveDeletedKeys(true)
	key := newPublic(t)
	id := mustCreate(t, f, "x", key)
	if a := send(t, f, request{method: "DELETE", path: keysPath(f.Kind(), "acme/api") + "/" + id}); a.status != http.StatusNoContent {
		t.Fatal(a.status, a.body)
	}
	if a := send(t, f, create(f.Kind(), "x", key)); a.status != http.StatusBadRequest || !strings.Contains(a.body, "may take up to 30 days") {
		t.Error(a.status, a.body)
	}
}

// TestBitbucketCloudUUIDs names workspace and repository by the UUIDs that the
// repository's object gives.
func TestBitbucketCloudUUIDs(t *testing.T) {
	f := open(t, provision.BitbucketCloud)
	f.AddKey("acme/api", "x", newPublic(t), provision.Read)
	object := decoded(t, send(t, f, request{method: "GET", path: "/2.0/repositories/acme/api"}))
	workspace := object["workspace"].(map[string]any)["uuid"].(string)
	path := "/2.0/repositories/" + url.PathEscape(workspace) + "/" + url.PathEscape(fmt.Sprint(object["uuid"])) + "/deploy-keys"
	if a := send(t, f, request{method: "GET", path: path}); a.status != http.StatusOK || !strings.Contains(a.body, `"label":"x"`) {
		t.Error(a.status, a.body)
	}
	if r := f.Requests(); r[len(r)-1].Repository != "acme/api" {
		t.Errorf("logged as %q", r[len(r)-1].Repository)
	}
}

func TestBitbucketCloudPages(t *testing.T) {
	f := open(t, provision.BitbucketCloud)
	want := ""
	for _, title := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		f.AddKey("acme/api", title, newPublic(t), provision.Read)
		want += title
	}
	got, pages := "", 0
	for path := keysPath(f.Kind(), "acme/api") + "?pagelen=100"; path != ""; pages++ {
		page := decoded(t, send(t, f, request{method: "GET", path: path}))
		for _, v := range page["values"].([]any) {
			got += fmt.Sprint(v.(map[string]any)["label"])
		}
		next, _ := page["next"].(string)
		path = strings.TrimPrefix(next, f.URL())
	}
	if got != want || pages != 3 {
		t.Errorf("%q in %d pages", got, pages)
	}
}
