package agent

import (
	"fmt"
	"slices"
	"sync"

	"deploykeyd/agent/key"
	"deploykeyd/provision"
)

// planKeys decides which keys carry which registrations on f. Each element
// shares one key: all repositories of a forge, or one alone where a public key
// may exist only once on the forge.
func planKeys(f Forge) [][]RepositoryAccess {
	if len(f.Repositories) == 0 {
		return nil
	}
	if !provision.TraitsOf(f.Kind).KeyPerRepository {
		return [][]RepositoryAccess{f.Repositories}
	}
	plan := make([][]RepositoryAccess, len(f.Repositories))
	for i := range f.Repositories {
		plan[i] = f.Repositories[i : i+1]
	}
	return plan
}

// keyring holds every key of this life, to wipe them all at its end.
type keyring struct {
	kind  key.Type
	mu    sync.Mutex
	keys  []*key.Key
	wiped bool
}

// generate makes a key. After wipe there are no more.
func (r *keyring) generate() (*key.Key, error) {
	k, err := key.Generate(r.kind)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wiped {
		k.Wipe()
		return nil, key.ErrWiped
	}
	r.keys = append(r.keys, k)
	return k, nil
}

// drop wipes a key that nothing will ask to sign again.
func (r *keyring) drop(k *key.Key) {
	r.mu.Lock()
	r.keys = slices.DeleteFunc(r.keys, func(other *key.Key) bool { return other == k })
	r.mu.Unlock()
	k.Wipe()
}

func (r *keyring) wipe() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.keys {
		k.Wipe()
	}
	r.keys, r.wiped = nil, true
}

// plannedKey is a key that is made when the first of its registrations needs
// it: with RSA, making 300 takes longer than some shutdowns may.
type plannedKey struct {
	ring *keyring
	once sync.Once
	key  *key.Key
	err  error
}

func (p *plannedKey) get() (*key.Key, error) {
	p.once.Do(func() { p.key, p.err = p.ring.generate() })
	return p.key, p.err
}

func publicKey(k *key.Key) provision.PublicKey {
	public, err := provision.PublicKeyFromBlob(k.Public())
	if err != nil { // our own key in the standard form: only a programming error gets here
		panic(fmt.Sprintf("agent: own public key: %v", err))
	}
	return public
}
