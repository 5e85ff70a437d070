package control

import "deploykeyd/agent"

// The paths. A path's first part changes when the meaning of an answer does;
// members may be added to answers at any time.
const (
	statusPath = "/v1/status" // GET: agent.Status
	readyPath  = "/v1/ready"  // GET ?wait=30s: agent.Status, with 200 when ready and 503 when not in that time
	verifyPath = "/v1/verify" // POST: agent.Status
	revokePath = "/v1/revoke" // POST ?timeout=20s: revocation, in that time
)

// revocation is the answer to a revocation: what may remain when it ended or
// its time was over.
type revocation struct {
	Remaining []agent.Remnant `json:"remaining"`
}

// problem is the answer to a request that was refused or failed.
type problem struct {
	Error string `json:"error"`
	Next  string `json:"next,omitempty"` // the next step for a person
}
