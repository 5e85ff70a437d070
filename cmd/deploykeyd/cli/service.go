package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"deploykeyd/agent/service"
	"deploykeyd/systemd"
)

func newService(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:   "service",
		Short: "Install, start and stop the daemon as a service, and let CI agents wait for it",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(newServiceInstall(), newServiceUninstall(o), newServiceStart(), newServiceStop(o), newServiceStatus(),
		newServiceGate(o), newServiceReset(o))
	return c
}

// sayTo returns what prints one line for each thing that was done.
func sayTo(w io.Writer) func(string) {
	return func(line string) { _, _ = fmt.Fprintln(w, line) }
}

// serviceError gives a failure at the service manager its next step.
func serviceError(err error) error {
	if e, ok := errors.AsType[*service.Error](err); ok {
		return fail(exitFailed, e.Next, "%w", err)
	}
	return err
}

// unitFiles are the shipped files, for a machine without the package.
func unitFiles() service.Files {
	return service.Files{Unit: systemd.Service, Sysusers: systemd.Sysusers()}
}

func newServiceInstall() *cobra.Command {
	return &cobra.Command{
		Use:   "install",
		Short: "Start the daemon whenever the machine starts",
		Long: `Write and enable a systemd unit that runs this program, and make the user
deploykeyd and the directories of the configuration. Nothing is started, and no
key is made: it may be done in an image. Where a package brought a unit, that
one is enabled as it is. Doing it again changes nothing.`,
		Example: `  sudo install deploykeyd /usr/local/bin/deploykeyd
  sudo /usr/local/bin/deploykeyd service install`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serviceError(service.Install(cmd.Context(), unitFiles(), sayTo(cmd.OutOrStdout())))
		},
	}
}

func newServiceUninstall(o *options) *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Stop the daemon, take its keys off the forges and remove the service",
		Long: `Stop the daemon, which takes every key of this machine off every forge, and
remove the unit that "service install" wrote, the gates of CI agents, the journal
and the builds' ssh configuration. The configuration, the credentials and the user
deploykeyd stay.

Exits 3, and removes nothing, when keys may remain. The unit of a package is
removed with the package.`,
		Example: "  sudo deploykeyd service uninstall",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, errShutdownTimeout)
			defer cancel()
			return o.uninstall(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", stopTimeout, "how long it may take")
	return c
}

// stopTimeout is above the longest shutdown.timeout that can be configured.
const stopTimeout = 11 * time.Minute

func (o *options) uninstall(ctx context.Context, stdout, stderr io.Writer) error {
	if path := service.Packaged(); path != "" {
		return fail(exitFailed, "remove the package (apt-get remove deploykeyd, dnf remove deploykeyd)", "the unit %s is a package's", path)
	}
	say := sayTo(stdout)
	if err := stopInstalled(ctx, say); err != nil {
		return serviceError(err)
	}
	said, err := o.revoke(ctx, stderr) // what the stop has left, if anything
	if err != nil {
		return err
	}
	say(said)
	if err := service.Uninstall(ctx, say); err != nil {
		return serviceError(err)
	}
	if err := o.removeLeftovers(say); err != nil {
		return err
	}
	for _, unit := range service.Gates() { // an agent behind one would never start again
		if err := removeGate(ctx, stdout, unit); err != nil {
			return serviceError(err)
		}
	}
	return nil
}

// stopInstalled stops the unit where there is one.
func stopInstalled(ctx context.Context, say func(string)) error {
	if !service.Booted() {
		return nil
	}
	u, err := service.Look(ctx, service.UnitName)
	if err != nil || !u.Installed() {
		return err
	}
	if err := service.Stop(ctx); err != nil {
		return err
	}
	say("stopped " + service.UnitName)
	return nil
}

func newServiceStart() *cobra.Command {
	return &cobra.Command{
		Use:   "start",
		Short: "Start the service, without waiting for it",
		Long: `Ask systemd to start the unit, and return at once. "deploykeyd wait" then waits
until the repositories are verified; "deploykeyd up" does both.`,
		Example: "  sudo deploykeyd service start && deploykeyd wait",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serviceError(service.Start(cmd.Context()))
		},
	}
}

func newServiceStop(o *options) *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "stop",
		Short: "Stop the service, which takes its keys off the forges",
		Long: `Stop the unit, and wait until every key of this machine is off every forge. Exits
3, with the list, when keys may remain.`,
		Example: "  sudo deploykeyd service stop",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			if err := service.Stop(ctx); err != nil {
				return serviceError(err)
			}
			status, err := o.statusFromJournal()
			if err != nil {
				return fail(exitKeysRemain, nextStep(err), "stopped, but keys may remain on forges: %w", err)
			}
			if err := keysRemain(status.Remaining); err != nil {
				return err
			}
			sayTo(cmd.OutOrStdout())("stopped: " + nothingRemains)
			return nil
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", stopTimeout, "how long to wait")
	return c
}

func newServiceStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what systemd says of the service",
		Long: `Show the state of the unit, whether it starts with the machine, and which file it
comes from. Exits 1 unless it is active. What the daemon itself knows shows
"deploykeyd status".`,
		Example: "  deploykeyd service status",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, err := service.Look(cmd.Context(), service.UnitName)
			if err != nil {
				return serviceError(err)
			}
			if !u.Installed() {
				return fail(exitFailed, "deploykeyd service install", "%s", u)
			}
			say := sayTo(cmd.OutOrStdout())
			say(u.String())
			say(fmt.Sprintf("at the machine's start: %s; unit file: %s", u.Enabled, u.Path))
			for _, unit := range service.Gates() {
				say("gated: " + unit)
			}
			switch {
			case u.Failing():
				return fail(exitFailed, "journalctl --unit="+service.UnitName, "the service fails")
			case u.Active != "active" && u.Active != "reloading":
				return fail(exitFailed, "deploykeyd service start", "the service is %s", u.Active)
			}
			return nil
		},
	}
}
