package forgesim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// start returns forges with sockets that end with the test.
func start(t *testing.T, o forgesim.Options) *forgesim.Sim {
	t.Helper()
	s, err := forgesim.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// open returns one forge without sockets that has acme/api and acme/web.
func open(t *testing.T, k provision.Kind) *forgesim.Forge {
	t.Helper()
	s, err := forgesim.New(forgesim.Options{Kinds: []provision.Kind{k}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	f := s.Forge(k)
	addRepositories(t, f, "acme/api", "acme/web")
	return f
}

func addRepositories(t *testing.T, f *forgesim.Forge, paths ...string) {
	t.Helper()
	for _, p := range paths {
		if err := f.AddRepository(p, forgesim.RepositoryOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// kinds are the forges that forgesim stands in for.
func kinds() []provision.Kind {
	return []provision.Kind{provision.Gitea, provision.GitHub, provision.BitbucketCloud}
}

// request is an API request of a test. The zero value of most fields means what
// a well-behaved client sends.
type request struct {
	method, path, body string
	token              *forgesim.Token   // nil means the administrator's
	header             map[string]string // added, or with an empty value taken away
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// send makes a request in process. It fails the test when no reply comes.
func send(t *testing.T, f *forgesim.Forge, r request) answer {
	t.Helper()
	a, err := try(t, f, http.Client{Transport: f.Transport()}, r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	return a
}

// try makes a request with a client that follows no redirects.
func try(t *testing.T, f *forgesim.Forge, c http.Client, r request) (answer, error) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), r.method, f.URL()+r.path, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	if r.body != "" {
		q.Header.Set("Content-Type", "application/json")
	}
	authenticate(q, f, r.token)
	for name, value := range r.header {
		q.Header.Set(name, value)
		if value == "" {
			q.Header[http.CanonicalHeaderKey(name)] = nil
		}
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := c.Do(q)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body)}, err
}

func authenticate(q *http.Request, f *forgesim.Forge, t *forgesim.Token) {
	user, secret := f.Credential()
	bearer := user == ""
	if t != nil {
		user, secret = t.Username, t.Secret
		bearer = f.Kind() != provision.BitbucketCloud || user == "" || t.AccessToken
	}
	if bearer {
		q.Header.Set("Authorization", "Bearer "+secret)
		return
	}
	q.SetBasicAuth(user, secret)
}

// keysPath is the path of a repository's keys.
func keysPath(k provision.Kind, repository string) string {
	switch k {
	case provision.Gitea:
		return "/api/v1/repos/" + repository + "/keys"
	case provision.GitHub:
		return "/api/v3/repos/" + repository + "/keys"
	case provision.BitbucketCloud:
		return "/2.0/repositories/" + repository + "/deploy-keys"
	case provision.BitbucketDataCenter, provision.GitLab:
	}
	panic("no path for " + string(k))
}

// createBody is a well-formed body of a create.
func createBody(k provision.Kind, title, key string) string {
	name, more := "title", `, "read_only": true`
	if k == provision.BitbucketCloud {
		name, more = "label", ""
	}
	return fmt.Sprintf(`{%q: %q, "key": %q%s}`, name, title, key, more)
}

// create is a well-formed request for a key on acme/api.
func create(k provision.Kind, title string, key provision.PublicKey) request {
	return request{method: "POST", path: keysPath(k, "acme/api"), body: createBody(k, title, key.String())}
}

// decoded returns a JSON object as a map.
func decoded(t *testing.T, a answer) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		t.Fatalf("status %d, body %q: %v", a.status, a.body, err)
	}
	return m
}

// mustCreate registers a key and returns its id.
func mustCreate(t *testing.T, f *forgesim.Forge, title string, key provision.PublicKey) string {
	t.Helper()
	if a := send(t, f, create(f.Kind(), title, key)); a.status/100 != 2 {
		t.Fatalf("create: %d %s", a.status, a.body)
	}
	for _, k := range f.Keys("acme/api") {
		if k.Key == key {
			return k.ID
		}
	}
	t.Fatal("the key is not there")
	return ""
}
