package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"deploykeyd/agent/control"
)

// drainTime is how long a reload lets clients finish what they have begun. New
// ones wait in the sockets' queues meanwhile, until the successor serves them.
const drainTime = 5 * time.Second

// errStopAsked says that a signal to stop came while a reload was under way.
var errStopAsked = errors.New("told to stop during the reload")

// reload checks the new configuration and program, and then executes the
// program in place, with the sockets and the parked keys handed over. It returns
// false when everything goes on as before, and true when the daemon must end.
func (d *daemon) reload(ctx context.Context, o *options, signals chan os.Signal) (mustEnd bool, err error) {
	d.handover.reloading()
	defer func() {
		if !mustEnd {
			d.handover.ready()
		}
	}()
	err = d.checkSuccessor(ctx, o)
	if err == nil {
		err = d.agent.Suspend(ctx)
	}
	if err != nil {
		d.log.ErrorContext(ctx, "not reloaded: everything goes on as before", slog.String("reason", err.Error()), slog.String("next", nextStep(err)))
		return false, nil
	}
	d.log.InfoContext(ctx, "reloading", slog.String("program", d.handover.program), slog.Duration("drain", drainTime))
	if err := d.drain(ctx, signals); err != nil {
		return true, nil // a stop, which is no error
	}
	// A client that was still served may have asked for a revocation. From here on
	// nobody can but by a signal.
	if err := d.agent.Suspend(ctx); err != nil {
		d.log.WarnContext(ctx, "not reloaded", slog.String("reason", err.Error()))
		d.stayRevoked()
		return false, nil
	}
	return true, d.execute(signals)
}

// checkSuccessor refuses what the successor could not start with.
func (d *daemon) checkSuccessor(ctx context.Context, o *options) error {
	cfg, err := o.loadConfig()
	if err != nil {
		return err
	}
	if err := o.checkCredentials(ctx, cfg); err != nil {
		return err
	}
	m, err := identify(cfg)
	switch {
	case err != nil:
		return err
	case m.ID != d.machine.ID: // the successor would leave our journal, and with it our keys, to another machine
		return fail(exitFailed, "restart the daemon, which revokes the keys of the machine that it was",
			"this machine would be %s from now on, and was %s", m.ID, d.machine.ID)
	}
	info, err := os.Stat(d.handover.program)
	if err == nil && info.Mode()&0o111 == 0 {
		err = fmt.Errorf("%s is not executable", d.handover.program)
	}
	return err
}

// drain ends the serving, without closing the sockets. A signal to stop ends
// the drain, and is its error.
func (d *daemon) drain(ctx context.Context, signals <-chan os.Signal) error {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	var parts sync.WaitGroup
	parts.Go(func() { d.server.Drain(ctx) })
	parts.Go(func() { d.control.Drain(ctx) })
	done := make(chan struct{})
	go func() {
		parts.Wait()
		close(done)
	}()
	stop := false
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGHUP { // another one is answered by this reload
				stop = true
				cancel()
			}
		case <-done:
			if stop {
				return errStopAsked
			}
			return nil
		}
	}
}

// execute replaces this process by the program. It returns only when that
// failed; then nothing is served any more, and what was registered is there to
// be revoked. The journal needs no closing: what was written is durable, and its
// lock ends with this program.
func (d *daemon) execute(signals chan os.Signal) error {
	files, err := d.leave()
	signal.Stop(signals) // waits for those in flight; what comes later ends the program, and the unit revokes
	if err == nil && stopAsked(signals) {
		return nil
	}
	if err == nil {
		signal.Ignore(syscall.SIGHUP) // until the successor listens for it, which is before it reads its configuration
		err = d.handover.manager.Reexec(d.handover.program, os.Args, files)
	}
	for name, f := range files {
		if name != parkedKeys { // the others are duplicates
			_ = f.Close()
		}
	}
	return fmt.Errorf("reload: %w", err)
}

// stopAsked reports whether a signal to stop has come that nobody has read yet:
// the execution would lose it.
func stopAsked(signals <-chan os.Signal) bool {
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				return true
			}
		default:
			return false
		}
	}
}

// leave returns what the successor gets.
func (d *daemon) leave() (map[string]*os.File, error) {
	files := map[string]*os.File{}
	if d.handover.parking != nil {
		files[parkedKeys] = d.handover.parking.File()
	}
	for name, l := range d.handover.listening {
		f, err := l.File()
		if err != nil {
			return files, err
		}
		files[name] = f
	}
	return files, nil
}

// stayRevoked goes on after a reload that a revocation came into. Whoever
// revokes wants no new keys until somebody restarts the daemon: to end would make
// the service manager do just that. Keys are lent no more, so their sockets go;
// the control socket says why.
func (d *daemon) stayRevoked() {
	for _, l := range d.keySockets() {
		_ = l.Close()
	}
	_ = d.controlSocket.SetDeadline(time.Time{})
	d.control = control.NewServer(control.Options{Daemon: d.agent, Users: d.users, Logger: d.log})
	d.serveControl()
}
