package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"deploykeyd/agent/control"
)

func newVerify(o *options) *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "verify",
		Short: "Prove every repository again, now",
		Long: `Make the daemon prove every repository again with real git, and try again what
has failed: after a right was granted, a repository made or a policy changed.

Exits 1 when a repository is not verified after that.`,
		Example: "  deploykeyd verify",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			status, err := control.NewClient(o.controlSocket()).Verify(ctx)
			if err != nil {
				return err
			}
			if err := printStatus(cmd.OutOrStdout(), status, false); err != nil {
				return err
			}
			if missing := len(status.Repositories) - countVerified(status); missing > 0 {
				return fail(exitFailed, "see the reasons above", "%d of %d repositories are not verified", missing, len(status.Repositories))
			}
			return nil
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait for the result")
	return c
}
