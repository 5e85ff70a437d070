package provision

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Class says what a forge's refusal means for the one who asked.
type Class string

// The classes. Only RateLimited and Transient are worth a retry.
const (
	Exists         Class = "exists"           // this key is on this target already
	InUseElsewhere Class = "in use elsewhere" // the forge knows this key from another place: a new keypair is needed
	TitleClash     Class = "title clash"      // another key on this target has the title
	Invalid        Class = "invalid"          // the forge refuses the key or the request as such
	BadCredential  Class = "bad credential"   // the forge does not know the credential any more
	Denied         Class = "denied"           // the credential lacks the right
	PolicyForbids  Class = "policy forbids"   // deploy keys are switched off
	NotFound       Class = "not found"        // the target does not exist, or is hidden from the credential
	Moved          Class = "moved"            // the target has another name now
	RateLimited    Class = "rate limited"
	Transient      Class = "transient" // the forge or the way to it is in trouble
)

// Retryable reports whether the same request may succeed later without a
// person doing something.
func (c Class) Retryable() bool { return c == RateLimited || c == Transient }

// Error is a forge's refusal or failure, classed once where the reply was read.
// Its text never holds a credential, a query string or more than a line of the
// forge's words.
type Error struct {
	Op         string // "register", "list", "revoke", "time"
	Forge      string // the forge's name in the configuration
	Target     Target // zero where the request had none
	Class      Class
	Status     int           // HTTP status; 0 without a reply
	RetryAfter time.Duration // how long the forge asked to wait; 0 if it did not say
	Uncertain  bool          // the request may have taken effect, or may still
	Message    string        // the forge's own words, or what went wrong on the way to it
	Next       string        // the next step for a person; may be empty
	Err        error         // the cause, where there is one below HTTP
}

// Error names the operation, target, forge, class and the forge's words.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Target != (Target{}) {
		b.WriteString(" " + e.Target.String())
	}
	if e.Forge != "" {
		b.WriteString(" on " + e.Forge)
	}
	b.WriteString(": " + string(e.Class))
	if e.Status != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	return b.String()
}

// Unwrap returns the cause below HTTP, such as a context's or a dialer's error.
func (e *Error) Unwrap() error { return e.Err }

// ClassOf returns the class of the first *Error in err's chain. An error that
// no forge classed is Transient: what is not understood is not given up on.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return Transient
}

// IsUncertain reports whether a request that ended in err may have taken
// effect. An error that no forge classed is uncertain.
func IsUncertain(err error) bool {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Uncertain
	}
	return err != nil
}

// NextStep returns the next step that the first *Error in err's chain names.
func NextStep(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Next
	}
	return ""
}
