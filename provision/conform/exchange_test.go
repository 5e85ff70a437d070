package conform_test

import (
	"testing"

	"deploykeyd/provision"
	"deploykeyd/provision/bitbucketcloud"
	"deploykeyd/provision/conform"
	"deploykeyd/provision/credential"
	"deploykeyd/provision/github"
)

// TestGitHubApp runs the suite with a GitHub App.
func TestGitHubApp(t *testing.T) {
	conform.RunExchange(t, provision.GitHub, func(t *testing.T, l conform.Login) provision.Forge {
		t.Helper()
		f, err := github.New(github.Options{
			Name: l.Name, URL: l.URL, Transport: l.Transport, UserAgent: l.UserAgent,
			App: &github.App{ID: l.App.ID, Owner: l.App.Owner, Key: credential.File(l.App.KeyFile)},
		})
		if err != nil {
			t.Fatal(err)
		}
		return f
	})
}

// TestBitbucketCloudOAuth runs the suite with an OAuth consumer.
func TestBitbucketCloudOAuth(t *testing.T) {
	conform.RunExchange(t, provision.BitbucketCloud, func(t *testing.T, l conform.Login) provision.Forge {
		t.Helper()
		f, err := bitbucketcloud.New(bitbucketcloud.Options{
			Name: l.Name, URL: l.URL, Transport: l.Transport, UserAgent: l.UserAgent,
			OAuth: &bitbucketcloud.OAuth{ID: l.OAuth.ID, Secret: credential.File(l.OAuth.SecretFile)},
		})
		if err != nil {
			t.Fatal(err)
		}
		return f
	})
}
