package unixsock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// round asks once for all names, of users and of groups.
type round struct {
	done     chan struct{} // closed at the end
	problems error         // then: what is wrong with the names that mean nobody
}

// wait returns when r has ended, or when a peer that is known has waited enough.
func (r *round) wait(known bool) {
	if !known {
		<-r.done
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-r.done:
	case <-timer.C:
	}
}

// begin begins a round. u.mu is held and nothing pending.
func (u *Users) begin(ctx context.Context) {
	r := &round{done: make(chan struct{})}
	u.pending = r
	go func() {
		began := time.Now()
		answers := u.lookups.ask(ctx, &u.users, &u.groups)
		r.problems = u.problemsOf(ctx, answers)
		users, groups := u.users.settle(answers), u.groups.settle(answers)
		u.mu.Lock()
		defer u.mu.Unlock()
		u.users.ids, u.groups.ids = users, groups
		u.asked, u.pending = began, nil
		close(r.done)
	}()
}

// problemsOf returns what is wrong with the names that mean nobody, and logs
// those that nobody could answer for.
func (u *Users) problemsOf(ctx context.Context, answers []answer) error {
	var problems []error
	for _, a := range answers {
		if a.err == nil {
			continue
		}
		if !a.final() {
			u.logger.WarnContext(ctx, "look-up failed", slog.String(a.of.kind, a.name), slog.Any("error", a.err))
		}
		problems = append(problems, fmt.Errorf("%s %q: %w", a.of.kind, a.name, a.err))
	}
	return errors.Join(problems...)
}

// final reports whether a says what the name means, or that it means nobody.
func (a answer) final() bool {
	return a.err == nil || errors.Is(a.err, ErrUnknownName) || errors.Is(a.err, errNobody)
}

// settle returns the ids that the names have by those answers. A name that
// nobody could answer for keeps the id that it had.
func (l *listed) settle(answers []answer) map[string]uint32 {
	ids := map[string]uint32{}
	for _, a := range answers {
		if a.of != l {
			continue
		}
		old, had := l.ids[a.name]
		switch {
		case a.err == nil:
			ids[a.name] = a.id
		case !a.final() && had:
			ids[a.name] = old
		}
	}
	return ids
}
