package unixsock

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
)

// overflowID is the id that the kernel shows, unless it was told another one,
// for a uid or gid that our user namespace does not have (user_namespaces(7)),
// and mostly "nobody" too: it stands for everybody, so it never lets anybody in.
const overflowID = 65534

// Files that hold the ids that the kernel shows (proc_sys_kernel(5)).
const (
	overflowUIDFile = "/proc/sys/kernel/overflowuid"
	overflowGIDFile = "/proc/sys/kernel/overflowgid"
)

// invalidID is (uid_t)-1 and (gid_t)-1, which stand for "none" in system calls.
const invalidID = 1<<32 - 1

// ErrUnknownName is in the chain of a Resolver's error when it is certain that
// nobody has the name.
var ErrUnknownName = errors.New("no such name")

// errNobody is in the chain of why a name that has an id means nobody.
var errNobody = errors.New("the name's id lets nobody in")

// Resolver returns the ids of users and groups by their names.
type Resolver struct {
	User, Group func(ctx context.Context, name string) (uint32, error)
}

// listed is what the configuration lists of the users, or of the groups.
type listed struct {
	kind    string   // "user" or "group", for messages
	numbers []uint32 // listed as such; 0 also as "root"
	names   []string // all others, to be resolved
	resolve func(ctx context.Context, name string) (uint32, error)
	never   uint32 // the kernel's overflow id

	// ids of the names that have one which may let somebody in. A round puts
	// another map in its place, under Users.mu.
	ids map[string]uint32
}

func newListed(kind string, entries []string, resolve func(context.Context, string) (uint32, error), never uint32) listed {
	l := listed{kind: kind, resolve: resolve, never: never}
	for _, s := range entries {
		id, err := strconv.ParseUint(s, 10, 32)
		switch {
		case s == "root":
			l.numbers = append(l.numbers, 0)
		case err != nil && slices.Contains(l.names, s): // once is enough
		case err != nil:
			l.names = append(l.names, s)
		case !l.nobody(uint32(id)):
			l.numbers = append(l.numbers, uint32(id))
		}
	}
	return l
}

// means yields the ids that let somebody in, in the order of the list, those that
// are listed as such first. Users.mu is held.
func (l *listed) means() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for _, id := range l.numbers {
			if !yield(id) {
				return
			}
		}
		for _, name := range l.names {
			if id, ok := l.ids[name]; ok && !yield(id) {
				return
			}
		}
	}
}

// nobody reports whether an id stands for no particular user or group.
func (l *listed) nobody(id uint32) bool {
	return id == overflowID || id == invalidID || id == l.never
}

// lookup returns the id of a name that may let somebody in. It asks for no name
// that could be taken for an option, a number or several names: getent(1) cuts a
// number that is too large down to another user's.
func (l *listed) lookup(ctx context.Context, name string) (uint32, error) {
	if name == "" || len(name) > 256 || strings.ContainsAny(name[:1], "+-") || strings.Trim(name, "0123456789") == "" ||
		strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == ':' || r == 0x7f }) {
		return 0, fmt.Errorf("%w: the name cannot be a %s's", ErrUnknownName, l.kind)
	}
	id, err := l.resolve(ctx, name)
	switch {
	case err != nil:
		return 0, err
	case id == 0:
		return 0, fmt.Errorf("%w: id 0 counts only when listed as \"root\"", errNobody)
	case l.nobody(id):
		return 0, fmt.Errorf("%w: id %d stands for no particular %s: list another", errNobody, id, l.kind)
	}
	return id, nil
}

// overflowOf reads the kernel's overflow id; where it cannot be read, the
// kernel's default stands.
func overflowOf(path string) uint32 {
	text, err := os.ReadFile(path)
	if err != nil {
		return overflowID
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	if err != nil {
		return overflowID
	}
	return uint32(id)
}
