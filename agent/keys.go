package agent

import (
	"fmt"
	"log/slog"
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

// keyring holds every key of this life, to wipe them all at its end. It keeps
// them parked as well, where they outlive a process that is killed or replaced.
type keyring struct {
	kind    key.Type
	parking *key.Parking
	log     *slog.Logger

	mu       sync.Mutex
	keys     []*key.Key
	unparked map[*key.Key]error // of keys, those that could not be parked
	wiped    bool
}

// generate makes a key, and parks it: whatever is done with it, a successor can
// go on with that. After wipe there are no more.
func (r *keyring) generate() (*key.Key, error) {
	k, err := key.Generate(r.kind)
	if err != nil {
		return nil, err
	}
	if !r.add(k) {
		k.Wipe()
		return nil, key.ErrWiped
	}
	return k, nil
}

// add takes a key in, unless wipe was called. One that cannot be parked serves
// as well as another, until the process ends.
func (r *keyring) add(k *key.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wiped {
		return false
	}
	r.keys = append(r.keys, k)
	if err := r.parking.Park(k); err != nil {
		if len(r.unparked) == 0 { // the status counts the others
			r.log.Warn("a key cannot be parked: a crash or a reload will replace it", slog.String("error", err.Error()))
			r.unparked = map[*key.Key]error{}
		}
		r.unparked[k] = err
	}
	return true
}

// drop wipes a key that nothing will ask to sign again.
func (r *keyring) drop(k *key.Key) {
	r.mu.Lock()
	r.keys = slices.DeleteFunc(r.keys, func(other *key.Key) bool { return other == k })
	delete(r.unparked, k)
	r.parking.Clear(k)
	r.mu.Unlock()
	k.Wipe()
}

func (r *keyring) wipe() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parking.Wipe() // first: from now on no successor goes on with them
	for _, k := range r.keys {
		k.Wipe()
	}
	r.keys, r.unparked, r.wiped = nil, nil, true
}

// holds reports whether the key with that public half is alive.
func (r *keyring) holds(public provision.PublicKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.keys, func(k *key.Key) bool { return publicKey(k) == public })
}

// warnings returns what the status shall say of the keys.
func (r *keyring) warnings() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, err := range r.unparked { // one cause speaks for all
		return []string{fmt.Sprintf("%d of %d keys could not be parked, so that a crash or a reload replaces them: %v; "+
			"restart the daemon when that is mended", len(r.unparked), len(r.keys), err)}
	}
	return nil
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

// use takes a key that is there already. It is called before get.
func (p *plannedKey) use(k *key.Key) { p.once.Do(func() { p.key = k }) }

// algorithm returns the name under which public keys of that type say what they
// are (RFC 4253, section 6.6; RFC 5656, section 3.1; RFC 8709, section 4).
func algorithm(t key.Type) string {
	switch t {
	case key.Ed25519:
		return "ssh-ed25519"
	case key.ECDSAP256:
		return "ecdsa-sha2-nistp256"
	case key.RSA3072:
		return "ssh-rsa"
	}
	return ""
}

func publicKey(k *key.Key) provision.PublicKey {
	public, err := provision.PublicKeyFromBlob(k.Public())
	if err != nil { // our own key in the standard form: only a programming error gets here
		panic(fmt.Sprintf("agent: own public key: %v", err))
	}
	return public
}
