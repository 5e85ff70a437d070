package verify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/sshconfig"
)

// The defaults of Options.
const (
	// DefaultTakeUp covers the hosted forges and self-hosted ones with several
	// nodes, where a key can be unknown for seconds after its registration.
	DefaultTakeUp = time.Minute
	// DefaultTimeout leaves a busy server half a minute to begin its answer.
	DefaultTimeout = 30 * time.Second
	// DefaultMaxBytes is more than the tip commit of any repository, and less
	// than a worktree that is worth not downloading.
	DefaultMaxBytes = 16 << 20
)

// Options adjust a Prover. The zero value is ready to use.
type Options struct {
	Git, SSH string        // programs; "" is git and ssh in PATH
	Dir      string        // where temporary folders are made; "" is os.TempDir
	TakeUp   time.Duration // how long a key may be unknown to the SSH side
	Timeout  time.Duration // of each git command
	MaxBytes int64         // what a clone may download
	Logger   *slog.Logger  // nil discards
}

// Prover proves that keys open repositories. It is safe for concurrent use.
type Prover struct {
	git, ssh string
	o        Options
}

// New returns a Prover, or an error when git or ssh is not installed.
func New(o Options) (*Prover, error) {
	p := &Prover{o: o}
	for _, program := range []struct {
		name, given string
		found       *string
	}{{"git", o.Git, &p.git}, {"ssh", o.SSH, &p.ssh}} {
		name := program.given
		if name == "" {
			name = program.name
		}
		path, err := exec.LookPath(name)
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err != nil {
			return nil, fmt.Errorf("verify: %w: install git and the OpenSSH client", err)
		}
		*program.found = path
	}
	if p.o.TakeUp == 0 {
		p.o.TakeUp = DefaultTakeUp
	}
	if p.o.Timeout == 0 {
		p.o.Timeout = DefaultTimeout
	}
	if p.o.MaxBytes == 0 {
		p.o.MaxBytes = DefaultMaxBytes
	}
	if p.o.Logger == nil {
		p.o.Logger = slog.New(slog.DiscardHandler)
	}
	return p, nil
}

// Request asks for one proof.
type Request struct {
	Host        sshconfig.Host
	Kind        provision.Kind
	Repository  provision.Repository
	AgentSocket string     // absolute path of a socket that offers the key under test, and no other
	Signed      func() int // how many signatures that socket has given so far
}

// Result is a proof that succeeded.
type Result struct {
	Duration time.Duration // from the request to the proof, waiting included
	Bytes    int64         // of the pack that was downloaded
	Note     string        // what was unusual: "empty repository", "cut at 16 MB"; mostly empty
}

// Prove returns nil only when git has read the repository and the socket has
// signed each of its logins. While the SSH side does not know the key yet it
// tries again, for Options.TakeUp. A clone that is cut off by our own limits
// after its pack has begun is a proof: a server without partial clones sends
// more than is needed.
//
// Errors are *provision.Error with Op "verify". Their Class is Transient for a
// key that is not known yet, for a network in trouble and for what was not
// understood; NotFound or Denied for a refusal of this repository; Invalid for
// a host key that is not pinned and for a request that cannot be run.
func (p *Prover) Prove(ctx context.Context, r Request) (Result, error) {
	begin := time.Now()
	result, err := p.prove(ctx, r)
	if err != nil {
		return Result{}, refused(r, err)
	}
	result.Duration = time.Since(begin)
	p.o.Logger.DebugContext(ctx, "repository read with the key",
		"forge", r.Host.Forge, "repository", string(r.Repository),
		"duration", result.Duration, "bytes", result.Bytes, "note", result.Note)
	return result, nil
}

func (p *Prover) prove(ctx context.Context, r Request) (_ Result, err error) {
	if _, err := provision.ParseRepository(r.Kind, string(r.Repository)); err != nil {
		return Result{}, invalid(err)
	}
	dir, err := os.MkdirTemp(p.o.Dir, folderPrefix)
	if err != nil {
		return Result{}, fmt.Errorf("make a temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	config := filepath.Join(dir, "ssh_config")
	if _, err := sshconfig.Write(config, []sshconfig.Host{r.Host}, sshconfig.Options{
		AgentSocket: r.AgentSocket, KnownHosts: filepath.Join(dir, "known_hosts"),
	}); err != nil {
		return Result{}, invalid(err)
	}
	w := &work{
		prover: p, request: r, dir: dir, clone: filepath.Join(dir, "clone.git"),
		url: r.Host.SSH.CloneURL(r.Repository), env: environment(dir, p.ssh, config),
	}
	return w.untilTakenUp(ctx)
}

// The pauses between tries: the first finds a fast forge, the last is gentle
// to a slow one.
const (
	firstPause = 200 * time.Millisecond
	lastPause  = 5 * time.Second
)

// untilTakenUp tries until the SSH side knows the key.
func (w *work) untilTakenUp(ctx context.Context) (Result, error) {
	begin := time.Now()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		result, err := w.try(ctx)
		if !errors.Is(err, errNotTakenUp) || time.Since(begin)+pause > w.prover.o.TakeUp {
			return result, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return Result{}, context.Cause(ctx)
		}
	}
}

// try runs both commands once.
func (w *work) try(ctx context.Context) (Result, error) {
	if err := w.lsRemote(ctx); err != nil {
		return Result{}, err
	}
	return w.cloneOnce(ctx)
}
