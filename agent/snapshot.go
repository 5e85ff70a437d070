package agent

import (
	"slices"
	"strings"

	"deploykeyd/provision"
)

// Status returns a snapshot.
func (a *Agent) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Status{
		Version: a.options.Version, Fleet: a.options.Fleet, Machine: a.options.Machine, Boot: a.options.Boot,
		Phase: a.phase, Ready: !a.ready.IsZero(), Started: a.started, ReadySince: a.ready, Resumed: a.resumed,
		Forges:       make([]ForgeStatus, 0, len(a.forges)),
		Repositories: make([]RepositoryStatus, 0, len(a.registrations)),
		Remaining:    a.remnantsLocked(),
		Warnings:     append(append([]string{}, a.options.Warnings...), a.ring.warnings()...),
	}
	for _, f := range a.forges {
		s.Forges = append(s.Forges, ForgeStatus{Forge: f.Name, Kind: f.Kind, Use: a.use(f.Name, "")})
	}
	for _, r := range a.registrations {
		s.Repositories = append(s.Repositories, r.status())
	}
	return s
}

func (a *Agent) use(forge string, repo provision.Repository) Use {
	var u Use
	u.Signatures, u.Refused, u.LastUsed = a.options.Publisher.Used(forge, repo)
	return u
}

// status describes the registration. The caller holds agent.mu.
func (r *registration) status() RepositoryStatus {
	s := RepositoryStatus{
		Forge: r.forge.Name, Kind: r.forge.Kind,
		Repository: r.access.Repository, Access: r.access.Access,
		Condition: r.condition, Reason: r.reason, Next: r.next,
		Verified: r.record.VerifiedAt, Expires: r.record.Expires,
		Title: r.record.Title, RemoteID: r.record.RemoteID,
		Socket: r.access.Socket, Use: r.agent.use(r.forge.Name, r.access.Repository),
	}
	if r.agent.phase == Stopping && s.Condition == ConditionVerified { // withdrawn already
		s.Condition, s.Reason = ConditionRetiring, "being revoked"
	}
	if !r.public.IsZero() {
		s.Fingerprint = r.public.Fingerprint()
	}
	return s
}

// StatusOf describes what a journal holds when no agent runs: everything in it
// may remain on a forge, and so may what unreadable says could not be read.
func StatusOf(records []Record, unreadable error) Status {
	s := Status{Phase: Stopped, Forges: []ForgeStatus{}, Repositories: []RepositoryStatus{}, Remaining: []Remnant{}, Warnings: []string{}}
	slices.SortFunc(records, func(a, b Record) int { return strings.Compare(a.ID(), b.ID()) })
	for _, rec := range records {
		l := leftover{record: rec, reason: "the daemon is not running; the journal says " + string(rec.State)}
		l.next = "start the daemon, or run deploykeyd revoke"
		s.Remaining = append(s.Remaining, l.remnant())
	}
	if unreadable != nil {
		s.Remaining = append(s.Remaining, unreadableRemnant(unreadable))
	}
	return s
}
