package compat_test

import (
	"net/http"
	"strings"
	"testing"

	"code.gitea.io/sdk/gitea"
	"github.com/google/go-cmp/cmp"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

func newGitea(t *testing.T, f *forgesim.Forge, token string) *gitea.Client {
	t.Helper()
	c, err := gitea.NewClient(f.URL(), gitea.SetToken(token), gitea.SetContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestGiteaKeys(t *testing.T) {
	f := start(t, provision.Gitea)
	_, token := f.Credential()
	c := newGitea(t, f, token) // has asked for the version
	sent := newKey(t)
	made, _, err := c.CreateDeployKey("acme", "api", gitea.CreateKeyOption{Title: "one", Key: sent.String() + " a comment", ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	truth := f.Keys("acme/api")
	if len(truth) != 1 || truth[0].Key != sent || truth[0].Access != provision.Read {
		t.Fatalf("the forge has %+v", truth)
	}
	if made.Key != sent.String()+" a comment" || made.Fingerprint != sent.Fingerprint() || !made.ReadOnly || made.KeyID == made.ID {
		t.Errorf("created %+v", made)
	}
	got, _, err := c.GetDeployKey("acme", "api", made.ID)
	if err != nil || got.Title != "one" {
		t.Errorf("got %+v, %v", got, err)
	}
	found, _, err := c.ListDeployKeys("acme", "api", gitea.ListDeployKeysOptions{Fingerprint: sent.Fingerprint()})
	if err != nil || len(found) != 1 || found[0].ID != made.ID {
		t.Errorf("by fingerprint: %+v, %v", found, err)
	}
	if _, err := c.DeleteDeployKey("acme", "api", made.ID); err != nil {
		t.Error(err)
	}
	if left := f.AllKeys(); len(left) != 0 {
		t.Errorf("after the delete the forge has %+v", left)
	}
	if _, err := c.DeleteDeployKey("acme", "api", made.ID); err != nil {
		t.Errorf("deleting what is gone: %v", err)
	}
}

// TestGiteaDefaultAccess is what this client makes of a request that does not
// speak of the access: a key that can push.
func TestGiteaDefaultAccess(t *testing.T) {
	f := start(t, provision.Gitea)
	_, token := f.Credential()
	made, _, err := newGitea(t, f, token).CreateDeployKey("acme", "api", gitea.CreateKeyOption{Title: "one", Key: newKey(t).String()})
	if err != nil || made.ReadOnly {
		t.Errorf("created %+v, %v", made, err)
	}
	if truth := f.Keys("acme/api"); len(truth) != 1 || truth[0].Access != provision.Write {
		t.Errorf("the forge has %+v", truth)
	}
}

func TestGiteaPages(t *testing.T) {
	f := start(t, provision.Gitea)
	addKeys(t, f, 7)
	_, token := f.Credential()
	c := newGitea(t, f, token)
	var titles []string
	for page := 1; page < 10; page++ {
		keys, _, err := c.ListDeployKeys("acme", "api", gitea.ListDeployKeysOptions{ListOptions: gitea.ListOptions{Page: page, PageSize: 50}})
		if err != nil {
			t.Fatal(err)
		}
		if len(keys) == 0 {
			break
		}
		if len(keys) > forgesim.DefaultPageSize {
			t.Errorf("page %d has %d keys", page, len(keys))
		}
		for _, k := range keys {
			titles = append(titles, k.Title)
		}
	}
	want := []string{"key 0", "key 1", "key 2", "key 3", "key 4", "key 5", "key 6"}
	if d := cmp.Diff(want, titles); d != "" {
		t.Error(d)
	}
	all, _, err := c.ListDeployKeys("acme", "api", gitea.ListDeployKeysOptions{ListOptions: gitea.ListOptions{Page: -1}})
	if err != nil || len(all) == 0 {
		t.Errorf("without a page: %d keys, %v", len(all), err)
	}
}

func TestGiteaRefusals(t *testing.T) {
	f := start(t, provision.Gitea)
	_, token := f.Credential()
	f.AddToken(forgesim.Token{Username: "reader", Secret: "reads", Scopes: []string{"read:repository"}, Admin: true})
	f.AddToken(forgesim.Token{Username: "guest", Secret: "guests", ReadOf: []string{"acme/api"}})
	used, account := newKey(t), newKey(t)
	f.AddUserKey(account)
	f.AddKey("acme/api", "taken", used, provision.Read)
	for _, c := range []struct {
		name, token, repo, title, key string
		status                        int
		words                         string
	}{
		{"again", token, "api", "other", used.String(), 422, "already been added to this repository"},
		{"same title", token, "api", "taken", newKey(t).String(), 422, "same name"},
		{"key of an account", token, "api", "x", account.String(), 422, "used as non-deploy key"},
		{"no key", token, "api", "x", "ssh-ed25519 %%%", 422, "Invalid key content"},
		{"scope", "reads", "api", "x", newKey(t).String(), 403, "required=[write:repository]"},
		{"no admin", "guests", "api", "x", newKey(t).String(), 403, "admin write"},
		{"hidden", "guests", "web", "x", newKey(t).String(), 404, "not found"},
		{"missing", token, "nosuch", "x", newKey(t).String(), 404, "not found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, resp, err := newGitea(t, f, c.token).CreateDeployKey("acme", c.repo, gitea.CreateKeyOption{Title: c.title, Key: c.key})
			if err == nil || resp == nil || resp.StatusCode != c.status || !strings.Contains(err.Error(), c.words) {
				t.Errorf("error %v, want %d and %q", err, c.status, c.words)
			}
		})
	}
}

func TestGiteaRepository(t *testing.T) {
	f := start(t, provision.Gitea)
	_, token := f.Credential()
	r, _, err := newGitea(t, f, token).GetRepo("acme", "api")
	if err != nil {
		t.Fatal(err)
	}
	if r.FullName != "acme/api" || r.SSHURL != f.SSH().CloneURL("acme/api") || !r.Permissions.Admin {
		t.Errorf("repository %+v", r)
	}
}

// TestGiteaRename shows why deploykeyd follows no redirects: net/http turns the
// POST into a GET, whose 200 this client takes for a key that was made.
func TestGiteaRename(t *testing.T) {
	f := start(t, provision.Gitea)
	f.Rename("acme/api", "acme/renamed")
	_, token := f.Credential()
	_, resp, err := newGitea(t, f, token).CreateDeployKey("acme", "api", gitea.CreateKeyOption{Title: "x", Key: newKey(t).String()})
	if resp == nil || resp.StatusCode != http.StatusOK {
		t.Errorf("response %v, error %v", resp, err)
	}
	if keys := f.AllKeys(); len(keys) != 0 {
		t.Errorf("a key was made: %+v", keys)
	}
}
