package forgesim_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

const (
	appID       = 4711
	appClientID = "Iv23liAbCdEf"
)

// newAppKey makes the key of an App.
func newAppKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// encode is a part of a JWT.
func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// sign makes a JWT with RS256.
func sign(t *testing.T, key *rsa.PrivateKey, header, claims any) string {
	t.Helper()
	text := encode(header) + "." + encode(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

type object = map[string]any

// goodClaims are what GitHub recommends.
func goodClaims() object {
	now := time.Now()
	return object{"iss": appClientID, "iat": now.Add(-time.Minute).Unix(), "exp": now.Add(9 * time.Minute).Unix()}
}

// goodJWT is a JWT that GitHub accepts.
func goodJWT(t *testing.T, key *rsa.PrivateKey) string {
	t.Helper()
	return sign(t, key, object{"alg": "RS256", "typ": "JWT"}, goodClaims())
}

// withApp puts an App on a GitHub: installation 1 on all of acme, 2 on two
// repositories of other, 4 on a user, 3 on acme as well, for another App.
func withApp(t *testing.T, f *forgesim.Forge) *rsa.PrivateKey {
	t.Helper()
	key := newAppKey(t)
	addRepositories(t, f, "other/one", "other/two", "other/three")
	f.AddApp(forgesim.App{
		ID: appID, ClientID: appClientID, Slug: "ci", PublicKeys: []*rsa.PublicKey{&newAppKey(t).PublicKey, &key.PublicKey},
		Installations: []forgesim.Installation{
			{ID: 1, Account: "acme"},
			{ID: 4, Account: "octo", User: true},
			{
				ID: 2, Account: "other", Repositories: []string{"other/one", "other/two"},
				Permissions: map[string]string{"administration": "read", "contents": "write"},
			},
		},
	})
	f.AddApp(forgesim.App{
		ID: 1, PublicKeys: []*rsa.PublicKey{&newAppKey(t).PublicKey}, Installations: []forgesim.Installation{{ID: 3, Account: "acme"}},
	})
	return key
}

// bearer makes a request that carries a token of any kind.
func bearer(method, path, token, body string) request {
	return request{method: method, path: path, body: body, token: &forgesim.Token{Secret: token}}
}

const appTokens = "/app/installations/%d/access_tokens"

// exchange asks for an installation access token.
func exchange(t *testing.T, f *forgesim.Forge, key *rsa.PrivateKey, installation int, body string) answer {
	t.Helper()
	return send(t, f, bearer("POST", fmt.Sprintf(appTokens, installation), goodJWT(t, key), body))
}

// issued returns the token of a successful exchange.
func issued(t *testing.T, f *forgesim.Forge, key *rsa.PrivateKey, installation int, body string) string {
	t.Helper()
	a := exchange(t, f, key, installation, body)
	token, _ := decoded(t, a)["token"].(string)
	if a.status != http.StatusCreated || token == "" {
		t.Fatal(a.status, a.body)
	}
	return token
}

func TestAppLookup(t *testing.T) {
	f := open(t, provision.GitHub)
	key := withApp(t, f)
	for path, want := range map[string]object{
		"/repos/acme/api/installation":            {"id": 1.0, "repository_selection": "all", "app_id": float64(appID), "app_slug": "ci", "client_id": appClientID},
		"/api/v3/repos/acme/api/installation":     {"access_tokens_url": f.URL() + "/api/v3/app/installations/1/access_tokens"},
		"/repos/OTHER/one/installation":           {"id": 2.0, "repository_selection": "selected", "target_type": "Organization", "suspended_at": nil},
		"/repositories/3/installation":            {"permissions": object{"administration": "read", "contents": "write", "metadata": "read"}},
		"/orgs/acme/installation":                 {"id": 1.0, "target_type": "Organization", "html_url": f.URL() + "/organizations/acme/settings/installations/1"},
		"/api/v3/orgs/Other/installation":         {"id": 2.0, "access_tokens_url": f.URL() + "/api/v3/app/installations/2/access_tokens"},
		"/users/octo/installation":                {"id": 4.0, "target_type": "User", "html_url": f.URL() + "/settings/installations/4"},
		"/users/acme/installation":                nil, // an organization
		"/orgs/octo/installation":                 nil, // a user
		"/orgs/nobody/installation":               nil,
		"/orgs/acme/installation/more":            nil,
		"/orgs/acme":                              nil,
		"/repos/other/three/installation":         nil, // not selected
		"/repos/acme/nosuch/installation":         nil,
		"/repos/nobody/nosuch/installation":       nil,
		"/repos/acme/api/installation/more":       nil,
		"/app/installations/1/access_tokens/more": nil,
	} {
		a := send(t, f, bearer("GET", path, goodJWT(t, key), ""))
		if want == nil {
			if a.status != http.StatusNotFound && a.status != http.StatusUnauthorized {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
			continue
		}
		got := decoded(t, a)
		for name, value := range want {
			if a.status != http.StatusOK || fmt.Sprint(got[name]) != fmt.Sprint(value) {
				t.Errorf("%s: %d, %s is %v, want %v", path, a.status, name, got[name], value)
			}
		}
	}
	f.Rename("acme/api", "acme/new")
	if a := send(t, f, bearer("GET", "/repos/acme/api/installation", goodJWT(t, key), "")); a.status != 301 || a.header.Get("Location") != f.URL()+"/repositories/1/installation" {
		t.Errorf("renamed: %d %v", a.status, a.header)
	}
}

func TestAppToken(t *testing.T) {
	f := open(t, provision.GitHub)
	key := withApp(t, f)
	before := time.Now().Truncate(time.Second)
	a := exchange(t, f, key, 1, "")
	got := decoded(t, a)
	expires, err := time.Parse(time.RFC3339, fmt.Sprint(got["expires_at"]))
	if err != nil || expires.Sub(before) < time.Hour || expires.Sub(before) > time.Hour+2*time.Minute {
		t.Errorf("expires_at %v, %v", got["expires_at"], err)
	}
	token := fmt.Sprint(got["token"])
	if a.status != http.StatusCreated || !regexp.MustCompile(`^ghs_4711_[\w-]+\.[\w-]+\.[\w-]+$`).MatchString(token) || len(token) < 400 {
		t.Errorf("%d, token %q", a.status, token)
	}
	if fmt.Sprint(got["permissions"]) != "map[administration:write metadata:read]" || got["repository_selection"] != "all" || got["repositories"] != nil {
		t.Errorf("handed out %v", got)
	}
	if f.IssuedTokens()[0] != token {
		t.Errorf("IssuedTokens gives %v", f.IssuedTokens())
	}
	r := create(f.Kind(), "x", newPublic(t))
	r.token = &forgesim.Token{Secret: token}
	if a := send(t, f, r); a.status != http.StatusCreated || decoded(t, a)["added_by"] != "ci[bot]" {
		t.Errorf("create: %d %s", a.status, a.body)
	}
	r = bearer("POST", fmt.Sprintf(appTokens, 1), goodJWT(t, key), "")
	r.header = map[string]string{"X-GitHub-Stateless-S2S-Token": "disabled"}
	if token := fmt.Sprint(decoded(t, send(t, f, r))["token"]); len(token) != 40 {
		t.Errorf("in the former form: %q", token)
	}
}

// TestAppTokenReach checks what tokens may do, as they come and narrowed.
func TestAppTokenReach(t *testing.T) {
	f := open(t, provision.GitHub)
	key := withApp(t, f)
	whole := issued(t, f, key, 1, "")
	one := issued(t, f, key, 1, `{"repositories": ["api"], "permissions": {"administration": "write"}}`)
	byID := issued(t, f, key, 1, `{"repository_ids": [2], "permissions": {"administration": "read"}}`)
	other := issued(t, f, key, 2, "")
	nothing := issued(t, f, key, 2, `{"permissions": {"contents": "write"}}`)
	for _, c := range []struct {
		name, token, repository string
		list, create            int
	}{
		{"whole", whole, "acme/api", 200, 201},
		{"whole", whole, "acme/web", 200, 201},
		{"of another account", whole, "other/one", 404, 404},
		{"one repository", one, "acme/api", 200, 201},
		{"not that one", one, "acme/web", 404, 404},
		{"by id", byID, "acme/web", 200, 403},
		{"not that one", byID, "acme/api", 404, 404},
		{"reading", other, "other/one", 200, 403},
		{"not selected", other, "other/three", 404, 404},
		{"no administration", nothing, "other/one", 403, 403},
	} {
		path := "/repos/" + c.repository + "/keys"
		list := send(t, f, bearer("GET", path, c.token, ""))
		create := send(t, f, bearer("POST", path, c.token, createBody(f.Kind(), "x", newPublic(t).String())))
		if list.status != c.list || create.status != c.create {
			t.Errorf("%s, %s: list %d, create %d %s", c.name, c.repository, list.status, create.status, create.body)
		}
		if create.status == 403 && (!strings.Contains(create.body, `"Resource not accessible by integration"`) || create.header.Get("X-Accepted-GitHub-Permissions") != "administration=write") {
			t.Errorf("%s: %v %s", c.name, create.header, create.body)
		}
	}
	got := decoded(t, exchange(t, f, key, 1, `{"repositories": ["api"]}`))
	if list, _ := got["repositories"].([]any); got["repository_selection"] != "selected" || len(list) != 1 || fmt.Sprint(list[0].(object)["full_name"]) != "acme/api" {
		t.Errorf("narrowed: %v", got)
	}
}

func TestAppTokenRefusals(t *testing.T) {
	f := open(t, provision.GitHub)
	key := withApp(t, f)
	path := fmt.Sprintf(appTokens, 2)
	post := func(body string) request { return bearer("POST", path, goodJWT(t, key), body) }
	header := func(r request, name, value string) request { r.header = map[string]string{name: value}; return r }
	const notGranted, notThere = "The permissions requested are not granted to this installation.", "There is at least one repository that does not exist"
	_, admin := f.Credential()
	checkRefusals(t, f, []refusal{
		{"more than granted", post(`{"permissions": {"administration": "write"}}`), 422, notGranted},
		{"not granted at all", post(`{"permissions": {"issues": "read"}}`), 422, notGranted},
		{"no level", post(`{"permissions": {"contents": "all"}}`), 422, "Invalid request."},
		{"repository not selected", post(`{"repositories": ["three"]}`), 422, notThere},
		{"repository elsewhere", post(`{"repository_ids": [1]}`), 422, notThere},
		{"no such repository", post(`{"repositories": ["one", "nosuch"]}`), 422, notThere},
		{"repository with owner", post(`{"repositories": ["other/one"]}`), 422, notThere},
		{"unknown member", post(`{"permission": {}}`), 422, "Invalid request."},
		{"not JSON", post(`{"permissions"`), 400, `"Problems parsing JSON"`},
		{"form", header(post(`{}`), "Content-Type", "text/plain"), 415, ""},
		{"large", post(`{"repositories": ["` + strings.Repeat("x", 65<<10) + `"]}`), 413, ""},
		{"accept", header(post(""), "Accept", "text/html"), 415, "Must accept"},
		{"no user agent", header(post(""), "User-Agent", ""), 403, "User-Agent"},
		{"version", header(post(""), "X-GitHub-Api-Version", "2001-01-01"), 400, "not a supported version"},
		{"another App's", bearer("POST", fmt.Sprintf(appTokens, 3), goodJWT(t, key), ""), 404, `"Not Found"`},
		{"no such installation", bearer("POST", fmt.Sprintf(appTokens, 99), goodJWT(t, key), ""), 404, `"Not Found"`},
		{"no number", bearer("POST", "/app/installations/x/access_tokens", goodJWT(t, key), ""), 404, `"Not Found"`},
		{"method", bearer("GET", path, goodJWT(t, key), ""), 404, `"Not Found"`},
		{"user's token", bearer("POST", path, admin, ""), 401, "A JSON web token could not be decoded"},
		{"installation's token", bearer("POST", path, issued(t, f, key, 1, ""), ""), 401, "A JSON web token could not be decoded"},
		{"nothing", header(post(""), "Authorization", ""), 401, "A JSON web token could not be decoded"},
		{"scheme", header(post(""), "Authorization", "token "+goodJWT(t, key)), 401, "A JSON web token could not be decoded"},
		{"JWT for keys", bearer("GET", "/repos/acme/api/keys", goodJWT(t, key), ""), 401, "Bad credentials"},
	})
}

// TestAppJWT checks JWTs claim by claim.
func TestAppJWT(t *testing.T) {
	f := open(t, provision.GitHub)
	key := withApp(t, f)
	now := time.Now().Unix()
	claims := func(change object) object {
		c := goodClaims()
		for name, value := range change {
			if c[name] = value; value == nil {
				delete(c, name)
			}
		}
		return c
	}
	rs256 := object{"alg": "RS256"}
	hmacOf := func() string {
		text := encode(object{"alg": "HS256"}) + "." + encode(goodClaims())
		mac := hmac.New(sha256.New, key.N.Bytes())
		mac.Write([]byte(text))
		return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	good := goodJWT(t, key)
	const (
		undecodable = "A JSON web token could not be decoded"
		expired     = "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"
		tooFar      = "'Expiration time' claim ('exp') is too far in the future"
		issuedAt    = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
		issuer      = "'Issuer' claim ('iss') must be an Integer"
	)
	for _, c := range []struct {
		name, token string
		status      int
		message     string
	}{
		{"client id", good, 201, ""},
		{"number", sign(t, key, rs256, claims(object{"iss": appID})), 201, ""},
		{"number as text", sign(t, key, rs256, claims(object{"iss": "4711"})), 201, ""},
		{"full life", sign(t, key, rs256, claims(object{"iat": now, "exp": now + 600})), 201, ""},
		{"other claims", sign(t, key, object{"alg": "RS256", "kid": "x"}, claims(object{"jti": "x"})), 201, ""},
		{"another App", sign(t, key, rs256, claims(object{"iss": 1})), 401, undecodable},
		{"no such App", sign(t, key, rs256, claims(object{"iss": 99})), 404, "Integration not found"},
		{"no such client", sign(t, key, rs256, claims(object{"iss": "Iv99"})), 401, issuer},
		{"no issuer", sign(t, key, rs256, claims(object{"iss": nil})), 401, issuer},
		{"empty issuer", sign(t, key, rs256, claims(object{"iss": ""})), 401, issuer},
		{"fraction as issuer", sign(t, key, rs256, claims(object{"iss": 4711.5})), 401, issuer},
		{"expired", sign(t, key, rs256, claims(object{"exp": now})), 401, expired},
		{"no expiry", sign(t, key, rs256, claims(object{"exp": nil})), 401, expired},
		{"expiry as text", sign(t, key, rs256, claims(object{"exp": fmt.Sprint(now + 60)})), 401, expired},
		{"too long", sign(t, key, rs256, claims(object{"exp": now + 700})), 401, tooFar},
		{"issued in the future", sign(t, key, rs256, claims(object{"iat": now + 45})), 401, issuedAt},
		{"no issue", sign(t, key, rs256, claims(object{"iat": nil})), 401, issuedAt},
		{"issue as text", sign(t, key, rs256, claims(object{"iat": fmt.Sprint(now)})), 401, issuedAt},
		{"fraction of a second", sign(t, key, rs256, claims(object{"iat": float64(now) - 0.5})), 401, issuedAt},
		{"another key", sign(t, newAppKey(t), rs256, goodClaims()), 401, undecodable},
		{"another algorithm", sign(t, key, object{"alg": "RS512"}, goodClaims()), 401, undecodable},
		{"no algorithm", sign(t, key, object{}, goodClaims()), 401, undecodable},
		{"none", encode(object{"alg": "none"}) + "." + encode(goodClaims()) + ".", 401, undecodable},
		{"HMAC", hmacOf(), 401, undecodable},
		{"no signature", good[:strings.LastIndex(good, ".")], 401, undecodable},
		{"more parts", good + ".x", 401, undecodable},
		{"changed claims", strings.Replace(good, ".", ".e", 1), 401, undecodable},
		{"padding", good + "=", 401, undecodable},
		{"empty", "", 401, undecodable},
	} {
		a := send(t, f, bearer("POST", fmt.Sprintf(appTokens, 1), c.token, ""))
		got := decoded(t, a)
		if a.status != c.status || c.message != "" && (got["message"] != c.message || got["status"] != fmt.Sprint(c.status)) {
			t.Errorf("%s: %d %s", c.name, a.status, a.body)
		}
	}
}
