// Command forgesim runs stand-ins for Gitea, GitHub and Bitbucket Cloud on
// loopback addresses, so that a deploykeyd configuration can be tried without a
// forge. It writes such a configuration, and has an HTTP control API through
// which other processes inject faults and look at the truth.
//
// It owns flags and the files that it writes; everything that it emulates is
// the package provision/forgesim's.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}
