package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"deploykeyd/agent"
	"deploykeyd/agent/control"
)

func newVerify(o *options) *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "verify",
		Short: "Prove every repository again, now",
		Long: `Make the daemon prove every repository again with real git, and try again what
has failed: after a right was granted, a repository made or a policy changed.

Exits 1 when a repository could not be proven. One that was verified before and
cannot be reached now stays usable.`,
		Example: "  deploykeyd verify",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			status, err := control.NewClient(o.controlSocket()).Verify(ctx)
			if errors.Is(err, control.ErrInterrupted) {
				return fail(exitFailed, "run deploykeyd verify again", "the daemon was reloaded or ended meanwhile: %w", err)
			}
			if err != nil {
				return err
			}
			if err := printStatus(cmd.OutOrStdout(), status, false); err != nil {
				return err
			}
			unproven := 0
			for _, r := range status.Repositories {
				if r.Condition != agent.ConditionVerified || r.Reason != "" {
					unproven++
				}
			}
			if unproven > 0 {
				return fail(exitFailed, "see the reasons above", "%d of %d repositories could not be proven", unproven, len(status.Repositories))
			}
			return nil
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait for the result")
	return c
}
