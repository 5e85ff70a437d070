package provision

import (
	"context"
	"iter"
	"time"
)

// Access is what a deploy key may do.
type Access string

// The two kinds of access.
const (
	Read  Access = "read"
	Write Access = "write"
)

// KeyRequest asks for a registration.
type KeyRequest struct {
	Title  string    // an OwnerTag in its text form
	Key    PublicKey // sent without a comment
	Access Access    // always sent explicitly: left out, two forges would allow pushes
	// Expires is set as the key's native expiry where the forge has one.
	Expires time.Time
}

// Registration is one key on one target, as the forge shows it.
type Registration struct {
	ID      string // the forge's id of the key on this target
	Title   string
	Key     PublicKey // zero where the forge's text is not a key that we can read
	Access  Access
	Created time.Time // by the forge's clock; zero where it does not say
}

// Forge registers deploy keys on a git hosting service. All errors are *Error.
// Implementations are safe for concurrent use.
type Forge interface {
	// Register puts a key on a target. Asked again for the same key on the same
	// target, it returns the registration that is there. An error whose
	// Uncertain is set leaves open whether the key was registered: only List
	// can settle that.
	Register(context.Context, Target, KeyRequest) (Registration, error)
	// List yields every deploy key on the target, whoever made it. After an
	// error it yields nothing more; a list that ended without one is complete.
	List(context.Context, Target) iter.Seq2[Registration, error]
	// Revoke takes a registration, seen on that target in this run, off it. One
	// that is absent already is no error. Only a later List proves the result.
	Revoke(context.Context, Target, Registration) error
}

// Clock is an optional ability of a Forge: the time by the forge's own clock,
// from the Date header of a reply in this run. It makes a request only when no
// reply has been seen yet.
type Clock interface {
	Time(context.Context) (time.Time, error)
}

// Find returns the registration of key on the target, and false when a complete
// list does not have it. An entry that is the key's by its owner tag, and whose
// text is no key that can be read, leaves that open: it is an *Error.
func Find(ctx context.Context, f Forge, t Target, key PublicKey) (Registration, bool, error) {
	unreadable := false
	for r, err := range f.List(ctx, t) {
		if err != nil {
			return Registration{}, false, err
		}
		if r.Key == key {
			return r, true, nil
		}
		if tag, err := ParseOwnerTag(r.Title); err == nil && r.Key.IsZero() && tag.Names(key) {
			unreadable = true
		}
	}
	if unreadable {
		return Registration{}, false, &Error{
			Op: "list", Target: t, Class: Transient,
			Message: "the forge lists the key with a text that cannot be read",
			Next:    "look at the repository's deploy keys in the forge's web pages, and remove the one whose title has " + key.TagHash() + " in it",
		}
	}
	return Registration{}, false, nil
}
