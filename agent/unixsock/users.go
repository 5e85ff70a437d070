package unixsock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// overflowUID is the user that the kernel shows, unless it was told another
// one, for a uid that our user namespace does not have (user_namespaces(7)), and
// mostly "nobody" too: it stands for everybody, so it is never let in.
const overflowUID = 65534

// overflowFile holds the uid that the kernel shows (proc_sys_kernel(5)).
const overflowFile = "/proc/sys/kernel/overflowuid"

// invalidUID is (uid_t)-1, which stands for "no user" in system calls.
const invalidUID = 1<<32 - 1

const (
	// askAgain is the least time between two rounds of look-ups that strangers cause.
	askAgain = 5 * time.Second
	// believe is how long a name keeps its uid without being looked up again:
	// uids are given away anew, to dynamic users above all.
	believe = time.Minute
	// lookupTimeout bounds one round of look-ups.
	lookupTimeout = 3 * time.Second
)

// ErrUnknownUser is in the chain of a Resolver's error when it is certain that
// no user has the name.
var ErrUnknownUser = errors.New("no such user")

// Resolver returns the uid of the user with that name.
type Resolver func(ctx context.Context, name string) (uint32, error)

// Users decides whether a peer is one of the users that the configuration
// lists, by name or by numeric uid. It is safe for concurrent use.
type Users struct {
	names   []string            // to be resolved
	numbers map[uint32]struct{} // listed as such
	root    bool                // listed as "root" or "0"
	never   uint32              // the kernel's overflow uid
	resolve Resolver
	logger  *slog.Logger

	asking sync.Mutex // held during a round of look-ups
	mu     sync.RWMutex
	byName map[string]uint32
	asked  time.Time // when the last round began
}

// NewUsers returns the decision for the listed users. resolve may be nil, which
// means Getent; logger may be nil. No name is looked up before Refresh or the
// first Allows.
func NewUsers(listed []string, resolve Resolver, logger *slog.Logger) *Users {
	if resolve == nil {
		resolve = Getent
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	u := &Users{
		numbers: map[uint32]struct{}{}, resolve: resolve, logger: logger,
		byName: map[string]uint32{}, never: overflowOf(overflowFile),
	}
	for _, s := range listed {
		id, err := strconv.ParseUint(s, 10, 32)
		switch {
		case s == "root" || err == nil && id == 0:
			u.root = true
		case err == nil:
			u.numbers[uint32(id)] = struct{}{}
		default:
			u.names = append(u.names, s)
		}
	}
	return u
}

// Allows reports whether p's user is listed. Root is only let in when listed as
// "root" or "0", whatever other names may resolve to it; uid 65534 and the
// kernel's own overflow uid never. For a uid that it does not know it looks the
// names up again, at most every five seconds, so it may take up to three
// seconds.
func (u *Users) Allows(p Peer) bool {
	switch p.UID {
	case 0:
		return u.root
	case overflowUID, invalidUID, u.never:
		return false
	}
	if _, listed := u.numbers[p.UID]; listed {
		return true
	}
	if len(u.names) == 0 {
		return false
	}
	known, age := u.look(p.UID)
	if known && age < believe || !known && age < askAgain {
		return known
	}
	_ = u.refresh(context.Background(), age)
	known, _ = u.look(p.UID)
	return known
}

// Knows reports, without asking anybody and so at once, whether p's user is
// listed as far as the last look-up told. It is no permission: that is Allows's.
func (u *Users) Knows(p Peer) bool {
	_, listed := u.numbers[p.UID]
	known, _ := u.look(p.UID)
	return listed || known || p.UID == 0 && u.root
}

// overflowOf reads the kernel's overflow uid; where it cannot be read, the
// kernel's default stands.
func overflowOf(path string) uint32 {
	text, err := os.ReadFile(path)
	if err != nil {
		return overflowUID
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	if err != nil {
		return overflowUID
	}
	return uint32(id)
}

// look reports whether uid belongs to a name, and how long ago the names were
// looked up.
func (u *Users) look(uid uint32) (known bool, age time.Duration) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	for _, id := range u.byName {
		known = known || id == uid
	}
	if u.asked.IsZero() {
		return known, believe
	}
	return known, time.Since(u.asked)
}

// Refresh looks all names up and returns what is wrong with those that no user
// has yet. They may appear later: the error is for a warning. It takes some
// seconds at most.
func (u *Users) Refresh(ctx context.Context) error { return u.refresh(ctx, 0) }

// refresh looks all names up, unless another caller has done so while this one,
// which saw the names at the given age, waited for its turn.
func (u *Users) refresh(ctx context.Context, age time.Duration) error {
	u.asking.Lock()
	defer u.asking.Unlock()
	u.mu.RLock()
	asked, byName := u.asked, maps.Clone(u.byName)
	u.mu.RUnlock()
	if age > 0 && !asked.IsZero() && time.Since(asked) < age {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	began := time.Now()
	var problems []error
	for _, name := range u.names {
		id, err := u.lookup(ctx, name)
		switch {
		case err == nil:
			byName[name] = id
		case errors.Is(err, ErrUnknownUser):
			delete(byName, name)
		default: // no answer: the last one stands
			u.logger.WarnContext(ctx, "user lookup failed", slog.String("user", name), slog.Any("error", err))
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("user %q: %w", name, err))
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.byName, u.asked = byName, began
	return errors.Join(problems...)
}

// lookup refuses names that a look-up could take for an option, a number or
// several names.
func (u *Users) lookup(ctx context.Context, name string) (uint32, error) {
	if name == "" || len(name) > 256 || strings.ContainsAny(name[:1], "+-") ||
		strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == ':' || r == 0x7f }) {
		return 0, fmt.Errorf("%w: the name cannot be a user's", ErrUnknownUser)
	}
	return u.resolve(ctx, name)
}
