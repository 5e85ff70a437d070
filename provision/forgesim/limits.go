package forgesim

import (
	"cmp"
	"time"

	"deploykeyd/provision"
)

// limitName says which limit was passed.
type limitName int

const (
	limitPrimary   limitName = iota // all requests of an hour
	limitSecondary                  // creations, or requests in flight
)

// budget counts requests against limits, over the whole forge: one credential
// is what its clients have in common.
type budget struct {
	limits  provision.Limits
	all     []time.Time
	creates []time.Time
}

// SetLimits makes the forge enforce request limits from now on, over sliding
// windows. Zero members do not limit; Concurrent is not enforced.
func (f *Forge) SetLimits(l provision.Limits) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.budget = budget{limits: l}
}

// overBudget counts a request, and refuses it where a limit is passed. What
// precedes an access token is not counted against that token. f.mu is held.
func (f *Forge) overBudget(c *call) (reply, bool) {
	if c.op == OpToken || c.op == OpLookup {
		return reply{}, false
	}
	b := &f.budget
	b.all = after(b.all, c.arrived.Add(-time.Hour))
	b.creates = after(b.creates, c.arrived.Add(-time.Hour))
	if over(b.limits.RequestsPerHour, b.all) {
		return f.dialect.tooMany(f, limitPrimary, 0), true
	}
	b.all = append(b.all, c.arrived)
	if c.op != OpRegister {
		return reply{}, false
	}
	if over(b.limits.CreatesPerHour, b.creates) || over(b.limits.CreatesPerMinute, after(b.creates, c.arrived.Add(-time.Minute))) {
		return f.dialect.tooMany(f, limitSecondary, 0), true
	}
	b.creates = append(b.creates, c.arrived)
	return reply{}, false
}

// remaining returns the limit on requests in an hour, by default otherwise, how
// many of them are left, and when the oldest one stops counting. f.mu is held.
func (f *Forge) remaining(otherwise int, now time.Time) (limit, left int, reset time.Time) {
	limit = cmp.Or(f.budget.limits.RequestsPerHour, otherwise)
	reset = now.Add(time.Hour)
	if len(f.budget.all) > 0 {
		reset = f.budget.all[0].Add(time.Hour)
	}
	return limit, max(0, limit-len(f.budget.all)), reset
}

func over(limit int, made []time.Time) bool { return limit > 0 && len(made) >= limit }

// after drops the times that are not after t; times are in order.
func after(times []time.Time, t time.Time) []time.Time {
	for len(times) > 0 && !times[0].After(t) {
		times = times[1:]
	}
	return times
}
