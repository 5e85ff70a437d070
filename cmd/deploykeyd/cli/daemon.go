package cli

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"

	"deploykeyd/agent"
	"deploykeyd/agent/config"
	"deploykeyd/agent/control"
	"deploykeyd/agent/journal"
	"deploykeyd/agent/machine"
	"deploykeyd/agent/sshagent"
	"deploykeyd/agent/unixsock"
	"deploykeyd/provision/verify"
)

// daemon is everything that one run of the program holds open.
type daemon struct {
	machine machine.Machine
	journal *journal.Journal
	server  *sshagent.Server
	agent   *agent.Agent
	control *control.Server
	log     *slog.Logger

	handover      *handover
	users         *unixsock.Users
	agentSocket   *unixsock.Listener
	controlSocket *unixsock.Listener
	// of single repositories, where they are configured
	repositorySockets []repositorySocket

	serving      sync.WaitGroup
	serveControl func()
	stopServing  context.CancelFunc
}

// loadConfig reads the configuration of the flags and checks its host keys.
func (o *options) loadConfig() (config.Config, error) {
	cfg, err := config.Load(o.config)
	if err == nil {
		err = checkHostKeys(cfg)
	}
	if _, told := errors.AsType[*config.Problems](err); err != nil && !told {
		return cfg, fail(exitUsage, "", "%w", err)
	}
	return cfg, err
}

// identify says who this machine is.
func identify(cfg config.Config) (machine.Machine, error) {
	m, err := machine.Identify(machine.Options{Override: cfg.Machine, Credentials: os.Getenv("CREDENTIALS_DIRECTORY")})
	if err != nil {
		return m, fail(exitFailed, "give the machine a name of its own with machine: in the configuration", "identify this machine: %w", err)
	}
	return m, nil
}

// openJournal opens the machine's journal. The warnings say what was set aside.
func (o *options) openJournal(m machine.Machine) (*journal.Journal, []string, error) {
	j, err := journal.Open(o.journal(), m.ID, journal.Options{})
	if err != nil {
		return nil, nil, err
	}
	var warnings []string
	if path := j.SetAside(); path != "" {
		warnings = append(warnings, "the journal was of another machine: this one may be a copy of its disk; its records lie untouched in "+path)
	}
	if m.Weak {
		warnings = append(warnings, "this machine is known by its machine-id alone, which copies of its image share: "+
			"keys that another boot left are revoked only once they have expired; give it a cloud-init instance-id or machine: in the configuration")
	}
	return j, warnings, nil
}

// newDaemon opens everything; nothing runs yet. On an error nothing stays open.
func newDaemon(o *options, cfg config.Config, left *handover, unprotected []string, log *slog.Logger) (_ *daemon, err error) {
	d := &daemon{log: log, handover: left, stopServing: func() {}}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if d.machine, err = identify(cfg); err != nil {
		return nil, err
	}
	if err := o.makeDirectories(); err != nil {
		return nil, err
	}
	var warnings []string
	if d.journal, warnings, err = o.openJournal(d.machine); err != nil {
		return nil, err
	}
	d.users = unixsock.NewUsers(cfg.Users, cfg.Groups, unixsock.Resolver{}, log)
	d.server = sshagent.New(sshagent.Options{Forges: o.agentForges(cfg), Users: d.users, Logger: log})
	if err := d.listen(o, cfg); err != nil {
		return nil, err
	}
	agentOptions, err := o.agentOptions(cfg, log)
	if err != nil {
		return nil, err
	}
	agentOptions.Machine, agentOptions.Boot, agentOptions.WeakMachine = d.machine.ID, d.machine.Boot, d.machine.Weak
	agentOptions.Journal, agentOptions.Publisher, agentOptions.Parking = d.journal, d.server, left.parking
	if agentOptions.Verifier, err = newVerifier(cfg, d.server, o.verifyDir(), log); err != nil {
		return nil, err
	}
	warnings = append(warnings, unprotected...)
	warnings = append(warnings, left.warnings...)
	agentOptions.Warnings = warnings
	for _, w := range warnings {
		log.Warn("warning", slog.String("reason", w))
	}
	d.agent = agent.New(agentOptions)
	d.agent.Resume(left.parked) // before anybody is served: a build must not find less than it had
	d.control = control.NewServer(control.Options{Daemon: d.agent, Users: d.users, Logger: log})
	return d, nil
}

// makeDirectories makes the daemon's directories, and refuses those in which
// another user could change what the daemon runs or reads.
func (o *options) makeDirectories() error {
	for _, d := range []struct {
		path string
		mode fs.FileMode
	}{{o.stateDir, 0o700}, {o.runDir, 0o755}, {o.socketsDir(), 0o755}, {o.verifyDir(), 0o700}} {
		if err := unixsock.SafeDir(d.path, d.mode); err != nil {
			return err
		}
	}
	return nil
}

// listen opens the sockets. Once they are ours, what an earlier daemon that was
// killed left of its proofs belongs to nobody.
func (d *daemon) listen(o *options, cfg config.Config) (err error) {
	if d.agentSocket, err = d.handover.listen(o.nameOf(o.agentSocket()), o.agentSocket()); err != nil {
		return err
	}
	if d.controlSocket, err = d.handover.listen(o.nameOf(o.controlSocket()), o.controlSocket()); err != nil {
		return err
	}
	return errors.Join(d.listenRepositories(o, cfg), verify.Clean(o.verifyDir()), sshagent.CleanVerifications(o.verifyDir()))
}

func socketError(err error) error {
	if errors.Is(err, unixsock.ErrInUse) {
		return fail(exitFailed, "stop the process that serves it, or use another --run-dir", "%w", err)
	}
	return err
}

// start begins to serve and to live. The channel tells of a part that ended
// by itself; all end with ctx, except the control socket, which shows the
// revocation until close.
func (d *daemon) start(ctx context.Context) <-chan error {
	ended := make(chan error, 2+len(d.repositorySockets))
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	d.stopServing = stop
	parts := []func() error{
		func() error { return d.server.Serve(ctx, d.agentSocket) },
	}
	for _, s := range d.repositorySockets {
		parts = append(parts, func() error { return d.server.ServeRepository(ctx, s.listener, s.forge, s.repository) })
	}
	d.serving.Go(func() { d.agent.Run(ctx) })
	d.serving.Go(func() {
		if err := d.users.Refresh(ctx); err != nil { // they may appear later
			d.log.WarnContext(ctx, "not every configured user is known", slog.String("reason", err.Error()))
		}
	})
	serve := func(part func() error) {
		d.serving.Go(func() {
			if err := part(); err != nil && ctx.Err() == nil {
				ended <- err
			}
		})
	}
	for _, part := range parts {
		serve(part)
	}
	d.serveControl = func() {
		server := d.control
		serve(func() error { return server.Serve(serving, d.controlSocket) })
	}
	d.serveControl()
	return ended
}

// settle gives back, once everything is ready, the memory that registering and
// proving took: from then on the daemon mostly waits.
func (d *daemon) settle(ctx context.Context) {
	if d.agent.AwaitReady(ctx) == nil {
		debug.FreeOSMemory()
	}
}

// close ends what still serves and closes everything.
func (d *daemon) close() {
	if d.agent != nil {
		d.agent.Close()
	}
	d.stopServing()
	d.serving.Wait()
	for _, l := range append(d.keySockets(), d.controlSocket) {
		if l != nil {
			_ = l.Close() // closed already when it was served
		}
	}
	if d.journal != nil {
		if err := d.journal.Close(); err != nil {
			d.log.Error("close the journal", slog.String("error", err.Error()))
		}
	}
}

// keySockets returns the sockets that keys are lent over; nil for one that is
// not open.
func (d *daemon) keySockets() []*unixsock.Listener {
	list := []*unixsock.Listener{d.agentSocket}
	for _, s := range d.repositorySockets {
		list = append(list, s.listener)
	}
	return list
}
