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
	lookups       *lookups
	logger        *slog.Logger

	mu      sync.Mutex // guards the rest, and the ids of users and groups
	asked   time.Time  // when the last round that has ended began
	pending *round     // nil when nobody is being asked
}

// NewUsers returns the decision for the listed users and groups, each by name
// or by numeric id. Where resolve has no function, getent(1) is asked; logger
// may be nil. No name is looked up before Refresh or the first Admit.
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
		users:   newListed("user", users, resolve.User, overflowOf(overflowUIDFile)),
		groups:  newListed("group", groups, resolve.Group, overflowOf(overflowGIDFile)),
		lookups: newLookups(),
		logger:  logger,
	}
}

// Account is to whom a peer's share of a service is counted: the user, where the
// list names it, else the listed group that lets it in: a member may have
// thousands of (subordinate) uids.
type Account struct {
	Group bool
	ID    uint32 // of the group, or of the user
}

// Admit reports whether p's user or one of its groups is listed, and whose share
// p takes. For a peer that is not let in that is its own user.
//
// Uid 0 is let in only when users list "root" or "0", whatever other names may
// resolve to it and whatever groups are listed. Gid 0 counts only when groups
// list "root" or "0"; then every process with that group is let in whose uid is
// not 0. Nobody is let in for what the kernel shows in the place of ids that
// our user namespace does not have: a peer with uid 65534, -1 or the kernel's
// own overflow uid is refused even if its group is listed, and such gids match
// no group.
//
// A user that is listed has its own account whatever its groups are, by name as
// soon as a look-up has told its uid. Of several listed groups the account is
// that of the first which is listed by number, or else by name.
//
// For a peer that it does not know it looks the names up again, at most every
// five seconds, and so may take four seconds. A peer that it does know waits
// half a second at most, once the last answer is a minute old, and one that is
// listed by number never does.
//
// Of a connection that has been closed the kernel tells no groups: a refusal that
// comes after that says nothing about the peer.
func (u *Users) Admit(p Peer) (Account, bool) {
	id, possible := u.identify(p, MaxGroups)
	if !possible {
		return Account{ID: p.UID}, false
	}
	account, known, pending := u.look(id)
	if pending == nil {
		return account, known
	}
	pending.wait(known)
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.find(id)
}

// Known reports, without asking anybody and so at once, what Admit would as far
// as the last look-up told. It does not know who is let in for the sake of a
// group and is in hundreds of them. It is no permission: that is Admit's.
func (u *Users) Known(p Peer) (Account, bool) {
	id, possible := u.identify(p, fewGroups)
	if !possible {
		return Account{ID: p.UID}, false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.find(id)
}

// Refresh looks all names up and returns what is wrong with those that mean
// nobody yet. They may appear later: the error is for a warning. It takes four
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

// identify returns what decides about p, with its supplementary groups unless
// they are more than most. It is not possible that p is let in when its uid
// stands for no particular user, or is 0 and not listed.
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

// byNumber reports whether id is let in whatever the names mean.
func (u *Users) byNumber(id identity) bool {
	return slices.Contains(u.users.numbers, id.uid) || slices.ContainsFunc(u.groups.numbers, id.in)
}

// find returns whose share id takes, and whether it is let in by what the names
// meant last. u.mu is held.
func (u *Users) find(id identity) (_ Account, known bool) {
	for uid := range u.users.means() {
		if uid == id.uid {
			return Account{ID: uid}, true
		}
	}
	for gid := range u.groups.means() {
		if id.in(gid) {
			return Account{Group: true, ID: gid}, true
		}
	}
	return Account{ID: id.uid}, false
}

// look is find, and says which round of look-ups to wait for before that is
// believed: nil when the answer stands.
func (u *Users) look(id identity) (account Account, known bool, pending *round) {
	u.mu.Lock()
	defer u.mu.Unlock()
	account, known = u.find(id)
	enough := askAgain
	if known {
		enough = believe
	}
	switch age := time.Since(u.asked); {
	case slices.Contains(u.users.numbers, id.uid), len(u.users.names)+len(u.groups.names) == 0:
		return account, known, nil // whatever a look-up says
	case age < enough && (known || u.pending == nil):
		return account, known, nil
	case u.pending == nil:
		u.begin(context.Background())
	}
	if u.byNumber(id) {
		return account, known, nil // the round may tell whose share it takes from then on
	}
	return account, known, u.pending
}
