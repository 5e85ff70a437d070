package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"deploykeyd/agent"
	"deploykeyd/agent/config"
	"deploykeyd/agent/control"
	"deploykeyd/agent/custody"
	"deploykeyd/agent/journal"
	"deploykeyd/agent/key"
	"deploykeyd/agent/machine"
	"deploykeyd/provision"
)

func newRevoke(o *options) *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "revoke",
		Short: "Take every key of this machine off every forge",
		Long: `Take every key of this machine off every forge, and believe it only from the
forges' own lists: the teardown hook. Through the daemon when one runs, which
then serves no key until it is restarted; else from the journal. Repeating it
does no harm.

Exits 0 when no key is left and 3, with the list, when keys may remain.`,
		Example: `  deploykeyd revoke
  deploykeyd revoke --timeout 20s   # from a shutdown hook with little time`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = custody.Protect() // credentials alone, and not for long: no warnings in a teardown
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, errShutdownTimeout)
			defer cancel()
			said, err := o.revoke(ctx, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), said)
			return err
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long it may take")
	return c
}

const nothingRemains = "no key of this machine is on any forge"

// revoke goes through the daemon or, when none runs, through the journal. While
// a daemon starts or ends it may have the journal without answering yet or any
// more: then both are tried again.
func (o *options) revoke(ctx context.Context, stderr io.Writer) (string, error) {
	client := control.NewClient(o.controlSocket())
	for {
		remnants, err := o.revokeByDaemon(ctx, client)
		switch {
		case errors.Is(err, control.ErrInterrupted) && pauseFor(ctx, lookAgain):
			continue // a daemon that is back in a moment would make new keys after we settled the journal
		case err == nil:
			return nothingRemains, keysRemain(remnants)
		case errors.Is(err, control.ErrRefused):
			return "", fail(exitKeysRemain, nextStep(err), "nothing was revoked: %w", err)
		case !errors.Is(err, control.ErrNotRunning):
			return "", fail(exitKeysRemain, "run deploykeyd revoke again", "keys may remain on forges: %w", err)
		}
		said, err := o.revokeFromJournal(ctx, stderr)
		if !errors.Is(err, journal.ErrLocked) {
			return said, err
		}
		select {
		case <-ctx.Done():
			return said, err
		case <-time.After(lookAgain):
		}
	}
}

// unanswered is how long nobody may answer at a socket whose daemon does not have
// the journal either: longer than the service manager takes to start another.
const unanswered = 8 * time.Second

// revokeByDaemon asks the daemon. After a crash the service manager holds the
// socket, and connecting works although nobody is there: then the journal is
// free, and ErrNotRunning comes back.
func (o *options) revokeByDaemon(ctx context.Context, client *control.Client) ([]agent.Remnant, error) {
	asking, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	watched := make(chan struct{})
	defer func() { <-watched }()
	done := make(chan struct{})
	defer close(done)
	go func() {
		defer close(watched)
		timer := time.NewTimer(unanswered)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-done:
			return
		}
		if _, _, err := readJournal(o.journal()); !errors.Is(err, journal.ErrLocked) {
			giveUp(control.ErrNotRunning)
		}
	}()
	remnants, err := client.Revoke(asking)
	if err != nil && errors.Is(context.Cause(asking), control.ErrNotRunning) {
		return nil, control.ErrNotRunning
	}
	return remnants, err
}

// pauseFor rests, and reports whether ctx goes on.
func pauseFor(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// revokeFromJournal settles what a life that is over left.
func (o *options) revokeFromJournal(ctx context.Context, stderr io.Writer) (string, error) {
	records, owner, err := readJournal(o.journal())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "nothing to revoke: there is no journal " + o.journal(), nil
	case err != nil && owner == "":
		return "", fail(exitKeysRemain, nextStep(err), "keys may remain on forges: %w", err)
	case len(records) == 0 && err == nil:
		return nothingRemains, nil
	}
	cfg, configErr := o.loadConfig()
	if configErr != nil {
		return "", untouched(records, err, configErr.Error(), "mend the configuration and run deploykeyd revoke again")
	}
	m, machineErr := identify(cfg)
	if machineErr != nil {
		return "", untouched(records, err, machineErr.Error(), nextStep(machineErr))
	}
	if owner != m.ID {
		return "", untouched(records, err, fmt.Sprintf("the journal is of machine %s, and this one is %s", owner, m.ID),
			"run it as the user who runs the daemon: root may know this machine by more than that user does; "+
				"if this disk is a copy, leave the keys to the machine it was copied from")
	}
	return o.settleJournal(ctx, cfg, m, stderr)
}

// settleJournal revokes what this machine's journal holds.
func (o *options) settleJournal(ctx context.Context, cfg config.Config, m machine.Machine, stderr io.Writer) (string, error) {
	j, warnings, err := o.openJournal(m)
	if err != nil {
		return "", fail(exitKeysRemain, nextStep(err), "keys may remain on forges: %w", err)
	}
	defer j.Close()
	for _, w := range warnings {
		_, _ = fmt.Fprintln(stderr, "warning:", w)
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	agentOptions, err := o.agentOptions(cfg, log)
	if err != nil {
		return "", fail(exitKeysRemain, "mend the configuration and run deploykeyd revoke again", "keys may remain on forges: %w", err)
	}
	agentOptions.Machine, agentOptions.Boot, agentOptions.WeakMachine = m.ID, m.Boot, m.Weak
	agentOptions.Journal, agentOptions.Publisher, agentOptions.Verifier = j, noKeys{}, noKeys{}
	return nothingRemains, keysRemain(agent.New(agentOptions).Revoke(ctx))
}

// untouched says what the journal holds when nothing can be revoked with it:
// keys remain, and that must not end as success or as a mere usage error.
func untouched(records []agent.Record, unreadable error, why, next string) error {
	remnants := agent.StatusOf(records, unreadable).Remaining
	for i := range remnants {
		remnants[i].Reason, remnants[i].Next = "nothing could be revoked: "+why, next
	}
	return keysRemain(remnants)
}

// noKeys lends and proves nothing: a revocation from the journal has no key.
type noKeys struct{}

func (noKeys) Publish(string, provision.Repository, *key.Key)  {}
func (noKeys) Withdraw(string, provision.Repository, *key.Key) {}

func (noKeys) Used(string, provision.Repository) (signatures, refused uint64, last time.Time) {
	return 0, 0, time.Time{}
}

func (noKeys) Verify(context.Context, string, provision.Repository, *key.Key) error {
	return errors.New("no key to verify with")
}
