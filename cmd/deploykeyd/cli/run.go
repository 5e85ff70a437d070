package cli

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"deploykeyd/agent/custody"
	"deploykeyd/agent/service"
)

func newRun(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon in the foreground",
		Long: `Run the daemon in the foreground: register, verify, lend and, on SIGTERM or
SIGINT, revoke. A second signal leaves the revocation two more seconds. SIGHUP
takes up a new configuration and a new program, and keeps the keys.

Exits 0 when every key is proven gone from every forge, 3 with a list when keys
may remain.`,
		Example: `  deploykeyd run
  deploykeyd run --config ./try.yaml --run-dir /tmp/try/run --state-dir /tmp/try/state`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return service.Run(func() error { return supported(runtime.GOOS) }, func() error {
				signals := make(chan os.Signal, 256) // first of all: what comes before has its default effect. Hangups in a row push out no SIGTERM
				signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
				defer signal.Stop(signals)
				log, err := o.logger(cmd.ErrOrStderr())
				if err != nil {
					return err
				}
				return o.run(cmd.Context(), log, signals)
			})
		},
	}
	c.Flags().StringVar(&o.logFormat, "log-format", "text", "text or json")
	c.Flags().StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	return c
}

// supported refuses systems where guarantees cannot be kept.
func supported(goos string) error {
	if goos == "linux" {
		return nil
	}
	return fail(exitUsage, "run the daemon on Linux; the other commands work here",
		"on %s the daemon cannot keep its promises: G2 (a user who may use the key cannot read it) and "+
			"G3 (who may sign is decided by the peer's identity) need Linux", goos)
}

func (o *options) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return nil, fail(exitUsage, "use debug, info, warn or error", "--log-level %s is unknown", o.logLevel)
	}
	handlerOptions := &slog.HandlerOptions{Level: level}
	switch strings.ToLower(o.logFormat) {
	case "text":
		return slog.New(slog.NewTextHandler(w, handlerOptions)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, handlerOptions)), nil
	}
	return nil, fail(exitUsage, "use text or json", "--log-format %s is unknown", o.logFormat)
}

// run is the daemon from its start to its exit.
func (o *options) run(ctx context.Context, log *slog.Logger, signals chan os.Signal) error {
	unprotected := custody.Protect().Warnings // before anything secret is here
	manager, err := service.FromEnvironment()
	if err != nil {
		return err
	}
	program, err := os.Executable() // now: after an upgrade it is another file's path
	if err != nil {
		return err
	}
	cfg, err := o.loadConfig()
	if err != nil {
		return err
	}
	if err := o.checkCredentials(ctx, cfg); err != nil {
		return err
	}
	d, err := newDaemon(o, cfg, receive(manager, program, log), unprotected, log) //nolint:contextcheck // to listen takes no time worth ending
	if err != nil {
		return err
	}
	defer d.close()

	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := d.start(running)
	log.InfoContext(ctx, "running", slog.String("version", version), slog.String("machine", d.machine.ID),
		slog.String("agent_socket", o.agentSocket()), slog.Duration("shutdown_timeout", cfg.Shutdown.Timeout))
	d.handover.ready()
	go d.settle(running)
	telling, silence := context.WithCancel(context.WithoutCancel(ctx)) // the watchdog waits for a revocation's life signs too
	defer silence()
	if manager.Listens() {
		go d.tell(telling)
	}
	runErr := d.awaitEnd(ctx, o, signals, ended)
	stop()

	d.handover.stopping(cfg.Shutdown.Timeout)
	revoking, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), cfg.Shutdown.Timeout, errShutdownTimeout)
	defer cancel()
	go shorten(revoking, cancel, signals, log)
	for _, l := range d.keySockets() { // after a drain nobody else has: builds would wait there
		_ = l.Close()
	}
	remnants := d.agent.Revoke(revoking)
	d.handover.end()
	if err := keysRemain(remnants); err != nil {
		if runErr != nil {
			log.ErrorContext(ctx, "the daemon ended by itself", slog.String("error", runErr.Error()))
		}
		return err
	}
	return runErr
}

// awaitEnd returns at the first signal to stop, or with the error of a part
// of the daemon that ended by itself. A reload that works does not return.
func (d *daemon) awaitEnd(ctx context.Context, o *options, signals chan os.Signal, ended <-chan error) error {
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				d.log.InfoContext(ctx, "stopping", slog.String("signal", s.String()))
				return nil
			}
			if mustEnd, err := d.reload(ctx, o, signals); mustEnd {
				return err
			}
		case err := <-ended:
			return err
		}
	}
}

// secondSignalGrace is what a second signal leaves of the shutdown's time.
const secondSignalGrace = 2 * time.Second

// shorten ends the revocation soon after another signal to stop.
func shorten(ctx context.Context, cancel context.CancelFunc, signals <-chan os.Signal, log *slog.Logger) {
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGHUP {
				continue
			}
			log.WarnContext(ctx, "second signal: giving the revocation little more time", slog.Duration("left", secondSignalGrace))
			timer := time.AfterFunc(secondSignalGrace, cancel)
			<-ctx.Done()
			timer.Stop()
			return
		case <-ctx.Done():
			return
		}
	}
}
