package credential

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// redacted is what every attempt to print a Secret gives.
const redacted = "[redacted]"

// Secret is a token or password, with the time of its end where that is known.
// Whatever prints or marshals it gets "[redacted]". The zero value holds no
// secret. Compare with Equal.
type Secret struct {
	// A pointer, and to a string: fmt prints the unexported fields of a struct
	// that holds a Secret without asking its methods, and of a pointer to a string
	// it prints the address, where it would open one to a struct or slice. A
	// panic's traceback shows the address of an argument as well.
	text    *string
	expires time.Time
}

// NewSecret returns the secret whose text is s and whose end is not known.
func NewSecret(s string) Secret { return Secret{text: &s} }

// NewExpiring returns the secret whose text is s and that its forge refuses from
// the time expires on, by this machine's clock.
func NewExpiring(s string, expires time.Time) Secret { return Secret{&s, expires} }

// Reveal returns the secret's text. It belongs in a request header and nowhere
// else.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Expires returns when the secret ends, by this machine's clock; zero where that
// is not known.
func (s Secret) Expires() time.Time { return s.expires }

// IsZero reports whether s holds no text.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// Equal reports whether s and other have the same text.
func (s Secret) Equal(other Secret) bool { return s.Reveal() == other.Reveal() }

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (Secret) GoString() string { return redacted }

// Format prints "[redacted]" whatever the verb.
func (Secret) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[redacted]" as a JSON string.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// The faults of a credential's text. None of them quotes it.
var (
	errEmpty    = errors.New("it is empty")
	errSeveral  = errors.New("it has several lines, one is expected")
	errNotPlain = errors.New("it has spaces, control characters or letters outside ASCII, which no token has")
)

// parse checks that text can stand in a request header as it is: one line of
// visible ASCII.
func parse(text []byte) (Secret, error) {
	if len(text) == 0 {
		return Secret{}, errEmpty
	}
	plain := true
	for _, c := range text {
		if c == '\n' || c == '\r' {
			return Secret{}, errSeveral
		}
		plain = plain && c > ' ' && c < 0x7f
	}
	if !plain {
		return Secret{}, errNotPlain
	}
	return NewSecret(string(text)), nil
}
