package gitea_test

import (
	"testing"

	"deploykeyd/provision"
	"deploykeyd/provision/conform"
	"deploykeyd/provision/credential"
	"deploykeyd/provision/gitea"
)

func TestConformance(t *testing.T) {
	conform.Run(t, provision.Gitea, func(t *testing.T, l conform.Login) provision.Forge {
		t.Helper()
		f, err := gitea.New(gitea.Options{
			Name: l.Name, URL: l.URL, Credential: credential.File(l.TokenFile),
			Transport: l.Transport, UserAgent: l.UserAgent,
		})
		if err != nil {
			t.Fatal(err)
		}
		return f
	})
}
