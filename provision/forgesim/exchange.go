package forgesim

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"time"
)

// delivery is what comes back to a client.
type delivery struct {
	reply
	cut       bool // the connection ends without a reply
	truncated bool // it ends in mid-body
	padding   int64
	err       error // the client has gone, or the forge was closed
}

// oversize is how much white space OversizedReply puts in front of a reply.
const oversize = 32 << 20

// exchange takes a request there and its reply back, with latency and faults.
func (f *Forge) exchange(ctx context.Context, c *call, sent func()) delivery {
	if err := f.sim.pause(ctx, f.latency/2); err != nil {
		return delivery{err: err}
	}
	sent()
	c.arrived = time.Now()
	x := f.fateOf(c.op, c.repository)
	c.now = c.arrived.Add(x.offset)
	c.revoked, c.policyOff = x.revoked, x.policyOff
	d := f.perform(c, x)
	if d.cut {
		f.note(c, 0)
		return d
	}
	if !x.noDate {
		d.header.Set("Date", c.now.UTC().Format(http.TimeFormat))
	}
	f.note(c, d.status)
	if x.Name == HoldReply {
		if err := f.hold(ctx, x.hold); err != nil {
			return delivery{err: err}
		}
	}
	if err := f.sim.pause(ctx, x.slow+f.latency/2); err != nil {
		return delivery{err: err}
	}
	return d
}

// perform does the work of a request, or what a fault makes of it.
func (f *Forge) perform(c *call, x fate) delivery {
	switch x.Name { //nolint:exhaustive // the rest changes the answer, or is not about one
	case CutBefore:
		return delivery{cut: true}
	case LateEffect:
		f.later(x, *c)
		return delivery{cut: true}
	case ErrorBefore:
		return delivery{reply: f.inTrouble(x)}
	case HTMLBadGateway:
		return delivery{reply: badGateway()}
	case TooManyRequests:
		return delivery{reply: f.refuseRate(c, x)}
	}
	d := delivery{reply: f.answer(c)}
	switch x.Name { //nolint:exhaustive // the rest leaves the answer as it is
	case CutAfterEffect:
		d.cut = true
	case ErrorAfterEffect:
		d.reply = f.inTrouble(x)
	case OversizedReply:
		d.padding = oversize
	case TruncatedReply:
		d.truncated = true
	}
	return d
}

// answer does the work of a request and gives it the forge's headers.
func (f *Forge) answer(c *call) reply {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, over := f.overBudget(c)
	if !over {
		r = f.dialect.answer(f, c)
	}
	f.dialect.headers(f, c, r.header)
	return r
}

// refuseRate is the reply of TooManyRequests.
func (f *Forge) refuseRate(c *call, x fate) reply {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.dialect.tooMany(f, limitSecondary, x.Status)
	f.dialect.headers(f, c, r.header)
	x.askForTime(r.header)
	return r
}

// inTrouble is the reply of ErrorBefore and ErrorAfterEffect.
func (f *Forge) inTrouble(x fate) reply {
	r := f.dialect.broken(f, cmp.Or(x.Status, http.StatusInternalServerError))
	x.askForTime(r.header)
	return r
}

// askForTime tells the client when to come again, where the fault says so.
func (x fate) askForTime(h http.Header) {
	if x.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(x.RetryAfter/time.Second)))
	}
}

// later does the work of a request after the fault's delay, unless the forge is
// closed before.
func (f *Forge) later(x fate, c call) {
	f.sim.tasks.Go(func() {
		if f.sim.pause(f.sim.running, x.Delay) != nil {
			return
		}
		c.arrived = time.Now()
		c.now = c.arrived.Add(x.offset)
		f.answer(&c)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.event()
	})
}

// badGateway is what a reverse proxy says when the forge behind it is away.
func badGateway() reply {
	const page = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n" +
		"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
	return reply{
		status: http.StatusBadGateway,
		header: http.Header{"Content-Type": {"text/html"}, "Server": {"nginx"}},
		body:   []byte(page),
	}
}
