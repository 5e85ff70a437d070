package rest

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"deploykeyd/provision/credential"
)

// renewalPause is the time between two tries to replace a credential that still
// works.
const renewalPause = time.Minute

// keeper holds one forge's credential and reads it anew where it has to: before
// it ends, and when the forge refuses it. However many callers need it at once,
// it is read once for all of them.
type keeper struct {
	source credential.Source
	forge  string
	log    *slog.Logger

	mu      sync.Mutex
	held    credential.Secret // what the last Load gave
	renewal time.Time         // when held should be replaced; zero for never
	loading *loading          // nil while nobody waits
}

// loading is one Load and those who wait for it.
type loading struct {
	waiting int // guarded by the keeper's mu
	cancel  context.CancelFunc
	done    chan struct{} // closed after the two below are set
	secret  credential.Secret
	err     error
}

// get returns the credential at hand, unless it is the refused one or its time is
// up, and else a new one. One that works is used on when it cannot be replaced.
func (k *keeper) get(ctx context.Context, refused credential.Secret) (credential.Secret, error) {
	k.mu.Lock()
	now := time.Now()
	if works(k.held, refused, now) && (k.renewal.IsZero() || now.Before(k.renewal)) {
		defer k.mu.Unlock()
		return k.held, nil
	}
	if k.loading == nil {
		k.loading = k.begin(ctx)
	}
	l := k.loading
	l.waiting++
	k.mu.Unlock()
	select {
	case <-l.done:
	case <-ctx.Done():
		k.leave(l)
		return credential.Secret{}, ctx.Err()
	}
	if l.err == nil {
		return l.secret, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if works(k.held, refused, time.Now()) {
		return k.held, nil
	}
	return credential.Secret{}, l.err
}

// works reports whether a credential is there and neither refused nor at its end.
func works(secret, refused credential.Secret, now time.Time) bool {
	return !secret.IsZero() && !secret.Equal(refused) && (secret.Expires().IsZero() || now.Before(secret.Expires()))
}

// begin starts a Load that outlives the caller who needed it first: it ends when
// the last who waits has gone.
func (k *keeper) begin(ctx context.Context) *loading {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l := &loading{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer cancel()
		secret, err := k.source.Load(ctx)
		k.end(ctx, l, secret, err)
	}()
	return l
}

// end takes what a Load came to. Of one that all have left, nothing is kept.
func (k *keeper) end(ctx context.Context, l *loading, secret credential.Secret, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	defer close(l.done)
	l.secret, l.err = secret, err
	if k.loading != l {
		return
	}
	k.loading = nil
	now := time.Now()
	if err == nil {
		k.held, k.renewal = secret, time.Time{}
		if ends := secret.Expires(); !ends.IsZero() {
			k.renewal = now.Add(ends.Sub(now) / 6 * 5)
		}
		return
	}
	if works(k.held, credential.Secret{}, now) {
		k.renewal = now.Add(renewalPause)
		k.log.WarnContext(ctx, "credential was not renewed",
			slog.String("forge", k.forge), slog.String("error", ownWords(err.Error())))
	}
}

// leave is the end of waiting without a result.
func (k *keeper) leave(l *loading) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.waiting--; l.waiting == 0 {
		l.cancel()
		if k.loading == l {
			k.loading = nil
		}
	}
}
