package compat_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"testing"

	"golang.org/x/crypto/ssh"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// start returns one forge with the repositories acme/api and acme/web.
func start(t *testing.T, kind provision.Kind) *forgesim.Forge {
	t.Helper()
	sim, err := forgesim.Start(t.Context(), forgesim.Options{Kinds: []provision.Kind{kind}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	f := sim.Forge(kind)
	for _, r := range []string{"acme/api", "acme/web"} {
		if err := f.AddRepository(r, forgesim.RepositoryOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// newKey returns a fresh public key.
func newKey(t *testing.T) provision.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wire, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	k, err := provision.PublicKeyFromBlob(wire.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// addKeys puts n foreign keys on acme/api: several pages full.
func addKeys(t *testing.T, f *forgesim.Forge, n int) {
	t.Helper()
	for i := range n {
		f.AddKey("acme/api", fmt.Sprintf("key %d", i), newKey(t), provision.Read)
	}
}
