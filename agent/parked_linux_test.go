package agent_test

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent"
	"deploykeyd/agent/key"
	"deploykeyd/provision"
)

// newParkedWorld is a world in which keys outlive a life.
func newParkedWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld()
	w.park(t)
	return w
}

// park makes a parking for the next life.
func (w *world) park(t *testing.T) {
	t.Helper()
	p, err := key.NewParking()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	w.parking, w.snapshot = p, func() []*key.Key { return snapshot(p) }
}

// snapshot returns what is parked now. The parking is not touched.
func snapshot(p *key.Parking) []*key.Key {
	fd, err := syscall.Dup(int(p.File().Fd()))
	if err != nil {
		panic(err)
	}
	again, keys, err := key.OpenParking(os.NewFile(uintptr(fd), "parking"))
	if err == nil {
		err = again.Close()
	}
	if err != nil {
		panic(err)
	}
	return keys
}

// successor is a new agent, with all that was parked. What it published before
// it runs needed nothing but its memory and the journal.
func (w *world) successor(t *testing.T, change func(*agent.Options)) *agent.Agent {
	t.Helper()
	w.reboot()
	w.park(t)
	o := w.options()
	if change != nil {
		change(&o)
	}
	want := w.toBeLent(o)
	a := agent.New(o)
	a.Resume(w.parked)
	for _, e := range w.happened() {
		if !strings.HasPrefix(e, "publish") {
			t.Errorf("resume: %s", e)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for at, k := range w.lent {
		if !slices.Contains(want[at], k) {
			t.Errorf("%s is lent after resume, and was not verified with that key", at)
		}
		delete(want, at)
	}
	if len(want) > 0 && change == nil {
		t.Errorf("verified and parked, and not lent after resume: %v", want)
	}
	return a
}

// toBeLent returns the verified registrations of the last life whose keys are
// parked, by the names that o gives their forges.
func (w *world) toBeLent(o agent.Options) map[string][]provision.PublicKey {
	lent := map[string][]provision.PublicKey{}
	for _, rec := range w.journal() {
		if rec.State != agent.Verified || !w.hasParked(rec.Key) {
			continue
		}
		for _, f := range o.Forges {
			if f.URL == rec.ForgeURL {
				at := f.Name + "/" + rec.Target.Path
				lent[at] = append(lent[at], rec.Key)
			}
		}
	}
	return lent
}

func (w *world) hasParked(public provision.PublicKey) bool {
	return slices.ContainsFunc(w.parked, func(k *key.Key) bool { return publicOf(k) == public })
}

func publicOf(k *key.Key) provision.PublicKey {
	public, err := provision.PublicKeyFromBlob(k.Public())
	if err != nil {
		panic(err)
	}
	return public
}

// goneOn are the targets of records that a successor can go on with.
func (w *world) goneOn() []string {
	var targets []string
	for _, rec := range w.journal() {
		if w.hasParked(rec.Key) && rec.State != agent.Retiring {
			targets = append(targets, rec.Forge+"/"+rec.Target.Path)
		}
	}
	return targets
}

// checkJournal fails when a forge has a key of ours that no record tells of.
func (w *world) checkJournal(t *testing.T) {
	t.Helper()
	known := map[string]bool{}
	for _, rec := range w.journal() {
		known[rec.Target.Path+rec.Key.Fingerprint()] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.forges {
		for path, keys := range f.keys {
			for _, k := range keys {
				if !known[path+k.Key.Fingerprint()] {
					t.Errorf("%s has a key that the journal does not know: %s", path, k.Title)
				}
			}
		}
	}
}

// checkLent fails unless the builds have, for each repository, the one key that
// its forge has.
func (w *world) checkLent(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for at, k := range w.lent {
		forge, path, _ := strings.Cut(at, "/")
		if keys := w.forges[forge].keys[path]; !slices.ContainsFunc(keys, func(r provision.Registration) bool { return r.Key == k }) {
			t.Errorf("the key that is lent for %s is not on its forge", at)
		}
	}
}

// builds returns the keys that builds can use now.
func (w *world) builds() map[string]provision.PublicKey {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.lent)
}

// registered returns how many registrations have come into being, by forge and
// path.
func (w *world) registered() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.made)
}

// registers counts the requests to register in this life, by path.
func (w *world) registers() map[string]int {
	n := map[string]int{}
	for _, e := range w.happened() {
		if path, ok := strings.CutPrefix(e, "register "); ok {
			n[path]++
		}
	}
	return n
}

// errJournal is what a full disk says.
var errJournal = errors.New("no space left on device")

// lentBefore returns the key that the last life had for a repository of hub.
func (w *world) lentBefore(path string) provision.PublicKey {
	for _, rec := range w.journal() {
		if rec.Target.Path == path {
			return rec.Key
		}
	}
	return provision.PublicKey{}
}

// twin makes another key with a record for a repository of hub, that much older
// than the one there.
func (w *world) twin(t *testing.T, path string, older time.Duration, state agent.State) *key.Key {
	t.Helper()
	k, err := key.Generate(key.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range w.journal() {
		if rec.Target.Path != path {
			continue
		}
		rec.Key, rec.State, rec.IntendedAt, rec.RemoteID = publicOf(k), state, rec.IntendedAt.Add(-older), ""
		tag, err := provision.NewOwnerTag("ci", "m1", rec.Key, rec.Expires, 255)
		if err != nil {
			t.Fatal(err)
		}
		rec.Title = tag.String()
		w.records[rec.ID()] = rec
	}
	return k
}

// finishQuietly lets a life settle everything and stops it.
func (w *world) finishQuietly(t *testing.T, l *life) {
	t.Helper()
	l.awaitReady(t, time.Minute)
	if _, err := l.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	time.Sleep(afterWindow) //nolint:forbidigo // virtual time
	if diff := cmp.Diff(oneEach, w.allKeys()); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	w.checkLent(t)
	if remnants := l.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 || len(w.journal()) != 0 {
		t.Errorf("remnants %v, keys %v, records %d", remnants, w.allKeys(), len(w.journal()))
	}
}
