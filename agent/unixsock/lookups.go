package unixsock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// lookupTimeout bounds one round of look-ups.
	lookupTimeout = 3 * time.Second
	// tooLate is how much longer a round waits for look-ups that do not heed
	// that, such as a program that cannot be killed. They are left to themselves.
	tooLate = time.Second
	// maxLookups is how many names are looked up at a time, those that were left
	// to themselves included: enough that a few that are never answered do not
	// keep the others back.
	maxLookups = 16
)

// question is a name that is to be looked up.
type question struct {
	of   *listed
	name string
}

// answer is what a look-up of a name gave.
type answer struct {
	question
	id  uint32
	err error
}

// Why a round has no answer for a name, besides what its look-up says.
var (
	errLeft = errors.New("an earlier look-up of the name has not ended")
	errLate = fmt.Errorf("the time for look-ups was over: %w", context.DeadlineExceeded)
)

// lookups asks for names, in one round at a time.
type lookups struct {
	places chan struct{} // has what each look-up put in, until it ends
	first  int           // the name that the next round begins with

	mu   sync.Mutex
	open map[question]bool // look-ups that have not ended, whatever round they are of
}

func newLookups() *lookups {
	return &lookups{places: make(chan struct{}, maxLookups), open: map[question]bool{}}
}

// ask looks all names up, many at a time, and returns one answer for each.
func (l *lookups) ask(ctx context.Context, lists ...*listed) []answer {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout+tooLate)
	defer cancel()
	var answers []answer
	at := map[question]int{}
	for _, of := range lists {
		for _, name := range of.names {
			q := question{of, name}
			at[q] = len(answers)
			answers = append(answers, answer{question: q, err: errLate})
		}
	}
	given := make(chan answer, len(answers)) // with room for who answers when nobody waits any more
	for range l.begin(ctx, answers, given) {
		select {
		case a := <-given:
			answers[at[a.question]] = a
		case <-late.Done():
			return answers
		}
	}
	return answers
}

// begin begins as many look-ups as there is time for, and returns how many
// answers may be given. It goes on with the first name that had no turn in the
// last round, so that names that are never answered do not keep the same others
// back each time.
func (l *lookups) begin(ctx context.Context, all []answer, given chan<- answer) int {
	for i := range all {
		at := (l.first + i) % len(all)
		q := all[at].question
		if l.isOpen(q) {
			given <- answer{question: q, err: errLeft}
			continue
		}
		select {
		case l.places <- struct{}{}:
		case <-ctx.Done():
			l.first = at
			return i
		}
		l.mark(q, true)
		go func() {
			id, err := q.of.lookup(ctx, q.name)
			l.mark(q, false)
			<-l.places
			given <- answer{question: q, id: id, err: err}
		}()
	}
	return len(all)
}

func (l *lookups) isOpen(q question) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open[q]
}

func (l *lookups) mark(q question, open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if open {
		l.open[q] = true
		return
	}
	delete(l.open, q)
}
