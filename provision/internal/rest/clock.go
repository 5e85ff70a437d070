package rest

import (
	"context"
	"net/http"
	"sync"
	"time"

	"deploykeyd/provision"
)

// earliest and latest bound what is believed of a forge's clock: before the one
// deploykeyd did not exist, after the other it will not.
var (
	earliest = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

// maxJump is how far a reply's time may be from what the last ones let expect
// and be believed at once.
const maxJump = 5 * time.Minute

// clock is a forge's clock as its replies show it.
type clock struct {
	mu       sync.Mutex
	believed reading
	doubted  reading // the last reply's, where it jumped; zero otherwise
}

// reading is what one reply said of the time.
type reading struct {
	date time.Time // by the forge
	seen time.Time // when that came, by this machine's monotonic clock
}

// at returns what the forge's clock shows at a moment of this machine's.
func (r reading) at(now time.Time) time.Time { return r.date.Add(now.Sub(r.seen)) }

// agrees reports whether a later reading is what this one lets expect.
func (r reading) agrees(later reading) bool {
	return !r.date.IsZero() && later.date.Sub(r.at(later.seen)).Abs() <= maxJump
}

// note takes the time from a reply that came at now. The first is believed;
// one that jumps from there is believed when the next agrees with it: a single
// one may come from something in between, two are a clock that was set, or a
// machine that slept while its monotonic clock stood still.
func (c *clock) note(h http.Header, now time.Time) {
	if h.Get("Age") != "" { // from a cache: it shows an old time
		return
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil || date.Before(earliest) || date.After(latest) {
		return
	}
	r := reading{date: date.UTC(), seen: now}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.believed.date.IsZero() || c.believed.agrees(r) || c.doubted.agrees(r) {
		c.believed, c.doubted = r, reading{}
		return
	}
	c.doubted = r
}

func (c *clock) now() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.believed.date.IsZero() {
		return time.Time{}, false
	}
	return c.believed.at(time.Now()), true
}

// isOwn reports whether the reply is the forge's: it is JSON, or the empty body
// that the call's documentation promises.
func (x *exchange) isOwn() bool {
	r := x.reply
	if len(r.Body) > 0 {
		return r.isForges()
	}
	// Without a credential, some forges refuse without a word.
	return r.Status == x.call.Status || x.anyStatus && r.Status == http.StatusUnauthorized
}

// Time returns the time by the forge's clock: the Date of its last reply, unless
// that alone jumped, and the time that has passed since. It makes a request only when no reply with a
// usable Date has been seen.
func (c *Client) Time(ctx context.Context) (time.Time, error) {
	if now, ok := c.clock.now(); ok {
		return now, nil
	}
	call := Call{Op: askTime, Method: http.MethodGet, Path: c.options.ClockPath, Status: http.StatusOK}
	x := &exchange{client: c, call: call, anyStatus: true}
	if failure := x.run(ctx); failure != nil {
		return time.Time{}, failure
	}
	if now, ok := c.clock.now(); ok {
		return now, nil
	}
	e := c.failure(call, provision.Transient, "the forge gives no reply of its own with a usable Date")
	e.Next = "check that no login page or proxy answers in the forge's place; make the forge, or the proxy in front of it, send a correct Date header without Age"
	return time.Time{}, e
}
