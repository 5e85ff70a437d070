package agent

import (
	"time"

	"deploykeyd/provision"
)

// Phase is where the whole agent stands.
type Phase string

// The phases.
const (
	Starting Phase = "starting" // reading the journal
	Serving  Phase = "serving"
	Stopping Phase = "stopping"
	Stopped  Phase = "stopped" // no agent runs; only the journal speaks
	Revoked  Phase = "revoked" // told to revoke everything; nothing is registered again in this life
)

// Condition is where one repository stands, as status shows it.
type Condition string

// The conditions of a repository.
const (
	ConditionWaiting    Condition = "waiting"    // not registered yet; Reason says why when something is in the way
	ConditionRegistered Condition = "registered" // on the forge, not proven yet
	ConditionVerified   Condition = "verified"   // proven and lent to the builds
	ConditionFailed     Condition = "failed"     // will not work until a person acts; Next says what to do
	ConditionRetiring   Condition = "retiring"   // withdrawn, being revoked
)

// Status is a snapshot of the agent. Its JSON form is the output of
// "deploykeyd status --json": fields may be added, never renamed.
type Status struct {
	Version      string             `json:"version"`
	Fleet        string             `json:"fleet"`
	Machine      string             `json:"machine"`
	Boot         string             `json:"boot"`
	Phase        Phase              `json:"phase"`
	Ready        bool               `json:"ready"`
	Started      time.Time          `json:"started"`
	ReadySince   time.Time          `json:"ready_since,omitzero"`
	Resumed      time.Time          `json:"resumed,omitzero"` // when this process took keys over from the one before it
	Forges       []ForgeStatus      `json:"forges"`
	Repositories []RepositoryStatus `json:"repositories"`
	// Remaining lists keys that may be on a forge although no repository above
	// uses them: what an earlier life left, or a request whose answer was lost.
	Remaining []Remnant `json:"remaining"`
	Warnings  []string  `json:"warnings"`
}

// RepositoryStatus is one repository in a Status.
type RepositoryStatus struct {
	Forge       string               `json:"forge"`
	Kind        provision.Kind       `json:"kind"`
	Repository  provision.Repository `json:"repository"`
	Access      provision.Access     `json:"access"`
	Condition   Condition            `json:"condition"`
	Reason      string               `json:"reason,omitempty"`
	Next        string               `json:"next,omitempty"`        // the next step for a person
	Fingerprint string               `json:"fingerprint,omitempty"` // of the public key
	Title       string               `json:"title,omitempty"`
	RemoteID    string               `json:"remote_id,omitempty"`
	Socket      string               `json:"socket,omitempty"` // the repository's own; empty without
	Verified    time.Time            `json:"verified,omitzero"`
	Expires     time.Time            `json:"expires,omitzero"` // by the forge's clock
	Use
}

// Use is what the builds did with keys in this life. Which repository a client
// wanted is its own claim, where one key opens several.
type Use struct {
	Signatures uint64    `json:"signatures"`
	Refused    uint64    `json:"refused"`
	LastUsed   time.Time `json:"last_used,omitzero"` // the last signature
}

// ForgeStatus is what can be said of a forge and of none of its repositories.
type ForgeStatus struct {
	Forge string         `json:"forge"`
	Kind  provision.Kind `json:"kind"`
	Use                  // of clients that did not say which repository they wanted
}

// Remnant is a key that may be on a forge and should not be.
type Remnant struct {
	Forge       string `json:"forge"`
	Target      string `json:"target"`
	Title       string `json:"title"`
	Fingerprint string `json:"fingerprint"`
	RemoteID    string `json:"remote_id,omitempty"`
	Reason      string `json:"reason"`
	Next        string `json:"next,omitempty"`
}
