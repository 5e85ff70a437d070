package forgesim_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

const (
	oauthPath = "/site/oauth2/access_token"
	oauthForm = "grant_type=client_credentials"
)

// form is a request for a token by a consumer.
func form(id, secret, body string) request {
	return request{
		method: "POST", path: oauthPath, body: body, token: &forgesim.Token{Username: id, Secret: secret},
		header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
	}
}

// withConsumer puts consumers on a Bitbucket: "good" of acme with all rights,
// and others.
func withConsumer(t *testing.T, f *forgesim.Forge) {
	t.Helper()
	addRepositories(t, f, "other/one")
	f.AddConsumer(forgesim.Consumer{ID: "good", Secret: "s3cret", Owner: "acme"})
	f.AddConsumer(forgesim.Consumer{ID: "reader", Secret: "s", Owner: "acme", Scopes: []string{"repository"}})
	f.AddConsumer(forgesim.Consumer{ID: "public", Secret: "s", Owner: "acme", Public: true})
	f.AddConsumer(forgesim.Consumer{ID: "nowhere", Secret: "s", Owner: "acme", NoCallback: true})
}

// oauth returns a token for a consumer.
func oauth(t *testing.T, f *forgesim.Forge, id, secret string) string {
	t.Helper()
	a := send(t, f, form(id, secret, oauthForm))
	token, _ := decoded(t, a)["access_token"].(string)
	if a.status != http.StatusOK || token == "" {
		t.Fatal(a.status, a.body)
	}
	return token
}

func TestOAuthToken(t *testing.T) {
	f := open(t, provision.BitbucketCloud)
	withConsumer(t, f)
	a := send(t, f, form("good", "s3cret", oauthForm+"&scope=account&unheard=of"))
	got := decoded(t, a)
	if a.status != 200 || got["expires_in"] != 7200.0 || got["token_type"] != "bearer" || got["scopes"] != "repository repository:admin" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	token := fmt.Sprint(got["access_token"])
	if f.IssuedTokens()[0] != token {
		t.Errorf("IssuedTokens gives %v", f.IssuedTokens())
	}
	reader := oauth(t, f, "reader", "s")
	for _, c := range []struct {
		name, token, repository string
		list, create            int
	}{
		{"good", token, "acme/api", 200, 200},
		{"other workspace", token, "other/one", 404, 404},
		{"scope", reader, "acme/api", 403, 403},
		{"unknown", "x", "acme/api", 401, 401},
	} {
		path := keysPath(f.Kind(), c.repository)
		list := send(t, f, bearer("GET", path, c.token, ""))
		create := send(t, f, bearer("POST", path, c.token, createBody(f.Kind(), "x", newPublic(t).String())))
		if list.status != c.list || create.status != c.create {
			t.Errorf("%s: list %d, create %d %s", c.name, list.status, create.status, create.body)
		}
	}
	if a := send(t, f, bearer("GET", "/2.0/repositories/acme/api", reader, "")); a.status != 200 {
		t.Errorf("the repository itself: %d", a.status)
	}
	basic := request{method: "GET", path: keysPath(f.Kind(), "acme/api"), token: &forgesim.Token{Username: "good", Secret: token}}
	if a := send(t, f, basic); a.status != 401 {
		t.Errorf("as a password: %d", a.status)
	}
}

func TestOAuthRefusals(t *testing.T) {
	f := open(t, provision.BitbucketCloud)
	withConsumer(t, f)
	header := func(r request, name, value string) request {
		h := map[string]string{name: value}
		for n, v := range r.header {
			if n != name {
				h[n] = v
			}
		}
		r.header = h
		return r
	}
	good := form("good", "s3cret", oauthForm)
	query := good
	query.path += "?" + oauthForm
	query.body = ""
	get := good
	get.method, get.body = "GET", ""
	inBody := header(form("", "x", oauthForm+"&client_id=good&client_secret=s3cret"), "Authorization", "")
	const wrong, missing, none = `{"error_description":"Invalid OAuth client credentials","error":"unauthorized_client"}`,
		`{"error_description":"Requests must be authenticated using OAuth client credentials","error":"unauthorized_client"}`,
		`{"error_description":"Unsupported grant type: None","error":"unsupported_grant_type"}`
	checkRefusals(t, f, []refusal{
		{"wrong secret", form("good", "x", oauthForm), 400, wrong},
		{"no such consumer", form("x", "s3cret", oauthForm), 400, wrong},
		{"another's secret", form("reader", "s3cret", oauthForm), 400, wrong},
		{"no credentials", header(good, "Authorization", ""), 400, missing},
		{"bearer", header(good, "Authorization", "Bearer s3cret"), 400, missing},
		{"in the body", inBody, 400, missing},
		{"no grant", form("good", "s3cret", "x=y"), 400, none},
		{"empty", form("good", "s3cret", ""), 400, none},
		{"JSON", header(form("good", "s3cret", `{"grant_type": "client_credentials"}`), "Content-Type", "application/json"), 400, none},
		{"form that is called JSON", header(good, "Content-Type", "application/json"), 400, none},
		{"in the query", query, 400, none},
		{"broken form", form("good", "s3cret", oauthForm+"&%zz"), 400, none},
		{"another grant", form("good", "s3cret", "grant_type=password"), 400, `"error":"unsupported_grant_type"`},
		{"twice", form("good", "s3cret", oauthForm+"&"+oauthForm), 400, `"error":"invalid_request"`},
		{"public consumer", form("public", "s", oauthForm), 400, `"error":"invalid_grant"`},
		{"no callback", form("nowhere", "s", oauthForm), 400, `{"error_description":"No callback uri defined for the OAuth client.","error":"invalid_request"}`},
		{"method", get, 405, `"type":"error"`},
		{"large", form("good", "s3cret", oauthForm+"&x="+strings.Repeat("x", 65<<10)), 413, ""},
	})
	if n := len(f.IssuedTokens()); n != 0 {
		t.Errorf("%d tokens were handed out", n)
	}
}

func TestOAuthExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, provision.BitbucketCloud)
		withConsumer(t, f)
		list := bearer("GET", keysPath(f.Kind(), "acme/api"), oauth(t, f, "good", "s3cret"), "")
		<-time.After(2*time.Hour - time.Second)
		if a := send(t, f, list); a.status != 200 {
			t.Errorf("in its last second: %d", a.status)
		}
		<-time.After(time.Second)
		const words = `"message":"Access token expired. Use your refresh token to obtain a new access token."`
		if a := send(t, f, list); a.status != 401 || !strings.Contains(a.body, words) {
			t.Errorf("after two hours: %d %s", a.status, a.body)
		}
		f.RevokeToken(f.IssuedTokens()[0])
		if a := send(t, f, list); a.status != 401 || !strings.Contains(a.body, "Token is invalid") {
			t.Errorf("revoked: %d %s", a.status, a.body)
		}
	})
}

// TestOAuthHosts keeps the two hosts of the hosted service apart.
func TestOAuthHosts(t *testing.T) {
	f := open(t, provision.BitbucketCloud)
	withConsumer(t, f)
	token := oauth(t, f, "good", "s3cret")
	for url, want := range map[string]int{
		"https://bitbucket.org" + oauthPath:                                    200,
		"https://api.bitbucket.org" + oauthPath:                                404,
		"https://bitbucket.org/2.0/repositories/acme/api/deploy-keys":          404,
		"https://api.bitbucket.org/2.0/repositories/acme/api/deploy-keys":      200,
		"https://bitbucket-cloud.test/2.0/repositories/acme/api/deploy-keys":   200,
		"https://bitbucket-cloud.test/site/oauth2/access_token":                200,
		"https://bitbucket-cloud.test/site/oauth2/access_token/x":              404,
		"https://api.bitbucket.org/2.0/repositories/acme/api/deploy-keys/4711": 404,
	} {
		method, body := "GET", ""
		if strings.Contains(url, oauthPath) {
			method, body = "POST", oauthForm
		}
		q, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "Bearer "+token)
		if body != "" {
			q.SetBasicAuth("good", "s3cret")
			q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		resp, err := f.Transport().RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != want {
			t.Errorf("%s: %d", url, resp.StatusCode)
		}
		_ = resp.Body.Close()
	}
}

// TestEditConsumer kills the keys that came through a consumer, and no others.
func TestEditConsumer(t *testing.T) {
	f := startOne(t, provision.BitbucketCloud)
	withConsumer(t, f)
	through, beside := newClient(t), newClient(t)
	token := oauth(t, f, "good", "s3cret")
	add := func(r request) {
		t.Helper()
		if a := send(t, f, r); a.status != http.StatusOK {
			t.Fatal(a.status, a.body)
		}
	}
	path := keysPath(f.Kind(), "acme/api")
	add(bearer("POST", path, token, createBody(f.Kind(), "a", through.public.String())))
	add(create(f.Kind(), "b", beside.public))
	lsRemote := func(c client) error {
		_, err := c.run(t, f, "git", "ls-remote", f.SSH().CloneURL("acme/api"))
		return err
	}
	if lsRemote(through) != nil || lsRemote(beside) != nil {
		t.Fatal("before the change a key does not work")
	}
	f.EditConsumer("good", func(c *forgesim.Consumer) { c.Secret = "new" })
	if lsRemote(through) == nil || lsRemote(beside) != nil {
		t.Error("after the change the wrong keys work")
	}
	list := send(t, f, bearer("GET", path, token, ""))
	if keys, _ := decoded(t, list)["values"].([]any); list.status != 200 || len(keys) != 2 {
		t.Errorf("list: %d %s", list.status, list.body)
	}
	if a := send(t, f, bearer("DELETE", path+"/"+f.Keys("acme/api")[0].ID, token, "")); a.status != http.StatusNoContent {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	if a := send(t, f, form("good", "s3cret", oauthForm)); a.status != 400 {
		t.Errorf("the old secret: %d", a.status)
	}
	renewed := newClient(t)
	add(bearer("POST", path, oauth(t, f, "good", "new"), createBody(f.Kind(), "c", renewed.public.String())))
	if lsRemote(renewed) != nil {
		t.Error("a key that came after the change does not work")
	}
}
