package bitbucketcloud_test

import (
	"testing"

	"deploykeyd/provision"
	"deploykeyd/provision/bitbucketcloud"
	"deploykeyd/provision/conform"
	"deploykeyd/provision/credential"
)

func TestConformance(t *testing.T) {
	conform.Run(t, provision.BitbucketCloud, func(t *testing.T, l conform.Login) provision.Forge {
		t.Helper()
		f, err := bitbucketcloud.New(bitbucketcloud.Options{
			Name: l.Name, URL: l.URL, Username: l.Username, Credential: credential.File(l.TokenFile),
			Transport: l.Transport, UserAgent: l.UserAgent,
		})
		if err != nil {
			t.Fatal(err)
		}
		return f
	})
}
