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
// Times are the machine's own clock unless a field says otherwise.
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
	// Asked is the latest moment at which a request to register may have been
	// on its way. Zero for an intent whose request was never sent.
	Asked time.Time `json:"asked,omitzero"`
	// AbsentSince is when a complete list, asked for after Asked, first did not
	// show an intended key; zero when none has. Until the key has been absent
	// for long enough, the intent may still land.
	AbsentSince time.Time `json:"absent_since,omitzero"`
}

// ID identifies the record: one key on one target of one forge.
func (r Record) ID() string {
	scope := "repository"
	if r.Target.Project {
		scope = "project"
	}
	return r.ForgeURL + "\x00" + scope + "\x00" + r.Target.Path + "\x00" + r.Key.Fingerprint()
}
