package sshagent

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"deploykeyd/agent/key"
	"deploykeyd/provision"
)

// Keyring holds the keys that are lent to one audience, and for which
// repository each is. The zero value is empty. It is safe for concurrent use.
type Keyring struct {
	mu    sync.RWMutex
	loans []loan // newest first; never changed in place, so that readers need no copy
}

// loan is one key lent for one repository.
type loan struct {
	forge      *Forge
	repository provision.Repository
	key        *key.Key
	blob       []byte // the public key in wire form
}

func (l loan) is(f *Forge, repo provision.Repository, k *key.Key) bool {
	return l.forge == f && l.key == k && provision.Same(l.repository, repo)
}

// Publish lends a key for a repository. A key that was published before for the
// same repository goes on signing, but is no longer shown for it. Publishing
// what is published already changes nothing. A key is for one forge, whose rules
// its signatures are held to: for a second one it is refused.
func (r *Keyring) Publish(f *Forge, repo provision.Repository, k *key.Key) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	same := func(l loan) bool { return l.is(f, repo, k) }
	if slices.ContainsFunc(r.loans, same) {
		return nil
	}
	added := loan{forge: f, repository: repo, key: k, blob: k.Public()}
	for _, l := range r.loans {
		if l.forge != f && bytes.Equal(l.blob, added.blob) {
			return fmt.Errorf("the key is lent for forge %s already", l.forge.Name)
		}
	}
	r.loans = append([]loan{added}, r.loans...)
	return nil
}

// Withdraw ends what Publish began. It takes effect at once, on open
// connections too; a signature that is being made is still delivered.
func (r *Keyring) Withdraw(f *Forge, repo provision.Repository, k *key.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loans = slices.DeleteFunc(slices.Clone(r.loans), func(l loan) bool { return l.is(f, repo, k) })
}

// all returns the loans, newest first. The caller must not change them.
func (r *Keyring) all() []loan {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.loans
}
