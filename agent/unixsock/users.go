package unixsock

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// askAgain is the least time between two rounds of look-ups that strangers cause.
	askAgain = 5 * time.Second
	// believe is how long a name keeps its id without being looked up again:
	// ids are given away anew, to dynamic users above all.
	believe = time.Minute
	// patience is how long a peer that was known when its name was last looked
	// up waits for the next answer. It goes in with the last one after that.
	patience = 500 * time.Millisecond
	// fewGroups is how many groups of a peer are read where others wait: so many
	// take the kernel some microseconds.
	fewGroups = 256
)

// Users decides whether a peer is one of those that the configuration lists: by
// its user, or by a group of its process. It is safe for concurrent use.
//
// Groups are those that the process itself had when it connected, its effective
// one and the supplementary ones; the group database is asked for ids and never
// for members. A build that has entered a group, by newgrp(1) or because its
// service says SupplementaryGroups=, is in it whatever the database knows; one
// that has given its groups up is not. And a member that was removed from the
// database stays one in the processes that it has, until it logs in again: so
// it is with files too, and asking the database would not take a key from who
// may pass the connection on.
type Users struct {
	users, groups listed
	logger        *slog.Logger

	mu      sync.Mutex // guards the rest, and the ids of users and groups
	asked   time.Time  // when the last round that has ended began
	pending *round     // nil when nobody is being asked
}

// NewUsers returns the decision for the listed users and groups, each by name
// or by numeric id. Where resolve has no function, getent(1) is asked; logger
// may be nil. No name is looked up before Refresh or the first Allows.
func NewUsers(users, groups []string, resolve Resolver, logger *slog.Logger) *Users {
	if resolve.User == nil {
		resolve.User = getent("passwd")
	}
	if resolve.Group == nil {
		resolve.Group = getent("group")
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Users{
		users:  newListed("user", users, resolve.User, overflowOf(overflowUIDFile)),
		groups: newListed("group", groups, resolve.Group, overflowOf(overflowGIDFile)),
		logger: logger,
	}
}

// Allows reports whether p's user or one of its groups is listed.
//
// Uid 0 is let in only when users list "root" or "0", whatever other names may
// resolve to it and whatever groups are listed. Gid 0 counts only when groups
// list "root" or "0"; then every process with that group is let in whose uid is
// not 0. Nobody is let in for what the kernel shows in the place of ids that
// our user namespace does not have: a peer with uid 65534, -1 or the kernel's
// own overflow uid is refused even if its group is listed, and such gids match
// no group.
//
// For a peer that it does not know it looks the names up again, at most every
// five seconds, and so may take some seconds. A peer that it does know waits
// half a second at most, once the last answer is a minute old, and one that is
// listed by number never does.
func (u *Users) Allows(p Peer) bool {
	id, possible := u.identify(p, MaxGroups)
	if !possible || u.byNumber(id) {
		return possible
	}
	if len(u.users.names) == 0 && len(u.groups.names) == 0 {
		return false
	}
	known, pending := u.look(id)
	if pending == nil {
		return known
	}
	pending.wait(known)
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.byName(id)
}

// Knows reports, without asking anybody and so at once, whether p is let in as
// far as the last look-up told. It does not know who is let in for the sake of a
// group and is in hundreds of them. It is no permission: that is Allows's.
func (u *Users) Knows(p Peer) bool {
	id, possible := u.identify(p, fewGroups)
	if !possible || u.byNumber(id) {
		return possible
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.byName(id)
}

// Refresh looks all names up and returns what is wrong with those that mean
// nobody yet. They may appear later: the error is for a warning. It takes some
// seconds at most. When a round of look-ups is under way its result is returned.
func (u *Users) Refresh(ctx context.Context) error {
	u.mu.Lock()
	if u.pending == nil {
		u.begin(context.WithoutCancel(ctx)) // others may wait for it too
	}
	pending := u.pending
	u.mu.Unlock()
	select {
	case <-pending.done:
		return pending.problems
	case <-ctx.Done():
		return ctx.Err()
	}
}

// identity is what of a peer decides.
type identity struct {
	uid, gid uint32
	groups   []uint32 // nil as well when no group is listed
}

// identify returns what decides about p, with its groups if they are not more
// than most. It is not possible that p is let in
// when its uid stands for no particular user, or is 0 and not listed.
func (u *Users) identify(p Peer, most int) (id identity, possible bool) {
	if u.users.nobody(p.UID) || p.UID == 0 && !slices.Contains(u.users.numbers, 0) {
		return identity{}, false
	}
	id = identity{uid: p.UID, gid: p.GID}
	if p.Groups != nil && len(u.groups.numbers)+len(u.groups.names) > 0 {
		id.groups = p.Groups(most)
	}
	return id, true
}

func (id identity) in(gid uint32) bool { return id.gid == gid || slices.Contains(id.groups, gid) }

func (u *Users) byNumber(id identity) bool {
	return slices.Contains(u.users.numbers, id.uid) || slices.ContainsFunc(u.groups.numbers, id.in)
}

// byName reports whether a name has one of the ids. u.mu is held.
func (u *Users) byName(id identity) bool {
	for _, uid := range u.users.ids {
		if uid == id.uid {
			return true
		}
	}
	for _, gid := range u.groups.ids {
		if id.in(gid) {
			return true
		}
	}
	return false
}

// look reports whether a name has one of the ids, and which round of look-ups
// to wait for before that is believed: nil when the answer stands.
func (u *Users) look(id identity) (known bool, pending *round) {
	u.mu.Lock()
	defer u.mu.Unlock()
	known = u.byName(id)
	age := time.Since(u.asked)
	if known && age < believe {
		return true, nil
	}
	if u.pending == nil {
		if !known && age < askAgain {
			return false, nil
		}
		u.begin(context.Background())
	}
	return known, u.pending
}
