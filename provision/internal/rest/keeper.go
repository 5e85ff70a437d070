package rest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"deploykeyd/provision/credential"
)

const (
	// loadLimit bounds one Load of a credential, so that none goes on for ever. An
	// exchange makes eight requests at most, each within RequestTimeout, after a
	// program of two minutes at most has given its secret.
	loadLimit = 6 * time.Minute
	// renewalPause is the shortest time between two tries to replace a credential
	// that still works.
	renewalPause = time.Minute
	// firstPause is the time after a first failed Load in which there is no other.
	// It doubles with each that follows, up to lastPause.
	firstPause = time.Second
	lastPause  = time.Minute
	// longestTrouble is how long a server that is in trouble is believed when it
	// says how long to wait: a page for maintenance may name a day.
	longestTrouble = 10 * time.Minute
	// patience is how long even a caller with little time leaves a server alone
	// that has asked for a pause.
	patience = 10 * time.Second
)

// keeper holds one forge's credential and reads it anew where it has to: before
// it ends, and when the forge refuses it. However many callers need it at once,
// it is read once for all of them, and a failure is theirs in common too.
type keeper struct {
	source credential.Source
	forge  string
	log    *slog.Logger

	mu      sync.Mutex
	held    credential.Secret // what the last Load gave
	renewal time.Time         // when held should be replaced; zero for never
	loading *loading          // nil while there is none
	failed  *failedLoad       // what the last Load came to; nil where that is no pause
	excused credential.Secret // the refused credential that failed did not keep from a Load
}

// loading is one Load, which goes on whoever waits for it.
type loading struct {
	done   chan struct{} // closed after the two below are set
	secret credential.Secret
	err    error
}

// failedLoad is a Load that failed. The pause after it is the longer one of two.
type failedLoad struct {
	err   error
	ended time.Time
	own   time.Duration // our pause
	asked time.Duration // what we were asked to wait; zero for nothing
}

func (f *failedLoad) until() time.Time { return f.ended.Add(max(f.own, f.asked)) }

// postponed is the error of a Load that was not tried since another has just
// failed.
type postponed struct {
	error
	wait time.Duration // until another try is worth it; zero for not known
}

// Unwrap returns why the last Load failed.
func (p *postponed) Unwrap() error { return p.error }

// get returns the credential at hand, unless it is the refused one or at its end,
// and else a new one. While the one at hand works, nobody waits for its renewal.
func (k *keeper) get(ctx context.Context, refused credential.Secret) (credential.Secret, error) {
	k.mu.Lock()
	now := time.Now()
	if works(k.held, refused, now) {
		defer k.mu.Unlock()
		if k.loading == nil && !k.renewal.IsZero() && !now.Before(k.renewal) {
			k.begin(ctx)
		}
		return k.held, nil
	}
	if k.loading == nil {
		if err := k.hold(ctx, refused, now); err != nil {
			defer k.mu.Unlock()
			return credential.Secret{}, err
		}
		if !refused.IsZero() {
			k.excused = refused
		}
		k.begin(ctx)
	}
	l := k.loading
	k.mu.Unlock()
	select {
	case <-l.done:
		return l.secret, l.err
	case <-ctx.Done():
		return credential.Secret{}, ctx.Err()
	}
}

// works reports whether a credential is there and neither refused nor at its end.
func works(secret, refused credential.Secret, now time.Time) bool {
	return !secret.IsZero() && !secret.Equal(refused) && (secret.Expires().IsZero() || now.Before(secret.Expires()))
}

// hold returns why there may be no Load now. A credential that was refused is
// worth one Load at once: what failed before was only its renewal. And whoever
// has a deadline, as at a stop, does not wait for the end of the pause, which may
// be beyond it.
func (k *keeper) hold(ctx context.Context, refused credential.Secret, now time.Time) error {
	f := k.failed
	if f == nil || !now.Before(f.until()) || !refused.IsZero() && !refused.Equal(k.excused) {
		return nil
	}
	since := now.Sub(f.ended)
	if _, limited := ctx.Deadline(); !limited {
		return &postponed{f.err, max(f.asked-since, 0)}
	}
	enough := firstPause
	if f.asked > 0 {
		enough = patience
	}
	if since < enough {
		return &postponed{f.err, enough - since}
	}
	return nil
}

// begin starts a Load that outlives the caller who needed it first. mu is held.
func (k *keeper) begin(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadLimit)
	l := &loading{done: make(chan struct{})}
	k.loading = l
	go func() {
		defer cancel()
		l.secret, l.err = k.source.Load(ctx)
		k.end(ctx, l)
	}()
}

// end takes what a Load came to.
func (k *keeper) end(ctx context.Context, l *loading) {
	k.mu.Lock()
	defer k.mu.Unlock()
	defer close(l.done)
	k.loading = nil
	now := time.Now()
	if l.err == nil {
		k.held, k.renewal, k.failed, k.excused = l.secret, time.Time{}, nil, credential.Secret{}
		if ends := l.secret.Expires(); !ends.IsZero() {
			k.renewal = now.Add(ends.Sub(now) / 6 * 5)
		}
		return
	}
	l.err = overdue(ctx, l.err)
	k.failed = k.failed.next(l.err, now)
	if works(k.held, credential.Secret{}, now) {
		k.renewal = now.Add(renewalPause)
		if k.failed != nil && k.failed.until().After(k.renewal) {
			k.renewal = k.failed.until()
		}
		k.log.WarnContext(ctx, "credential was not renewed",
			slog.String("forge", k.forge), slog.String("error", ownWords(l.err.Error())))
	}
}

// overdue says so where a Load was ended by loadLimit. Its caller's time is
// another.
func overdue(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return &credential.Error{
		Reason: credential.Trouble, Message: "the credential was not there within " + loadLimit.String(),
		Next: "check this machine's way to the forge, and what the credential is read from", Err: context.DeadlineExceeded,
	}
}

// next returns the pause after a failure that follows f. It grows while the other
// side is in trouble; what a person has to put right is only shared by those who
// ask at the same time, and what this machine has at hand is read each time.
func (f *failedLoad) next(err error, now time.Time) *failedLoad {
	cause, ok := errors.AsType[*credential.Error](err)
	if !ok {
		return nil
	}
	own := firstPause
	if f != nil && cause.Reason.Passing() {
		own = min(2*f.own, lastPause)
	}
	asked := cause.RetryAfter
	if cause.Reason == credential.Trouble {
		asked = min(asked, longestTrouble)
	}
	return &failedLoad{err: err, ended: now, own: own, asked: asked}
}
