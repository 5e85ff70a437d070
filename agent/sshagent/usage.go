package sshagent

import (
	"strings"
	"sync"
	"time"

	"deploykeyd/provision"
)

// usage counts what the users' sockets did. It counts by repository only those
// that the configuration has, so that no client makes it grow.
type usage struct {
	mu    sync.Mutex
	total tally
	by    map[counted]*tally
}

type tally struct {
	signatures, refused uint64
	last                time.Time // of the signatures
}

// counted is what a tally is for; the empty repository stands for what cannot be
// laid to one of the forge's.
type counted struct {
	forge      string
	repository string // canonical
}

// canonical returns the one spelling of what provision.Same takes for the same.
func canonical(repo provision.Repository) string { return strings.ToLower(string(repo)) }

// know makes a repository one that is counted, from now on until the end.
func (u *usage) know(forge string, repo provision.Repository) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.by == nil {
		u.by = map[counted]*tally{}
	}
	for _, c := range []counted{{forge, canonical(repo)}, {forge, ""}} {
		if u.by[c] == nil {
			u.by[c] = &tally{}
		}
	}
}

func (u *usage) signed(e event) {
	u.add(e, func(t *tally) { t.signatures, t.last = t.signatures+1, time.Now() })
}

func (u *usage) refused(e event) { u.add(e, func(t *tally) { t.refused++ }) }

// add counts in the total and, as far as e tells, at the repository or at the
// forge. Of a nil usage nothing is counted.
func (u *usage) add(e event, count func(*tally)) {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	count(&u.total)
	at := u.by[counted{e.forge, canonical(provision.Repository(e.repository))}]
	if at == nil {
		at = u.by[counted{e.forge, ""}]
	}
	if at != nil {
		count(at)
	}
}

// of returns what was counted at a repository.
func (u *usage) of(forge string, repo provision.Repository) tally {
	u.mu.Lock()
	defer u.mu.Unlock()
	if t := u.by[counted{forge, canonical(repo)}]; t != nil {
		return *t
	}
	return tally{}
}

// all returns what was counted in total.
func (u *usage) all() tally {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.total
}

// Used returns what the users' sockets, shared and the repository's own, have
// done for a repository since the process began: signatures, refusals, and the
// time of the last signature, which is zero when there was none. It goes on
// counting when a key takes another's place, and keeps what it has when the last
// one is withdrawn. The empty repository has what could not be laid to one
// repository of the forge. Verification sockets are not counted.
func (s *Server) Used(forge string, repo provision.Repository) (signatures, refused uint64, last time.Time) {
	t := s.uses.of(forge, repo)
	return t.signatures, t.refused, t.last
}

// Totals returns how many signatures the users' sockets have made and how many
// requests they have refused since the process began. The refusals include those
// that are no forge's, of users that are not listed above all, and those that
// the audit log left out.
func (s *Server) Totals() (signatures, refused uint64) {
	t := s.uses.all()
	return t.signatures, t.refused
}
