package cli

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"deploykeyd/agent/control"
	"deploykeyd/agent/custody"
	"deploykeyd/agent/service"
)

func newUp(o *options) *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "up",
		Short: "Install and start the service, and wait until the repositories are verified",
		Long: `Check the configuration, install the systemd unit where there is none, let it
start with the machine, start it, and wait until the repositories are verified:
the line for a runcmd of cloud-init. Doing it again does no harm; a daemon that
runs is left as it is.

Exits 2, with everything that is wrong with the configuration, and 4, with the
reasons, when not ready in time. The service then goes on trying.`,
		Example: `  deploykeyd up
  deploykeyd up --timeout 2m`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return o.up(ctx, cmd.ErrOrStderr(), timeout)
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long all of it may take")
	return c
}

func (o *options) up(ctx context.Context, progress io.Writer, timeout time.Duration) error {
	say := sayTo(progress)
	_ = custody.Protect() // credentials are read, and not for long
	cfg, err := o.loadConfig()
	if err != nil {
		return err
	}
	if err := o.checkUnitCredentials(ctx, cfg); err != nil {
		return err
	}
	say(o.config + " is valid")
	if !service.Booted() {
		return fail(exitFailed, "run deploykeyd run under what runs your services", "systemd does not run this machine")
	}
	if err := bringUp(ctx, say); err != nil {
		return serviceError(err)
	}
	return o.awaitUnit(ctx, progress, timeout)
}

// bringUp installs, enables and starts the unit, as far as that is not done.
func bringUp(ctx context.Context, say func(string)) error {
	u, err := service.Look(ctx, service.UnitName)
	if err != nil {
		return err
	}
	switch {
	case !u.Installed():
		if err := service.Install(ctx, unitFiles(), say); err != nil {
			return err
		}
	case u.Load == "masked":
		return fail(exitFailed, "systemctl unmask "+service.UnitName, "%s is masked", service.UnitName)
	case u.Enabled != "enabled":
		if err := service.Enable(ctx); err != nil {
			return err
		}
		say("enabled " + service.UnitName)
	}
	switch {
	case u.Failing() && u.Wanted():
		say(u.String() + ": systemd tries it again")
		return nil
	case u.Wanted():
		say(u.String() + ", and is left so: systemctl reload deploykeyd takes up a new configuration")
		return nil
	}
	if err := service.Start(ctx); err != nil {
		return err
	}
	say("starting " + service.UnitName)
	return nil
}

// errRefused is why the waiting ends before its time.
var errRefused = errors.New("the service does not start: it ends with exit status 2, as it does when its configuration has a fault")

// lastWords is how many lines of its log say why the service does not start.
const lastWords = 10

// awaitUnit waits until the daemon is ready. A service that ends over and over
// because of its configuration is not waited for.
func (o *options) awaitUnit(ctx context.Context, progress io.Writer, timeout time.Duration) error {
	waiting, giveUp := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		watchUnit(waiting, giveUp)
	}()
	err := wait(waiting, control.NewClient(o.controlSocket()), progress, timeout)
	giveUp(nil)
	<-watched
	if err == nil {
		sayTo(progress)("ready")
		return nil
	}
	after := context.WithoutCancel(ctx) // the time is over, and what follows takes little
	const log = "journalctl --unit=" + service.UnitName
	if errors.Is(context.Cause(waiting), errRefused) {
		return fail(exitUsage, "mend it, and the service starts by itself; see "+log, "%w:\n%s", errRefused, service.LastWords(after, lastWords))
	}
	u, lookErr := service.Look(after, service.UnitName)
	if lookErr != nil {
		return err
	}
	if u.Failing() {
		return fail(exitNotReady, log, "not ready after %v: %s:\n%s", timeout, u, service.LastWords(after, lastWords))
	}
	return fail(exitNotReady, "deploykeyd status shows more; "+log, "%w\n%s, and goes on trying", err, u)
}

// watchUnit gives up when the service is found twice in a row to have ended with
// the status of a bad configuration.
func watchUnit(ctx context.Context, giveUp context.CancelCauseFunc) {
	const often = 2 * time.Second
	tick := time.NewTicker(often)
	defer tick.Stop()
	for seen := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		u, err := service.Look(ctx, service.UnitName)
		if err != nil || !u.Failing() || u.Status != exitUsage {
			seen = 0
			continue
		}
		if seen++; seen == 2 {
			giveUp(errRefused)
			return
		}
	}
}
