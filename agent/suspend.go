package agent

import (
	"context"
	"errors"
	"log/slog"
)

// errRevoked is why a successor would find no key to go on with.
var errRevoked = errors.New("suspend: the keys are being revoked, or were: restart the daemon for new ones")

// Suspend ends the work, so that a successor can go on from the parked keys and
// the journal with Resume. It begins no step any more and lets requests under
// way be answered, for as long as a stop would and at most until ctx ends; what
// is in doubt then the successor asks the forges. Nothing is withdrawn, wiped or
// revoked: what was lent stays lent, and the status stays what it was.
//
// Afterwards the agent does nothing by itself and writes nothing to the journal.
// Revoke goes on working, for a stop that comes before the successor has begun.
// Suspend returns an error when a revocation has begun, before or meanwhile:
// then there is nothing to hand over.
func (a *Agent) Suspend(ctx context.Context) error {
	if err := a.beginSuspension(); err != nil {
		return err
	}
	a.endWorkers(ctx, answerGrace)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.revokesLocked() {
		return errRevoked
	}
	inDoubt := 0
	for _, r := range a.registrations {
		if r.record.State == Intended && r.record.Outstanding > 0 {
			inDoubt++
		}
	}
	a.log.InfoContext(ctx, "suspended", slog.Int("registrations_in_doubt", inDoubt))
	return nil
}

func (a *Agent) beginSuspension() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.revokesLocked() {
		return errRevoked
	}
	a.suspended = true
	a.stopWork() // under the lock: beginWork begins nothing after it
	return nil
}
