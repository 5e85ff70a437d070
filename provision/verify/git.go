package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// waitDelay bounds how long a killed git's own children are waited for.
const waitDelay = 5 * time.Second

// watchInterval is how often a clone's size is looked at.
const watchInterval = 50 * time.Millisecond

// Why a command was cut off.
var (
	errTimeout  = errors.New("no answer in time")
	errTooLarge = errors.New("enough downloaded")
)

// work is one proof in its temporary folder.
type work struct {
	prover          *Prover
	request         Request
	dir, clone, url string
	env             []string
}

// environment returns what git and ssh see: nothing of the caller's own but the
// search path.
func environment(dir, ssh, config string) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + dir, "XDG_CONFIG_HOME=" + dir, "TMPDIR=" + dir,
		"LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_CEILING_DIRECTORIES=" + filepath.Dir(dir),
		"GIT_ALLOW_PROTOCOL=ssh",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_SSH_VARIANT=ssh",
		"GIT_SSH_COMMAND=" + shellQuote(ssh) + " -F " + shellQuote(config) + " -o BatchMode=yes -o PreferredAuthentications=publickey",
	}
}

// shellQuote returns s as one word of sh(1), which git hands its ssh command to.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// lsRemote asks for one ref: the cheapest question that needs the right to read.
func (w *work) lsRemote(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, w.prover.o.Timeout, errTimeout)
	defer cancel()
	_, err := w.run(ctx, "ls-remote", "--quiet", "--", w.url, "HEAD")
	return err
}

// cloneOnce downloads as little of the repository as the server allows.
func (w *work) cloneOnce(ctx context.Context) (Result, error) {
	if err := os.RemoveAll(w.clone); err != nil {
		return Result{}, err
	}
	timed, cancel := context.WithTimeoutCause(ctx, w.prover.o.Timeout, errTimeout)
	defer cancel()
	limited, cut := context.WithCancelCause(timed)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		w.watch(limited, cut)
	}()
	done, err := w.run(limited,
		"-c", "gc.auto=0", "-c", "core.fsync=none", // what it writes is thrown away
		"clone", "--quiet", "--bare", "--depth", "1", "--filter=tree:0", "--no-tags", "--template=",
		"--", w.url, w.clone)
	cut(nil)
	<-watching
	result := Result{Bytes: w.packed()}
	wasCut := errors.Is(err, errTooLarge) || errors.Is(err, errTimeout)
	switch {
	case wasCut && result.Bytes > 0 && done.signed:
		result.Note = fmt.Sprintf("cut at %.1f MB", float64(result.Bytes)/1e6)
		return result, nil
	case err != nil:
		return Result{}, err
	case strings.Contains(done.stderr, "cloned an empty repository"):
		result.Note = "empty repository"
	}
	return result, nil
}

// watch cuts a clone off when it has become too large.
func (w *work) watch(ctx context.Context, cut context.CancelCauseFunc) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if w.packed() > w.prover.o.MaxBytes {
				cut(errTooLarge)
				return
			}
		}
	}
}

// packed returns how much of a pack has arrived: git writes one into
// objects/pack under a temporary name, and only after the server has let the
// key read the repository.
func (w *work) packed() int64 {
	folder := filepath.Join(w.clone, "objects", "pack")
	entries, err := os.ReadDir(folder)
	if err != nil {
		return 0 // not there yet
	}
	var sum int64
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, "tmp_pack_") && !strings.HasSuffix(name, ".pack") {
			continue
		}
		if info, err := e.Info(); err == nil {
			sum += info.Size()
		}
	}
	return sum
}

// report is what one git command left to judge.
type report struct {
	stderr string // git's, ssh's and the server's words
	signed bool   // the socket has given a signature meanwhile
}

// run runs one git command. The whole process group is killed when ctx ends;
// the error is then ctx's cause. Git is killed when our own process is. A command that succeeded without a signature
// of the socket is an error.
func (w *work) run(ctx context.Context, args ...string) (report, error) {
	before := w.request.Signed()
	stderr := &capped{room: maxStderr}
	cmd := exec.CommandContext(ctx, w.prover.git, args...)
	cmd.Dir, cmd.Env, cmd.Stderr, cmd.WaitDelay = w.dir, w.env, stderr, waitDelay
	killGroup(cmd)
	// The kernel takes the end of the thread that started a process for that of
	// its parent: this one is kept from ending meanwhile (go.dev/issue/27505).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	done := report{stderr: stderr.String(), signed: w.request.Signed() > before}
	switch {
	case err == nil && !done.signed:
		return done, errNotOurKey
	case err != nil && ctx.Err() != nil:
		return done, context.Cause(ctx)
	case err != nil:
		return done, w.explain(err, done.stderr)
	}
	return done, nil
}
