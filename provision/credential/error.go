package credential

import (
	"fmt"
	"time"
)

// Reason says what kept a source from giving a credential.
type Reason string

// The reasons. Only Trouble and Limited are worth another try.
const (
	Trouble Reason = "trouble" // the other side, or the way to it, does not work now
	Limited Reason = "limited" // the forge was asked too often
	Unknown Reason = "unknown" // the forge does not know what was presented to it
	Refused Reason = "refused" // the forge knows it and gives no token for it
	Moved   Reason = "moved"   // the forge points to another place
)

// Passing reports whether the same source may give the credential later without
// a person doing something.
func (r Reason) Passing() bool { return r == Trouble || r == Limited }

// Error is the failure of a source that asked a forge or a program for the
// credential.
// Its text never holds a secret or more than a line of the other side's words.
type Error struct {
	Reason     Reason
	Status     int           // of the forge's reply; 0 without one
	RetryAfter time.Duration // how long to wait at least, by the forge or its documentation; 0 if they do not say
	Message    string        // what went wrong
	Next       string        // the next step for a person
	Err        error         // the cause, where there is one below HTTP
}

// Error says what went wrong.
func (e *Error) Error() string {
	if e.Status == 0 {
		return e.Message
	}
	return fmt.Sprintf("%s (HTTP %d)", e.Message, e.Status)
}

// Unwrap returns the cause below HTTP, such as a context's or a dialer's error.
func (e *Error) Unwrap() error { return e.Err }
