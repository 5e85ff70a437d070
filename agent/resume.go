package agent

import (
	"cmp"
	"log/slog"
	"slices"
	"strings"
	"time"

	"deploykeyd/agent/key"
	"deploykeyd/provision"
)

// Resume goes on with what an earlier process of this boot began: keys are those
// that it parked, and the agent takes them all. Each registration that the
// journal holds, whose key is among them, and which would be made just so today,
// is taken over: a verified one is lent to the builds before Resume returns,
// without a request to its forge; what was under way is asked for. All else in
// the journal is left over, as without Resume, and keys that nothing uses are
// wiped.
//
// Call it before Run. After a revocation has begun it wipes the keys.
func (a *Agent) Resume(keys []*key.Key) {
	a.load()
	a.update(func() {
		t := newTakeover(a, keys)
		if a.phase == Starting {
			t.match()
			t.settleKeys()
		}
		t.dropUnused()
		t.resume()
		t.shareKeys()
	})
}

// takeover sorts out what of an earlier life this one goes on with. Whoever
// calls its methods holds agent.mu.
type takeover struct {
	agent  *Agent
	parked map[provision.PublicKey]*key.Key
	heirs  map[*registration]*leftover // what each goes on with
}

func newTakeover(a *Agent, keys []*key.Key) *takeover {
	t := &takeover{agent: a, parked: map[provision.PublicKey]*key.Key{}, heirs: map[*registration]*leftover{}}
	for _, k := range keys {
		public := publicKey(k)
		if twin := t.parked[public]; twin != nil && twin != k {
			k.Wipe()
			continue
		}
		t.parked[public] = k
	}
	return t
}

// match finds the record that each registration can go on with, the newest
// where there are several.
func (t *takeover) match() {
	for _, l := range t.agent.sortedLeftovers() {
		if t.parked[l.record.Key] == nil {
			continue
		}
		r, why := t.agent.heirOf(l.record)
		if r == nil {
			t.leave(l, why)
			continue
		}
		before := t.heirs[r]
		switch {
		case before == nil:
			t.heirs[r] = l
		case newer(l.record, before.record):
			t.leave(before, "a newer key took its place")
			t.heirs[r] = l
		default:
			t.leave(l, "a newer key took its place")
		}
	}
}

// leave says why a record stays a leftover although its key is there.
func (t *takeover) leave(l *leftover, why string) {
	l.reason = "not taken over: " + why
	l.log().Info("a key is not taken over", slog.String("reason", why))
}

// newer reports whether a was made after b or, at the same time, has come
// further.
func newer(a, b Record) bool {
	states := []State{Intended, Registered, Verified}
	byState := cmp.Compare(slices.Index(states, a.State), slices.Index(states, b.State))
	return cmp.Or(a.IntendedAt.Compare(b.IntendedAt), byState) > 0
}

// heirOf returns the registration that can go on with what rec tells of, or why
// there is none: it must be as this life would make it.
func (a *Agent) heirOf(rec Record) (*registration, string) {
	i := slices.IndexFunc(a.registrations, func(r *registration) bool {
		return r.forge.URL == rec.ForgeURL && r.forge.Kind == rec.Kind && r.target == rec.Target
	})
	switch {
	case rec.Boot != a.options.Boot:
		return nil, "it was made in another boot"
	case !rec.held() && rec.State != Intended:
		return nil, "it was being revoked"
	case i < 0:
		return nil, "the repository is not configured any more"
	case rec.Access != a.registrations[i].access.Access:
		return nil, "another access is configured"
	case rec.Key.Type() != algorithm(a.options.KeyType):
		return nil, "another type of key is configured"
	}
	tag, err := provision.NewOwnerTag(a.options.Fleet, a.options.Machine, rec.Key, rec.Expires, provision.TraitsOf(rec.Kind).TitleLimit)
	if err != nil || tag.String() != rec.Title {
		return nil, "its owner tag would be another: the fleet or the machine has another name"
	}
	return a.registrations[i], ""
}

// settleKeys holds each key to one plan: where a repository has moved to another
// entry of its forge, the entry with most of a key's registrations keeps it.
func (t *takeover) settleKeys() {
	var uses []pair[provision.PublicKey, *plannedKey]
	for _, r := range t.agent.registrations {
		if l := t.heirs[r]; l != nil {
			uses = append(uses, pair[provision.PublicKey, *plannedKey]{l.record.Key, r.planned})
		}
	}
	home := most(uses)
	for r, l := range t.heirs {
		if home[l.record.Key] != r.planned {
			t.leave(l, "its key serves another entry of the forge, or another repository")
			delete(t.heirs, r)
		}
	}
}

// dropUnused wipes every key that no registration goes on with.
func (t *takeover) dropUnused() {
	used := map[provision.PublicKey]bool{}
	for _, l := range t.heirs {
		used[l.record.Key] = true
	}
	for public, k := range t.parked {
		if !used[public] {
			t.agent.ring.drop(k)
		}
	}
}

// resume hands the records over to their registrations.
func (t *takeover) resume() {
	taken := map[provision.PublicKey]bool{}
	verified := 0
	for _, r := range t.agent.registrations {
		l := t.heirs[r]
		if l == nil {
			continue
		}
		k := t.parked[l.record.Key]
		if !taken[l.record.Key] {
			taken[l.record.Key] = true
			t.agent.ring.add(k)
		}
		delete(t.agent.leftovers, l.record.ID())
		r.resume(l.record, k)
		if l.record.State == Verified {
			verified++
		}
	}
	if len(t.heirs) > 0 {
		t.agent.resumed = time.Now()
	}
	if len(t.parked) == 0 {
		return
	}
	t.agent.log.Info("keys taken over from the process before", slog.Int("keys", len(taken)),
		slog.Int("registrations", len(t.heirs)), slog.Int("verified", verified), slog.Int("keys_wiped", len(t.parked)-len(taken)))
}

// resume goes on where an earlier life was. The caller holds agent.mu.
func (r *registration) resume(rec Record, k *key.Key) {
	rec.Forge = r.forge.Name // which may be another now
	r.key, r.public, r.record = k, rec.Key, rec
	switch rec.State { //nolint:exhaustive // one that is retiring is not taken over
	case Intended:
		r.lost = rec.Outstanding > 0
	case Registered:
		r.condition, r.reason = ConditionRegistered, "not verified yet"
	case Verified:
		r.publish(rec)
	}
}

// shareKeys gives the key that most registrations of a plan go on with to the
// others of it as well. Those that still have it on their repository under a
// record that shall go get another key: what settles that record would take the
// new registration back.
func (t *takeover) shareKeys() {
	var uses []pair[*plannedKey, *key.Key]
	for _, r := range t.agent.registrations {
		if t.heirs[r] != nil {
			uses = append(uses, pair[*plannedKey, *key.Key]{r.planned, r.key})
		}
	}
	shared := most(uses)
	others := map[*plannedKey]*plannedKey{}
	for _, r := range t.agent.registrations {
		k := shared[r.planned]
		if k == nil {
			continue
		}
		r.planned.use(k)
		if r.key != nil || !t.agent.leavesLocked(r, publicKey(k)) {
			continue
		}
		if others[r.planned] == nil {
			others[r.planned] = &plannedKey{ring: t.agent.ring}
		}
		r.planned = others[r.planned]
	}
}

// leavesLocked reports whether a leftover has that key on the target of r. The
// caller holds mu.
func (a *Agent) leavesLocked(r *registration, public provision.PublicKey) bool {
	for _, l := range a.leftovers {
		t := l.record.Target
		if l.record.Key == public && l.record.ForgeURL == r.forge.URL &&
			t.Project == r.target.Project && strings.EqualFold(t.Path, r.target.Path) {
			return true
		}
	}
	return false
}

// pair says that a goes with b once more.
type pair[A, B comparable] struct {
	a A
	b B
}

// most returns for each a the b that it goes with most often; of equals the
// first.
func most[A, B comparable](pairs []pair[A, B]) map[A]B {
	count := map[pair[A, B]]int{}
	best := map[A]B{}
	for _, p := range pairs {
		count[p]++
		if count[p] > count[pair[A, B]{p.a, best[p.a]}] {
			best[p.a] = p.b
		}
	}
	return best
}
