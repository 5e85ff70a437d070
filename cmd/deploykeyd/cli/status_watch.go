package cli

import (
	"context"
	"errors"
	"io"
	"os/signal"
	"syscall"
	"time"

	"deploykeyd/agent"
	"deploykeyd/agent/control"
)

// leastInterval keeps a watcher from being a load.
const leastInterval = 100 * time.Millisecond

// checkWatch refuses flags that do not go together.
func checkWatch(watch, sockets, hasInterval bool, interval time.Duration) error {
	switch {
	case hasInterval && !watch:
		return fail(exitUsage, "add --watch, or leave --interval out", "--interval is for --watch")
	case watch && sockets:
		return fail(exitUsage, "leave one of the two out", "--watch shows no sockets: they do not change while the daemon runs")
	case watch && interval < leastInterval:
		return fail(exitUsage, "use --interval 2s", "--interval %v is shorter than %v", interval, leastInterval)
	}
	return nil
}

// sighting is what one look at the daemon brought.
type sighting struct {
	at     time.Time
	status agent.Status // of the journal when the daemon does not run; of nothing when it does not answer
	silent string       // why the daemon said nothing; empty when it did
}

// viewer shows one sighting after the other.
type viewer interface{ show(s sighting) error }

// watchStatus shows the status until the process is told to end, which is no
// failure. A daemon that is not there, or does not answer, is looked for again:
// what ends it is a refusal, an answer that makes no sense, or a reader that has
// gone.
func (o *options) watchStatus(ctx context.Context, w io.Writer, asJSON bool, interval time.Duration) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	view := newViewer(w, asJSON, interval)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		seen, err := o.look(ctx)
		if ctx.Err() != nil {
			return nil // it was told to end; what was asked meanwhile does not count
		}
		if err == nil {
			err = view.show(seen)
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func newViewer(w io.Writer, asJSON bool, interval time.Duration) viewer {
	if asJSON {
		return &jsonViewer{w: w}
	}
	if _, _, terminal := terminalSize(w); terminal {
		return &screenViewer{w: w, interval: interval}
	}
	return &lineViewer{w: w, said: map[string]string{}}
}

// look asks the daemon once.
func (o *options) look(ctx context.Context) (sighting, error) {
	asking, cancel := context.WithTimeoutCause(ctx, answerTimeout, errNoAnswer)
	defer cancel()
	status, err := control.NewClient(o.controlSocket()).Status(asking)
	seen := sighting{at: time.Now(), status: status}
	switch {
	case errors.Is(err, control.ErrNotRunning):
		seen.silent = "the daemon is not running"
		// Who may use the keys need not be allowed to read the journal, and a
		// daemon that starts has it to itself.
		if left, err := o.statusFromJournal(); err == nil {
			seen.status = left
		} else {
			seen.status = agent.StatusOf(nil, nil)
			seen.status.Warnings = []string{"what may remain on forges is not known: " + err.Error()}
		}
		return seen, nil
	case err != nil && errors.Is(context.Cause(asking), errNoAnswer):
		seen.silent, seen.status = errNoAnswer.Error(), agent.StatusOf(nil, nil)
		seen.status.Phase = "" // any would be a guess
		return seen, nil
	}
	return seen, err
}
