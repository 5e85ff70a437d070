package forgesim

import (
	"strconv"
	"time"

	"deploykeyd/provision"
)

// Key is one deploy key on one repository: the truth, whatever the API says.
type Key struct {
	Repository string              `json:"repository"`
	ID         string              `json:"id"`
	Title      string              `json:"title"`
	Key        provision.PublicKey `json:"key"`
	Access     provision.Access    `json:"access"`
	Created    time.Time           `json:"created"`
	Used       time.Time           `json:"used,omitzero"` // zero until git has used it
}

func (k *deployKey) truth() Key {
	return Key{
		Repository: k.repository.path, ID: strconv.FormatInt(k.id, 10), Title: k.title, Key: k.row.key,
		Access: k.access, Created: k.created, Used: k.used,
	}
}

// Keys returns the keys on a repository, oldest first.
func (f *Forge) Keys(repo string) []Key {
	f.mu.Lock()
	defer f.mu.Unlock()
	return truths(f.store.keysOf(f.mustFind(repo)))
}

// AllKeys returns the keys on all repositories, oldest first.
func (f *Forge) AllKeys() []Key {
	f.mu.Lock()
	defer f.mu.Unlock()
	return truths(f.store.keys)
}

func truths(keys []*deployKey) []Key {
	all := make([]Key, 0, len(keys))
	for _, k := range keys {
		all = append(all, k.truth())
	}
	return all
}

// AddKey puts a deploy key on a repository as somebody else would, past the
// API, its rules and its faults.
func (f *Forge) AddKey(repo, title string, key provision.PublicKey, a provision.Access) Key {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	k := deployKey{repository: f.mustFind(repo), title: title, access: a, created: now, registered: now}
	return f.store.add(k, key, key.String()).truth()
}

// DeleteKey takes a key off a repository as somebody else would. It reports
// whether it was there.
func (f *Forge) DeleteKey(repo, id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.store.keysOf(f.mustFind(repo)) {
		if k.truth().ID == id {
			f.store.remove(k)
			return true
		}
	}
	return false
}

// AddUserKey makes key belong to an account, so that it cannot become a deploy
// key. The SSH server does not admit it.
func (f *Forge) AddUserKey(key provision.PublicKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.store.accountKeys[key] = true
}

// ReserveDeletedKeys makes the forge refuse keys that were deleted before, as
// Bitbucket Cloud may do for 30 days.
func (f *Forge) ReserveDeletedKeys(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.store.reserving = on
}
