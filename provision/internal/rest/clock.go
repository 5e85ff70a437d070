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

// clock is a forge's clock as its replies show it.
type clock struct {
	mu   sync.Mutex
	date time.Time // by the forge
	seen time.Time // when that came, by this machine's monotonic clock
}

// note takes the time from a reply. One with an Age comes from a cache and
// shows an old time; one that says 5xx may come from anything in between.
func (c *clock) note(r *http.Response, now time.Time) {
	if r.StatusCode >= http.StatusInternalServerError || r.Header.Get("Age") != "" {
		return
	}
	date, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil || date.Before(earliest) || date.After(latest) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.date, c.seen = date.UTC(), now
}

func (c *clock) now() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.date.IsZero() {
		return time.Time{}, false
	}
	return c.date.Add(time.Since(c.seen)), true
}

// Time returns the time by the forge's clock: the Date of its last reply and
// the time that has passed since. It makes a request only when no reply with a
// usable Date has been seen.
func (c *Client) Time(ctx context.Context) (time.Time, error) {
	if now, ok := c.clock.now(); ok {
		return now, nil
	}
	call := Call{Op: askTime, Method: http.MethodGet, Path: c.options.ClockPath}
	x := &exchange{client: c, call: call, anyStatus: true}
	if failure := x.run(ctx); failure != nil {
		return time.Time{}, failure
	}
	if now, ok := c.clock.now(); ok {
		return now, nil
	}
	e := c.failure(call, provision.Transient, "the forge's replies have no usable Date")
	e.Next = "make the forge, or the proxy in front of it, send a correct Date header without Age"
	return time.Time{}, e
}
