package forgesim

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"deploykeyd/provision"
)

// Forge is one emulated forge. Its methods are the test's way in, behind the
// forge's back; clients use Transport, URL and SSH. They panic where a test
// names a repository that does not exist: that is a mistake in the test.
type Forge struct {
	sim      *Sim
	kind     provision.Kind
	dialect  dialect
	latency  time.Duration
	pageSize int
	logger   *slog.Logger

	url     string // without /api
	host    string // of url, as requests name it
	ssh     provision.SSHAddress
	listens Listen // the addresses in use; zero without sockets
	hostKey hostKey
	dir     string // holds the bare repositories; empty without sockets
	closers []io.Closer
	admin   Token

	mu       sync.Mutex // never held across a wait
	store    store
	faults   faults
	budget   budget
	requests []Request
	commands []Command
	held     int
	changed  chan struct{} // closed and replaced at each event
}

// hostName is the name of a forge of kind k: RFC 2606 keeps .test for such use.
func hostName(k provision.Kind) string { return string(k) + ".test" }

func newForge(s *Sim, k provision.Kind, o Options) (*Forge, error) {
	d, err := dialectOf(k)
	if err != nil {
		return nil, err
	}
	key, err := newHostKey()
	if err != nil {
		return nil, err
	}
	f := &Forge{
		sim: s, kind: k, dialect: d, hostKey: key,
		latency: o.Latency, pageSize: o.PageSize,
		logger:  o.Logger.With(slog.String("forge", string(k))),
		store:   newStore(),
		changed: make(chan struct{}),
	}
	f.admin = d.admin()
	f.AddToken(f.admin)
	return f, nil
}

// setHost fixes what the forge calls itself.
func (f *Forge) setHost(scheme, host, sshHost string, sshPort int) {
	f.host = host
	f.url = scheme + "://" + host
	f.ssh = provision.SSHAddress{User: "git", Host: sshHost, Port: sshPort}
}

// listen opens the forge's sockets and serves them until Close.
func (f *Forge) listen(ctx context.Context, at Listen, names bool) error {
	if err := f.prepareDir(ctx); err != nil {
		return err
	}
	if err := f.keepHostKey(); err != nil {
		return fmt.Errorf("host key: %w", err)
	}
	var l net.ListenConfig
	web, err := l.Listen(ctx, "tcp", at.HTTP)
	if err != nil {
		return fmt.Errorf("listen for HTTP: %w", err)
	}
	f.closers = append(f.closers, web)
	shell, err := l.Listen(ctx, "tcp", at.SSH)
	if err != nil {
		return fmt.Errorf("listen for SSH: %w", err)
	}
	f.closers = append(f.closers, shell)
	f.listens = Listen{HTTP: web.Addr().String(), SSH: shell.Addr().String()}
	webHost, webPort, err := net.SplitHostPort(f.listens.HTTP)
	if err != nil {
		return err
	}
	sshHost, sshPort, err := net.SplitHostPort(f.listens.SSH)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(sshPort)
	if err != nil {
		return err
	}
	if names {
		webHost, sshHost = hostName(f.kind), hostName(f.kind)
	}
	f.setHost("http", net.JoinHostPort(webHost, webPort), sshHost, port)
	f.serveHTTP(web)
	f.sim.tasks.Go(func() { f.serveSSH(shell) })
	return nil
}

// Kind returns what the forge stands in for.
func (f *Forge) Kind() provision.Kind { return f.kind }

// URL returns what a configuration's url: holds: no path, no trailing slash.
func (f *Forge) URL() string { return f.url }

// SSH returns where the forge answers SSH. Without sockets nobody does.
func (f *Forge) SSH() provision.SSHAddress { return f.ssh }

// Addresses returns the addresses that the forge listens on.
func (f *Forge) Addresses() Listen { return f.listens }

// HostName returns the name that Options.Names gives to the forge.
func (f *Forge) HostName() string { return hostName(f.kind) }

// HostKeys returns the host keys as lines of type and base64.
func (f *Forge) HostKeys() []string { return []string{f.hostKey.public.String()} }

// Credential returns an administrator's credential with all rights. The
// username is empty where the forge takes a token alone.
func (f *Forge) Credential() (username, token string) {
	if !f.dialect.basic() {
		return "", f.admin.Secret
	}
	return f.admin.Username, f.admin.Secret
}
