package agent

import (
	"time"

	"deploykeyd/provision"
)

// State is where a registration stands. A registration that is gone has no
// record.
type State string

// The states, in the order of a life.
const (
	Intended   State = "intended"   // decided and durable; a request may or may not have taken effect
	Registered State = "registered" // the forge answered that it has the key
	Verified   State = "verified"   // real git has read the repository with the key
	Retiring   State = "retiring"   // to be revoked; may still be on the forge
)

// Record is what the journal knows about one registration: public facts only.
// Times are by the machine's own clock unless a field says otherwise.
type Record struct {
	Forge      string              `json:"forge"`     // the name in the configuration, for messages
	ForgeURL   string              `json:"forge_url"` // the forge's identity: names may change between runs
	Kind       provision.Kind      `json:"kind"`
	Target     provision.Target    `json:"target"`
	Key        provision.PublicKey `json:"key"`
	Title      string              `json:"title"` // the owner tag, as it was sent
	Access     provision.Access    `json:"access"`
	RemoteID   string              `json:"remote_id,omitempty"` // the forge's id; empty while intended
	State      State               `json:"state"`
	Boot       string              `json:"boot"` // boot id of the life that made it
	IntendedAt time.Time           `json:"intended_at"`
	VerifiedAt time.Time           `json:"verified_at,omitzero"`
	Expires    time.Time           `json:"expires"` // by the forge's clock
	// Outstanding counts the requests to register this key that may have been
	// sent and were not answered: each may take effect once, now or later.
	Outstanding int `json:"outstanding,omitempty"`
	// Asked is when the latest request to register was about to be sent, and
	// AbsentSince when a complete list, asked for after that, first did not show
	// the key.
	Asked       Moment `json:"asked,omitzero"`
	AbsentSince Moment `json:"absent_since,omitzero"`
}

// Moment is a point in time by two clocks. The machine's own may be corrected
// by hours between two lives, and a forge's may be wrong on one of its servers:
// only when both say that a time has passed has it passed.
type Moment struct {
	Forge time.Time `json:"forge"`
	Local time.Time `json:"local"`
}

// IsZero reports whether m is no moment.
func (m Moment) IsZero() bool { return m == Moment{} }

// longerAgo reports whether m lies more than d before now.
func (m Moment) longerAgo(d time.Duration, now Moment) bool {
	return now.Forge.Sub(m.Forge) > d && now.Local.Sub(m.Local) > d
}

// expired reports whether the owner tag's time is over.
func (r Record) expired(now Moment) bool {
	return now.Forge.After(r.Expires) && r.Asked.longerAgo(r.Expires.Sub(r.Asked.Forge), now)
}

// held reports whether the forge has answered that it has the key, which
// nothing has taken back since.
func (r Record) held() bool { return r.State == Registered || r.State == Verified }

// ID identifies the record: one key on one target of one forge.
func (r Record) ID() string {
	scope := "repository"
	if r.Target.Project {
		scope = "project"
	}
	return r.ForgeURL + "\x00" + scope + "\x00" + r.Target.Path + "\x00" + r.Key.Fingerprint()
}

// LandingWindow is how long after a request, or after a list that did not show
// its effect, the request may still take effect: the longest time that a request
// is waited for, and ten minutes for a forge or a proxy that works on after the
// connection is gone.
const LandingWindow = 30*time.Second + 10*time.Minute

// mayLand reports whether a request to register the key may still take effect
// although a list asked for at now does not show it. Two lists without it, more
// than the window apart, end that; for a key that the forge had, so does the
// window since the last request.
func (r Record) mayLand(now Moment) bool {
	switch {
	case r.Outstanding == 0:
		return false
	case r.State == Intended:
		return r.AbsentSince.IsZero() || !r.AbsentSince.longerAgo(LandingWindow, now)
	}
	return !r.Asked.longerAgo(LandingWindow, now)
}
