//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// as makes c run as the account, with nothing of root's environment.
func (s *stage) as(a account, c *exec.Cmd) *exec.Cmd {
	c.Dir = s.path(a.name)
	if a == daemonUser {
		c.Dir = s.path("run")
	}
	c.Env = []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + c.Dir, "USER=" + a.name, "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
	}
	c.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: a.id, Gid: a.id},
		Pdeathsig:  syscall.SIGTERM,
	}
	return c
}

// output runs c to its end and returns what it said, on both streams.
func output(c *exec.Cmd) (string, error) {
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	err := c.Run()
	text := strings.TrimRight(said.String(), "\n")
	if err != nil {
		return text, fmt.Errorf("%s: %w\n%s", strings.Join(c.Args, " "), err, text)
	}
	return text, nil
}

// daemon is a program that runs beside the demo until it is told to stop.
type daemon struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func launch(c *exec.Cmd) (*daemon, error) {
	if err := c.Start(); err != nil {
		return nil, err
	}
	d := &daemon{cmd: c, done: make(chan struct{})}
	go func() {
		defer close(d.done)
		_ = c.Wait() // the state is asked for by stop
	}()
	return d, nil
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

// stop sends SIGTERM, waits, and returns the exit status.
func (d *daemon) stop(within time.Duration) (int, error) {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return -1, err
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-d.done:
		return d.cmd.ProcessState.ExitCode(), nil
	case <-timer.C:
		_ = d.cmd.Process.Kill()
		<-d.done
		return -1, fmt.Errorf("%s did not end within %v", d.cmd.Path, within)
	}
}

// await calls ready until it says yes, ctx ends or the program dies.
func (d *daemon) await(ctx context.Context, ready func() bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-d.done:
			return fmt.Errorf("%s ended: %s", d.cmd.Path, d.cmd.ProcessState)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
