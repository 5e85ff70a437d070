package compat_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v89/github"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// newApp puts an App on a GitHub, installed on acme/api alone and on a user, and
// returns its private key.
func newApp(t *testing.T, f *forgesim.Forge) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	f.AddApp(forgesim.App{
		ID: 12345, ClientID: "Iv23liCompat", Slug: "ci", PublicKeys: []*rsa.PublicKey{&key.PublicKey},
		Installations: []forgesim.Installation{
			{ID: 678, Account: "acme", Repositories: []string{"acme/api"}},
			{ID: 679, Account: "octo", User: true},
		},
	})
	return key
}

// jwt signs what an App says of itself.
func jwt(t *testing.T, key *rsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	var text string
	for _, part := range []any{map[string]string{"alg": "RS256", "typ": "JWT"}, claims} {
		b, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		text += "." + base64.RawURLEncoding.EncodeToString(b)
	}
	text = text[1:]
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// asApp returns go-github with a JWT.
func asApp(t *testing.T, f *forgesim.Forge, key *rsa.PrivateKey) *github.Client {
	t.Helper()
	now := time.Now()
	return newGitHub(t, f, jwt(t, key, map[string]any{
		"iss": "12345", "iat": now.Add(-time.Minute).Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}))
}

// TestGitHubApp goes the whole way with go-github: from the repository to the
// installation, to a narrowed token, to a deploy key.
func TestGitHubApp(t *testing.T) {
	f := start(t, provision.GitHub)
	app := asApp(t, f, newApp(t, f))
	installation, _, err := app.Apps.GetRepositoryInstallation(t.Context(), "acme", "api")
	if err != nil {
		t.Fatal(err)
	}
	if installation.GetID() != 678 || installation.GetAppID() != 12345 || installation.GetAppSlug() != "ci" ||
		installation.GetAccount().GetLogin() != "acme" || installation.GetRepositorySelection() != "selected" ||
		installation.GetPermissions().GetAdministration() != "write" || installation.GetPermissions().GetMetadata() != "read" ||
		time.Since(installation.GetCreatedAt().Time) > time.Hour || installation.SuspendedAt != nil {
		t.Errorf("installation %v", installation)
	}
	again, _, err := app.Apps.GetRepositoryInstallationByID(t.Context(), 1)
	if d := cmp.Diff(installation.Permissions, again.GetPermissions()); err != nil || d != "" || again.GetID() != 678 {
		t.Errorf("by the repository's id %v, %v, %s", again, err, d)
	}
	for _, find := range []func() (*github.Installation, *github.Response, error){
		func() (*github.Installation, *github.Response, error) {
			return app.Apps.GetOrganizationInstallation(t.Context(), "acme")
		},
		func() (*github.Installation, *github.Response, error) {
			return app.Apps.GetUserInstallation(t.Context(), "octo")
		},
	} {
		found, _, err := find()
		if err != nil || found.GetAccount().GetType() != found.GetTargetType() || (found.GetID() == 678) != (found.GetTargetType() == "Organization") {
			t.Errorf("by the account %v, %v", found, err)
		}
	}
	token, resp, err := app.Apps.CreateInstallationToken(t.Context(), 678, &github.InstallationTokenOptions{
		Repositories: []string{"api"}, Permissions: &github.InstallationPermissions{Administration: new("write")},
	})
	if err != nil {
		t.Fatal(err)
	}
	life := time.Until(token.GetExpiresAt().Time)
	if resp.StatusCode != http.StatusCreated || life < 59*time.Minute || life > time.Hour || token.GetPermissions().GetAdministration() != "write" ||
		len(token.Repositories) != 1 || token.Repositories[0].GetFullName() != "acme/api" {
		t.Errorf("%d, token %v", resp.StatusCode, token)
	}
	c := newGitHub(t, f, token.GetToken())
	made, _, err := c.Repositories.CreateKey(t.Context(), "acme", "api", &github.Key{Title: new("one"), Key: new(newKey(t).String()), ReadOnly: new(true)})
	if err != nil || made.GetAddedBy() != "ci[bot]" {
		t.Fatalf("created %v, %v", made, err)
	}
	if _, err := c.Repositories.DeleteKey(t.Context(), "acme", "api", made.GetID()); err != nil {
		t.Error(err)
	}
	if _, _, err := c.Repositories.ListKeys(t.Context(), "acme", "web", nil); statusOf(t, err) != http.StatusNotFound {
		t.Errorf("a repository that the token is not for: %v", err)
	}
}

// statusOf returns the status of a refusal that go-github has understood.
func statusOf(t *testing.T, err error) int {
	t.Helper()
	var refused *github.ErrorResponse
	if !errors.As(err, &refused) {
		t.Fatalf("no refusal: %v", err)
	}
	return refused.Response.StatusCode
}

func TestGitHubAppRefusals(t *testing.T) {
	f := start(t, provision.GitHub)
	key := newApp(t, f)
	app := asApp(t, f, key)
	late := newGitHub(t, f, jwt(t, key, map[string]any{"iss": 12345, "iat": 1, "exp": time.Now().Add(time.Hour).Unix()}))
	narrow := &github.InstallationTokenOptions{Permissions: &github.InstallationPermissions{Contents: new("read")}}
	elsewhere := &github.InstallationTokenOptions{Repositories: []string{"web"}}
	for _, c := range []struct {
		name    string
		call    func() error
		status  int
		message string
	}{
		{"not installed", func() error {
			_, _, err := app.Apps.GetRepositoryInstallation(t.Context(), "acme", "web")
			return err
		}, 404, "Not Found"},
		{"an organization as a user", func() error {
			_, _, err := app.Apps.GetUserInstallation(t.Context(), "acme")
			return err
		}, 404, "Not Found"},
		{"no such installation", func() error { return create(t, app, 1, nil) }, 404, "Not Found"},
		{"permission", func() error { return create(t, app, 678, narrow) }, 422, "The permissions requested are not granted to this installation."},
		{"repository", func() error { return create(t, app, 678, elsewhere) }, 422, "There is at least one repository that does not exist or is not accessible to the parent installation."},
		{"JWT", func() error { return create(t, late, 678, nil) }, 401, "'Expiration time' claim ('exp') is too far in the future"},
	} {
		err := c.call()
		var refused *github.ErrorResponse
		if statusOf(t, err) != c.status || !errors.As(err, &refused) || refused.Message != c.message {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// create asks for a token.
func create(t *testing.T, c *github.Client, installation int64, o *github.InstallationTokenOptions) error {
	t.Helper()
	_, _, err := c.Apps.CreateInstallationToken(t.Context(), installation, o)
	return err
}
