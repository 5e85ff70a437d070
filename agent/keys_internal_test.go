package agent

import (
	"errors"
	"testing"

	"deploykeyd/agent/key"
	"deploykeyd/provision"
)

func TestKeyringAfterWipe(t *testing.T) {
	r := &keyring{kind: key.Ed25519}
	first, err := r.generate()
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.generate()
	if err != nil {
		t.Fatal(err)
	}
	r.drop(first)
	if len(r.keys) != 1 || r.keys[0] != second {
		t.Errorf("the ring holds %v", r.keys)
	}
	r.wipe()
	if k, err := r.generate(); !errors.Is(err, key.ErrWiped) || k != nil {
		t.Errorf("made %v after the end: %v", k, err)
	}
	if len(r.keys) != 0 {
		t.Errorf("the ring still holds %v", r.keys)
	}
}

func TestWhichEntryFitsALeftover(t *testing.T) {
	entry := func(name string, repositories ...provision.Repository) *forgeState {
		f := &forgeState{Forge: Forge{Name: name, URL: "https://hub.test"}}
		for _, r := range repositories {
			f.Repositories = append(f.Repositories, RepositoryAccess{Repository: r})
		}
		return f
	}
	rec := Record{Forge: "hub", ForgeURL: "https://hub.test", Target: provision.RepositoryTarget("acme/api")}
	elsewhere := entry("hub", "acme/api")
	elsewhere.URL = "https://other.test"
	for _, c := range []struct {
		name    string
		entries []*forgeState
		want    int
	}{
		{"the target", []*forgeState{entry("hub", "acme/web"), entry("b", "x/y", "ACME/Api")}, 1},
		{"its owner", []*forgeState{entry("hub", "x/y"), entry("b", "Acme/web")}, 1},
		{"its name", []*forgeState{entry("a", "x/y"), entry("hub", "x/z")}, 1},
		{"any", []*forgeState{entry("a", "x/y"), entry("b", "x/z")}, 0},
		{"the first of equals", []*forgeState{entry("a", "acme/x"), entry("b", "acme/y")}, 0},
		{"no other forge", []*forgeState{elsewhere, entry("a", "x/y")}, 1},
	} {
		a := &Agent{forges: c.entries}
		if got, err := a.forgeOf(rec); err != nil || got != c.entries[c.want] {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	if _, err := (&Agent{forges: []*forgeState{elsewhere}}).forgeOf(rec); provision.ClassOf(err) != provision.Denied {
		t.Errorf("another forge's credential is used: %v", err)
	}
}

// A script finds lists where lists are promised, also when no daemon runs.
func TestStatusOfNothingHasNoNull(t *testing.T) {
	s := StatusOf(nil, nil)
	if s.Forges == nil || s.Repositories == nil || s.Remaining == nil || s.Warnings == nil {
		t.Errorf("%+v", s)
	}
}
