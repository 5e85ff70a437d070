package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// The exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// run runs the program until ctx ends and returns its exit status: 0 when it
// ended as it was told, 1 when it failed, 2 when it was called wrongly.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stdout)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return exitDone
	case err != nil:
		fmt.Fprintf(stderr, "forgesim: %v\nsee: forgesim --help\n", err)
		return exitUsage
	}
	if err := serve(ctx, o, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "forgesim: %v\n", err)
		return exitFailed
	}
	return exitDone
}

// serve starts everything, says where it is and waits for the end of ctx.
func serve(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	level := slog.LevelWarn
	if o.verbose {
		level = slog.LevelInfo
	}
	sim, err := forgesim.Start(ctx, forgesim.Options{
		Dir: o.dir, Names: o.names, Latency: o.latency, PageSize: o.pageSize, Listen: o.listen,
		Logger: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sim.Close()) }()
	if err := addRepositories(sim, o.repositories); err != nil {
		return err
	}
	control, err := sim.ServeControl(ctx, o.control)
	if err != nil {
		return err
	}
	if o.configOut != "" {
		if err := writeConfig(sim, o); err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
	}
	if o.controlOut != "" {
		if err := writeFile(o.controlOut, control+"\n", 0o644); err != nil {
			return fmt.Errorf("write control address: %w", err)
		}
	}
	if _, err := io.WriteString(stdout, announcement(sim, o, control)); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// writable is a repository that the configuration asks write access to, where
// the forge has that.
const writable = "acme/releases"

func addRepositories(sim *forgesim.Sim, repositories []string) error {
	for _, f := range sim.Forges() {
		for _, r := range repositories {
			if err := f.AddRepository(r, forgesim.RepositoryOptions{}); err != nil {
				return err
			}
		}
		if !provision.TraitsOf(f.Kind()).WriteAccess || slices.Contains(repositories, writable) {
			continue
		}
		if err := f.AddRepository(writable, forgesim.RepositoryOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// announcement says where everything is and what to do with it.
func announcement(sim *forgesim.Sim, o options, control string) string {
	var b strings.Builder
	b.WriteString("forgesim is up, until SIGINT or SIGTERM\n\n")
	for _, f := range sim.Forges() {
		fmt.Fprintf(&b, "  %-16s %s  %s\n", f.Kind(), f.URL(), f.SSH())
	}
	fmt.Fprintf(&b, "  %-16s %s\n", "control", control)
	if o.names {
		b.WriteString("\nThe names must resolve. Lines for /etc/hosts:\n\n")
		for _, f := range sim.Forges() {
			host, _, _ := net.SplitHostPort(f.Addresses().HTTP)
			fmt.Fprintf(&b, "  %s %s\n", host, f.HostName())
		}
	}
	if o.configOut != "" {
		fmt.Fprintf(&b, "\nThe configuration for deploykeyd is %s. Try:\n\n", o.configOut)
		fmt.Fprintf(&b, "  deploykeyd config check --config %[1]s\n  deploykeyd run --config %[1]s\n", o.configOut)
	}
	fmt.Fprintf(&b, "\nKeys on the forges, and a fault:\n\n  curl %[1]s/state\n"+
		"  curl %[1]s/faults -d '{\"forge\": \"gitea\", \"name\": \"hold-reply\", \"op\": \"register\"}'\n", control)
	return b.String()
}
