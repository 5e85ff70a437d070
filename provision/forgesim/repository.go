package forgesim

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"deploykeyd/provision"
)

// RepositoryOptions say what a new repository is like. The zero value is a
// private repository with one commit on main, whose README.md names it, and a
// tag v1.0.0.
type RepositoryOptions struct {
	Empty    bool              // no commit at all
	Archived bool              // read-only, where the forge knows that
	Public   bool              // seen by every account; still cloned with keys alone
	Files    map[string]string // further files of the first commit, by path
}

// AddRepository makes a repository. With sockets it is a real bare one under
// GitDir.
func (f *Forge) AddRepository(path string, o RepositoryOptions) error {
	name, err := provision.ParseRepository(f.kind, path)
	if err != nil {
		return fmt.Errorf("add repository: %w", err)
	}
	r := &repository{
		path: string(name), options: o, created: time.Now(),
		uuid: uuidOf(string(f.kind), "repository", path), ownerUUID: uuidOf(string(f.kind), "owner", name.Owner()),
	}
	if f.dir != "" {
		if r.gitDir, err = f.initBare(path, o); err != nil {
			return fmt.Errorf("add repository %s: %w", path, err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if taken, _ := f.store.find(path); taken != nil {
		return fmt.Errorf("add repository: %s exists already", path)
	}
	r.id = int64(len(f.store.order) + 1)
	f.store.repositories[strings.ToLower(path)] = r
	f.store.order = append(f.store.order, r)
	return nil
}

// uuidOf derives a stable name in UUID form from words.
func uuidOf(words ...string) string {
	h := sha256.Sum256([]byte(strings.ToLower(strings.Join(words, "\x00"))))
	return fmt.Sprintf("{%x-%x-%x-%x-%x}", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// Rename gives a repository another path. The old one goes on working over SSH
// and redirects in the API, where the forge does so.
func (f *Forge) Rename(from, to string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.mustFind(from)
	if taken, _ := f.store.find(to); taken != nil {
		panic("forgesim: rename to " + to + ", which is taken")
	}
	delete(f.store.repositories, strings.ToLower(r.path))
	f.store.moved[strings.ToLower(r.path)] = r
	r.path = to
	f.store.repositories[strings.ToLower(to)] = r
}

// SetPolicy allows or forbids deploy keys on the whole forge.
func (f *Forge) SetPolicy(deployKeysAllowed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.store.forbidden = !deployKeysAllowed
}

// Repositories returns the paths of all repositories in the order they were
// added.
func (f *Forge) Repositories() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	paths := make([]string, 0, len(f.store.order))
	for _, r := range f.store.order {
		paths = append(paths, r.path)
	}
	return paths
}

// GitDir returns the folder of the bare repository; empty without sockets.
func (f *Forge) GitDir(repo string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mustFind(repo).gitDir
}

// mustFind returns a repository that a test names. f.mu is held.
func (f *Forge) mustFind(path string) *repository {
	r, _ := f.store.find(path)
	if r == nil {
		panic("forgesim: no repository " + path + " on " + string(f.kind))
	}
	return r
}
