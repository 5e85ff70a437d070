package compat_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v89/github"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

func newGitHub(t *testing.T, f *forgesim.Forge, token string) *github.Client {
	t.Helper()
	c, err := github.NewClient(github.WithAuthToken(token), github.WithEnterpriseURLs(f.URL(), f.URL()))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestGitHubKeys(t *testing.T) {
	f := start(t, provision.GitHub)
	_, token := f.Credential()
	c := newGitHub(t, f, token)
	sent := newKey(t)
	made, resp, err := c.Repositories.CreateKey(t.Context(), "acme", "api", &github.Key{
		Title: new("one"), Key: new(sent.String() + " a comment"), ReadOnly: new(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusCreated || made.GetKey() != sent.String() || !made.GetReadOnly() || made.GetAddedBy() != "octocat" {
		t.Errorf("created %v", made)
	}
	if resp.Rate.Limit != 5000 || resp.Rate.Remaining != 4999 {
		t.Errorf("rate %+v", resp.Rate)
	}
	if truth := f.Keys("acme/api"); len(truth) != 1 || truth[0].Key != sent || truth[0].Access != provision.Read {
		t.Fatalf("the forge has %+v", truth)
	}
	got, _, err := c.Repositories.GetKey(t.Context(), "acme", "api", made.GetID())
	if err != nil || got.GetTitle() != "one" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := c.Repositories.DeleteKey(t.Context(), "acme", "api", made.GetID()); err != nil {
		t.Error(err)
	}
	if left := f.AllKeys(); len(left) != 0 {
		t.Errorf("after the delete the forge has %+v", left)
	}
	var refused *github.ErrorResponse
	if _, err := c.Repositories.DeleteKey(t.Context(), "acme", "api", made.GetID()); !errors.As(err, &refused) || refused.Response.StatusCode != http.StatusNotFound {
		t.Errorf("deleting what is gone: %v", err)
	}
}

// TestGitHubDefaultAccess is what this client makes of a request that does not
// speak of the access: a key that can push.
func TestGitHubDefaultAccess(t *testing.T) {
	f := start(t, provision.GitHub)
	_, token := f.Credential()
	made, _, err := newGitHub(t, f, token).Repositories.CreateKey(t.Context(), "acme", "api", &github.Key{Title: new("one"), Key: new(newKey(t).String())})
	if err != nil || made.GetReadOnly() {
		t.Errorf("created %v, %v", made, err)
	}
	if truth := f.Keys("acme/api"); len(truth) != 1 || truth[0].Access != provision.Write {
		t.Errorf("the forge has %+v", truth)
	}
}

func TestGitHubPages(t *testing.T) {
	f := start(t, provision.GitHub)
	addKeys(t, f, 7)
	_, token := f.Credential()
	c := newGitHub(t, f, token)
	var (
		titles []string
		pages  int
	)
	for o := (&github.ListOptions{PerPage: 100}); ; pages++ {
		keys, resp, err := c.Repositories.ListKeys(t.Context(), "acme", "api", o)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			titles = append(titles, k.GetTitle())
		}
		if resp.NextPage == 0 {
			break
		}
		if resp.LastPage != 3 {
			t.Errorf("last page %d", resp.LastPage)
		}
		o.Page = resp.NextPage
	}
	want := []string{"key 0", "key 1", "key 2", "key 3", "key 4", "key 5", "key 6"}
	if d := cmp.Diff(want, titles); d != "" || pages != 2 {
		t.Error(pages, d)
	}
}

func TestGitHubKeyInUse(t *testing.T) {
	f := start(t, provision.GitHub)
	_, token := f.Credential()
	used := newKey(t)
	f.AddKey("acme/web", "elsewhere", used, provision.Read)
	_, _, err := newGitHub(t, f, token).Repositories.CreateKey(t.Context(), "acme", "api", &github.Key{Title: new("x"), Key: new(used.String())})
	var refused *github.ErrorResponse
	if !errors.As(err, &refused) {
		t.Fatal(err)
	}
	want := []github.Error{{Resource: "PublicKey", Code: "custom", Field: "key", Message: "key is already in use"}}
	if d := cmp.Diff(want, refused.Errors); d != "" || refused.Response.StatusCode != http.StatusUnprocessableEntity {
		t.Error(refused.Response.Status, d)
	}
}

func TestGitHubSecondaryLimit(t *testing.T) {
	for _, status := range []int{0, http.StatusTooManyRequests} {
		f := start(t, provision.GitHub)
		_, token := f.Credential()
		f.Inject(forgesim.Fault{Name: forgesim.TooManyRequests, Op: forgesim.OpRegister, RetryAfter: 7 * time.Second, Status: status})
		_, _, err := newGitHub(t, f, token).Repositories.CreateKey(t.Context(), "acme", "api", &github.Key{Key: new(newKey(t).String())})
		var limit *github.AbuseRateLimitError
		if !errors.As(err, &limit) {
			t.Fatal(err)
		}
		if limit.GetRetryAfter() != 7*time.Second {
			t.Errorf("retry after %v", limit.GetRetryAfter())
		}
	}
}

func TestGitHubPrimaryLimit(t *testing.T) {
	f := start(t, provision.GitHub)
	_, token := f.Credential()
	f.SetLimits(provision.Limits{RequestsPerHour: 2})
	c := newGitHub(t, f, token)
	for range 2 {
		if _, _, err := c.Repositories.ListKeys(t.Context(), "acme", "api", nil); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := newGitHub(t, f, token).Repositories.ListKeys(t.Context(), "acme", "api", nil)
	var limit *github.RateLimitError
	if !errors.As(err, &limit) {
		t.Fatal(err)
	}
	if limit.Rate.Limit != 2 || limit.Rate.Remaining != 0 || time.Until(limit.Rate.Reset.Time) < time.Minute {
		t.Errorf("rate %+v", limit.Rate)
	}
}

func TestGitHubRepositoryAndMeta(t *testing.T) {
	f := start(t, provision.GitHub)
	_, token := f.Credential()
	c := newGitHub(t, f, token)
	r, _, err := c.Repositories.Get(t.Context(), "acme", "api")
	if err != nil {
		t.Fatal(err)
	}
	if r.GetFullName() != "acme/api" || r.GetSSHURL() != f.SSH().CloneURL("acme/api") || !r.GetPermissions().GetAdmin() {
		t.Errorf("repository %v", r)
	}
	meta, _, err := c.Meta.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(f.HostKeys(), meta.SSHKeys); d != "" {
		t.Error(d)
	}
	if limits, _, err := c.RateLimit.Get(t.Context()); err != nil || limits.GetCore().Limit != 5000 {
		t.Errorf("limits %v, %v", limits, err)
	}
}

// TestGitHubRename follows go-github, which refuses a redirected POST and walks
// after a redirected GET.
func TestGitHubRename(t *testing.T) {
	f := start(t, provision.GitHub)
	addKeys(t, f, 1)
	f.Rename("acme/api", "acme/renamed")
	_, token := f.Credential()
	c := newGitHub(t, f, token)
	if keys, _, err := c.Repositories.ListKeys(t.Context(), "acme", "api", nil); err != nil || len(keys) != 1 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	_, _, _ = c.Repositories.CreateKey(t.Context(), "acme", "api", &github.Key{Key: new(newKey(t).String())})
	if keys := f.AllKeys(); len(keys) != 1 {
		t.Errorf("a key was made under the old name: %+v", keys)
	}
}
