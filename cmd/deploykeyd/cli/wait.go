package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"deploykeyd/agent"
	"deploykeyd/agent/control"
)

func newWait(o *options) *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "wait",
		Short: "Wait until the repositories are verified",
		Long: `Wait until the daemon is ready: every configured repository is verified, or at
least one with "ready: any". The daemon need not run yet when this starts.

Exits 0 when ready and 4, with the reasons, when not ready in time.`,
		Example: `  deploykeyd wait
  deploykeyd wait --timeout 2s    # the gate in front of a CI agent`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return wait(ctx, control.NewClient(o.controlSocket()), cmd.ErrOrStderr(), timeout)
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long to wait")
	return c
}

// lookAgain is how long to rest when no daemon answers yet.
const lookAgain = 200 * time.Millisecond

// longPoll is how long one question to the daemon may stay open.
const longPoll = 2 * time.Second

func wait(ctx context.Context, client *control.Client, progress io.Writer, timeout time.Duration) error {
	var last agent.Status
	lastErr := control.ErrNotRunning
	said := ""
	deadline := time.Now().Add(timeout)
	for poll := time.Duration(0); ctx.Err() == nil; poll = min(longPoll, time.Until(deadline)/2) {
		status, err := client.Ready(ctx, poll)
		switch {
		case err == nil && status.Ready:
			return nil
		case err == nil:
			last, lastErr = status, nil
			said = sayProgress(progress, said, status)
			continue
		case ctx.Err() != nil:
			if errors.Is(lastErr, control.ErrNotRunning) && !errors.Is(err, control.ErrNotRunning) {
				lastErr = errors.New("deploykeyd does not answer")
			}
		case errors.Is(err, control.ErrNotRunning):
			lastErr = err
		default:
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookAgain):
		}
	}
	if lastErr != nil {
		return fail(exitNotReady, startIt(), "not ready after %v: %w", timeout, lastErr)
	}
	return notReady(last, timeout)
}

// sayProgress prints how far the daemon is, when that has changed.
func sayProgress(w io.Writer, said string, s agent.Status) string {
	now := fmt.Sprintf("%d of %d repositories verified", countVerified(s), len(s.Repositories))
	if now != said {
		_, _ = fmt.Fprintln(w, now)
	}
	return now
}

func countVerified(s agent.Status) int {
	n := 0
	for _, r := range s.Repositories {
		if r.Condition == agent.ConditionVerified {
			n++
		}
	}
	return n
}

// mostReasons is of how many repositories a wait that was in vain tells why: the
// gate of a CI agent says it every few seconds, and forges that are down have
// the same to say of all.
const mostReasons = 10

func notReady(s agent.Status, timeout time.Duration) error {
	var b strings.Builder
	fmt.Fprintf(&b, "not ready after %v: %d of %d repositories verified", timeout, countVerified(s), len(s.Repositories))
	shown := 0
	for _, r := range s.Repositories {
		if r.Condition == agent.ConditionVerified {
			continue
		}
		if shown++; shown > mostReasons {
			fmt.Fprintf(&b, "\n  and %d more", len(s.Repositories)-countVerified(s)-mostReasons)
			break
		}
		fmt.Fprintf(&b, "\n  %s on %s is %s: %s", r.Repository, r.Forge, r.Condition, r.Reason)
		if r.Next != "" {
			fmt.Fprintf(&b, "\n    next: %s", r.Next)
		}
	}
	return fail(exitNotReady, "deploykeyd status shows more", "%s", b.String())
}
