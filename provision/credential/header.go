package credential

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

// longestAsked bounds what is believed of a Retry-After.
const longestAsked = 24 * time.Hour

// RetryAfter returns how long a reply with the headers h asks to wait, by its
// Retry-After in seconds or as a date (RFC 9110, section 10.2.3): a day at most.
// Zero means that it does not say.
func RetryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	seconds, err := strconv.ParseUint(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && seconds > uint64(longestAsked/time.Second):
		return longestAsked
	case err == nil:
		return time.Duration(seconds) * time.Second //nolint:gosec // G115: less than a day
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return Until(h, at)
}

// Until returns how long it is until a moment of a forge's clock, by the Date of
// its reply with the headers h, or else by this machine's clock: zero when it has
// passed, a day at most.
func Until(h http.Header, at time.Time) time.Duration {
	now, ok := dateOf(h)
	if !ok {
		now = time.Now()
	}
	return min(max(at.Sub(now), 0), longestAsked)
}

// dateOf returns the time that a reply was made at, by the forge's clock. What
// comes from a cache shows an old time.
func dateOf(h http.Header) (time.Time, bool) {
	at, err := http.ParseTime(h.Get("Date"))
	return at, err == nil && h.Get("Age") == ""
}
