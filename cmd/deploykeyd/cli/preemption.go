package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"deploykeyd/agent/custody"
	"deploykeyd/agent/preemption"
)

// acknowledgeTime is how long telling the cloud may take, after all else.
const acknowledgeTime = 5 * time.Second

// preemptionFlags are the flags of the command.
type preemptionFlags struct {
	cloud, endpoint string
	grace, timeout  time.Duration
	acknowledge     bool
}

func newPreemption(o *options) *cobra.Command {
	var f preemptionFlags
	c := &cobra.Command{
		Use:   "preemption",
		Short: "Wait for the cloud's notice that it takes this machine away, then revoke",
		Long: `Watch the cloud's metadata service until it says that this machine is about to
be taken away, then do what "deploykeyd revoke" does. Machines whose end is an
orderly shutdown do not need it: the stop of the service revokes.

  aws    spot interruption, and the end in an Auto Scaling group
  gcp    preemption, and host maintenance that ends the machine
  azure  scheduled events Preempt and Terminate of this machine

After a notice, builds that still run go on for as long as --grace says, then
they lose access. The grace is cut where the cloud's deadline would leave less
than --timeout for the revocation: Amazon gives two minutes, Google and Azure 30
seconds. Keys that were revoked because of a notice stay revoked, also where the
cloud changes its mind: then restart the service.

Exits as "deploykeyd revoke" does: 0 when no key is left, 3, with the list, when
keys may remain. Exits 1 when there is no metadata service of that cloud.`,
		Example: `  deploykeyd preemption --cloud aws --grace 60s
  deploykeyd preemption --cloud azure --acknowledge
  systemctl enable --now deploykeyd-preemption   # with DEPLOYKEYD_CLOUD=aws in /etc/deploykeyd/preemption`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = custody.Protect() // the revocation may read credentials: no warnings in a teardown
			return o.preemption(cmd.Context(), f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&f.cloud, "cloud", "", "whose machine this is: "+clouds())
	c.Flags().DurationVar(&f.grace, "grace", 0, "how long builds may go on after the notice, at most")
	c.Flags().DurationVar(&f.timeout, "timeout", 20*time.Second, "how long the revocation may take")
	c.Flags().BoolVar(&f.acknowledge, "acknowledge", false, "once all is revoked, tell Azure that it need not wait; not for events that name other machines too")
	c.Flags().StringVar(&f.endpoint, "endpoint", "", "root of the metadata service (default http://169.254.169.254)")
	return c
}

func clouds() string {
	var names []string
	for _, c := range preemption.Clouds() {
		names = append(names, string(c))
	}
	return strings.Join(names, ", ")
}

// preemption waits for a notice and acts on it.
func (o *options) preemption(ctx context.Context, f preemptionFlags, stdout, stderr io.Writer) error {
	cloud, err := preemption.ParseCloud(f.cloud)
	if err != nil {
		return fail(exitUsage, "say whose machine this is: --cloud with "+clouds()+
			", or DEPLOYKEYD_CLOUD= in /etc/deploykeyd/preemption for the service", "%w", err)
	}
	watched := preemption.Options{Cloud: cloud, Endpoint: f.endpoint, Log: slog.New(slog.NewTextHandler(stderr, nil))}
	notice, err := preemption.Watch(ctx, watched)
	if errors.Is(err, preemption.ErrAbsent) {
		return fail(exitFailed, "give --cloud the right name, or let this user reach the metadata address", "%w", err)
	}
	if err != nil {
		return fail(exitUsage, "see deploykeyd preemption --help", "%w", err)
	}
	grace := graceOf(notice, f)
	_, _ = fmt.Fprintf(stderr, "notice of %s (%s)%s: builds that still run lose access in %v\n",
		notice.Cloud, notice.Reason, deadlineOf(notice), grace.Round(time.Second))
	select {
	case <-ctx.Done():
	case <-time.After(grace):
	}
	ctx, cancel := context.WithTimeoutCause(ctx, f.timeout, errShutdownTimeout)
	defer cancel()
	said, err := o.revoke(ctx, stderr)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(stdout, said)
	if f.acknowledge {
		acknowledge(context.WithoutCancel(ctx), watched, notice, stderr)
	}
	return nil
}

// acknowledge tells the cloud. That it cannot be told is no failure: all that
// was to be done is done.
func acknowledge(ctx context.Context, o preemption.Options, n preemption.Notice, stderr io.Writer) {
	ctx, cancel := context.WithTimeout(ctx, acknowledgeTime)
	defer cancel()
	if err := preemption.Acknowledge(ctx, o, n); err != nil {
		_, _ = fmt.Fprintln(stderr, "warning: the notice could not be acknowledged:", err)
	}
}

// graceOf cuts the grace so that the revocation has its time before the
// deadline, where there is one.
func graceOf(n preemption.Notice, f preemptionFlags) time.Duration {
	grace := max(0, f.grace)
	if left, known := n.Left(); known {
		grace = min(grace, max(0, left-f.timeout))
	}
	return grace
}

func deadlineOf(n preemption.Notice) string {
	if n.Deadline.IsZero() {
		return ""
	}
	return " for " + n.Deadline.UTC().Format(time.RFC3339)
}
