package github_test

import (
	"testing"

	"deploykeyd/provision"
	"deploykeyd/provision/conform"
	"deploykeyd/provision/credential"
	"deploykeyd/provision/github"
)

func TestConformance(t *testing.T) {
	conform.Run(t, provision.GitHub, func(t *testing.T, l conform.Login) provision.Forge {
		t.Helper()
		f, err := github.New(github.Options{
			Name: l.Name, URL: l.URL, Credential: credential.File(l.TokenFile),
			Transport: l.Transport, UserAgent: l.UserAgent,
		})
		if err != nil {
			t.Fatal(err)
		}
		return f
	})
}
