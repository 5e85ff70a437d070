package rest

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/credential"
)

const (
	// maxAttempts bounds how often one call is sent.
	maxAttempts = 4
	// MaxWait bounds how long one call waits between its attempts, in all. A
	// forge that asks for more gets its wait from the caller, who has other
	// work meanwhile.
	MaxWait = 2 * time.Minute
	// firstBackoff is the wait before the first repetition where the forge
	// asks for none; it doubles with each.
	firstBackoff = 500 * time.Millisecond
)

// checkRetry judges an attempt and decides whether another follows.
func (x *exchange) checkRetry(ctx context.Context, _ *http.Response, err error) (bool, error) {
	x.failure = x.judge(ctx, err)
	return x.failure != nil && x.worthIt(ctx), nil
}

// worthIt decides whether a failed attempt is followed by another.
func (x *exchange) worthIt(ctx context.Context) bool {
	// Once an attempt may have taken effect, no later refusal undoes that.
	x.uncertain = x.uncertain || x.failure.Uncertain
	x.failure.Uncertain = x.uncertain
	if !x.repeatable() || ctx.Err() != nil {
		return false
	}
	x.wait = x.nextWait()
	deadline, limited := ctx.Deadline()
	if x.waited+x.wait > MaxWait || limited && time.Until(deadline) <= x.wait {
		return false
	}
	if x.attempt < maxAttempts {
		x.client.log.InfoContext(ctx, "forge request will be repeated",
			slog.String("forge", x.client.options.Forge), slog.String("op", string(x.call.Op)),
			slog.String("path", x.call.plainPath()), slog.String("class", string(x.failure.Class)),
			slog.Int("status", x.failure.Status), slog.Duration("wait", x.wait))
	}
	return true
}

// repeatable reports whether the same request may be sent again by the client.
// The question for the time is not: the caller has something to say to those who
// wait, and asks again.
// One that creates may not: it may have taken effect, and even after a definite
// refusal it is for the caller to say whether the key is still wanted when the
// wait is over.
func (x *exchange) repeatable() bool {
	return x.call.Method != http.MethodPost && x.call.Op != askTime && x.failure.Class.Retryable() && !isFinal(x.failure)
}

// nextWait returns what the forge asked for, or a growing time; both with some
// chance in it, so that machines that were refused together do not come back
// together.
func (x *exchange) nextWait() time.Duration {
	base, spread := x.failure.RetryAfter, time.Second
	if base == 0 {
		whole := firstBackoff << (x.attempt - 1)
		base, spread = whole/2, whole/2
	}
	return base + rand.N(spread) //nolint:gosec // G404: spreading load needs no secret chance
}

// backoff gives retryablehttp the time that checkRetry chose.
func (x *exchange) backoff(_, _ time.Duration, _ int, _ *http.Response) time.Duration {
	x.waited += x.wait
	return x.wait
}

// RetryAfter returns how long the reply asks to wait: a day at most. Zero means
// that it does not say.
func (r Reply) RetryAfter() time.Duration { return credential.RetryAfter(r.Header) }

// Until returns how long it is until a moment of the forge's clock: zero when
// it has passed, a day at most.
func (r Reply) Until(at time.Time) time.Duration { return credential.Until(r.Header, at) }

// isFinal reports whether a failure will be the same the next time, although
// its class is worth a retry after a while.
func isFinal(e *provision.Error) bool {
	_, final := e.Err.(finalError) //nolint:errorlint // the mark is never wrapped
	return final
}
