//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// insideVariable marks the process that already lives in the namespace.
const insideVariable = "DEPLOYKEYD_DEMO_INSIDE"

// limit is how long the whole demo may take.
const limit = 2 * time.Minute

func main() {
	bin := flag.String("bin", "bin", "directory of the programs deploykeyd and forgesim")
	flag.Parse()
	os.Exit(status(run(*bin)))
}

// status prints err and returns the exit status: that of the demo inside the
// namespace, which has told its error already, or 1.
func status(err error) int {
	if err == nil {
		return 0
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() > 0 {
		return exit.ExitCode()
	}
	_, _ = fmt.Fprintln(os.Stderr, "demo:", err)
	return 1
}

func run(bin string) error {
	if os.Geteuid() != 0 {
		return errors.New("it needs root, to act as a build user and to look into the daemon's memory: run sudo make demo")
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if os.Getenv(insideVariable) == "" {
		return enterNamespace(ctx, bin)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return show(ctx, bin)
}

// enterNamespace runs the demo again where its mounts are its own.
func enterNamespace(ctx context.Context, bin string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, self, "-bin", bin)
	c.Env = append(os.Environ(), insideVariable+"=1")
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM}
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 30 * time.Second
	return c.Run()
}
