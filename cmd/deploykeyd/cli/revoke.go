package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"deploykeyd/agent"
	"deploykeyd/agent/control"
	"deploykeyd/agent/key"
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
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, errShutdownTimeout)
			defer cancel()
			remnants, err := control.NewClient(o.controlSocket()).Revoke(ctx)
			if errors.Is(err, control.ErrNotRunning) {
				remnants, err = o.revokeFromJournal(ctx, cmd.ErrOrStderr())
			}
			if err != nil {
				return err
			}
			if err := keysRemain(remnants); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "no key of this machine is on any forge")
			return err
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long it may take")
	return c
}

// revokeFromJournal settles what a life that is over left.
func (o *options) revokeFromJournal(ctx context.Context, stderr io.Writer) ([]agent.Remnant, error) {
	records, owner, err := readJournal(o.journal())
	if err != nil {
		return nil, err
	}
	if len(records) == 0 {
		return nil, nil
	}
	cfg, err := o.loadConfig()
	if err != nil {
		return remainUntouched(records, err.Error(), "mend the configuration and run deploykeyd revoke again"), nil
	}
	m, err := identify(cfg)
	if err != nil {
		return nil, err
	}
	if owner != m.ID {
		return remainUntouched(records, fmt.Sprintf("the journal is of machine %s, and this one is %s", owner, m.ID),
			"run it as the user who runs the daemon: root may know this machine by more than that user does; "+
				"if this disk is a copy, leave the keys to the machine it was copied from"), nil
	}
	j, warnings, err := o.openJournal(m)
	if err != nil {
		return nil, err
	}
	defer j.Close()
	for _, w := range warnings {
		_, _ = fmt.Fprintln(stderr, "warning:", w)
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	agentOptions, err := agentOptions(cfg, log)
	if err != nil {
		return nil, err
	}
	agentOptions.Machine, agentOptions.Boot, agentOptions.WeakMachine = m.ID, m.Boot, m.Weak
	agentOptions.Journal, agentOptions.Publisher, agentOptions.Verifier = j, noKeys{}, noKeys{}
	a, err := agent.New(agentOptions)
	if err != nil {
		return nil, err
	}
	return a.Revoke(ctx)
}

// remainUntouched says what the journal holds when nothing can be revoked with
// it: keys remain, and that must not end as success or as a mere usage error.
func remainUntouched(records []agent.Record, why, next string) []agent.Remnant {
	remnants := agent.StatusOf(records).Remaining
	for i := range remnants {
		remnants[i].Reason, remnants[i].Next = "nothing could be revoked: "+why, next
	}
	return remnants
}

// noKeys lends and proves nothing: a revocation from the journal has no key.
type noKeys struct{}

func (noKeys) Publish(string, provision.Repository, *key.Key)  {}
func (noKeys) Withdraw(string, provision.Repository, *key.Key) {}

func (noKeys) Verify(context.Context, string, provision.Repository, *key.Key) error {
	return errors.New("no key to verify with")
}
