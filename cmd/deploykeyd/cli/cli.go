// Package cli owns the command line: one file a command, and wire.go as the one
// place where forges, journal, sockets and git are put together. It decides
// exit statuses and what people read; every rule of the product lives below it.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"deploykeyd/agent/config"
	"deploykeyd/agent/control"
	"deploykeyd/agent/journal"
	"deploykeyd/provision"
)

// The exit statuses, the same for every command.
const (
	exitFailed     = 1
	exitUsage      = 2
	exitKeysRemain = 3
	exitNotReady   = 4
)

// failure is an error with an exit status and the next step for a person.
type failure struct {
	status int
	err    error
	next   string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// fail returns an error that ends the program with status.
func fail(status int, next string, format string, args ...any) error {
	return &failure{status: status, err: fmt.Errorf(format, args...), next: next}
}

// Main runs the program and returns its exit status.
func Main(args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return 0
	}
	return report(stderr, err)
}

// report prints err for a person and returns its exit status.
func report(stderr io.Writer, err error) int {
	if problems, ok := errors.AsType[*config.Problems](err); ok {
		_, _ = io.WriteString(stderr, strings.TrimRight(problems.Error(), "\n")+"\n")
		return exitUsage
	}
	status, next := exitFailed, nextStep(err)
	if f, ok := errors.AsType[*failure](err); ok {
		status = f.status
		if f.next != "" {
			next = f.next
		}
	}
	_, _ = fmt.Fprintf(stderr, "deploykeyd: %v\n", err)
	if next != "" {
		_, _ = fmt.Fprintf(stderr, "  next: %s\n", next)
	}
	return status
}

// nextStep returns what the error itself tells a person to do.
func nextStep(err error) string {
	if e, ok := errors.AsType[*journal.Error](err); ok {
		return e.Next
	}
	if e, ok := errors.AsType[*control.Error](err); ok {
		return e.Next
	}
	return provision.NextStep(err)
}

// options are the flags that every command has.
type options struct {
	config    string
	runDir    string
	stateDir  string
	logFormat string
	logLevel  string
}

func newRoot() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:   "deploykeyd",
		Short: "Git access for short-lived build machines, with a key that nobody can read",
		Long: `deploykeyd makes an SSH keypair in memory, registers the public half as a deploy
key on the configured repositories, proves it with a test clone, lends it to
builds through an ssh-agent socket, and takes it off every repository at stop.

Exit status: 0 done, 1 failed, 2 usage or configuration, 3 keys may remain on a
forge, 4 not ready in time.`,
		Example: `  mkdir -p /etc/deploykeyd && deploykeyd config example > /etc/deploykeyd/deploykeyd.yaml
  deploykeyd config check
  deploykeyd run
  deploykeyd wait --timeout 2m && git clone git@git.acme.example:acme/api.git`,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return absolute(&o.runDir, &o.stateDir)
		},
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := root.PersistentFlags()
	flags.StringVarP(&o.config, "config", "c", "/etc/deploykeyd/deploykeyd.yaml", "configuration `file`")
	flags.StringVar(&o.runDir, "run-dir", directory("RUNTIME_DIRECTORY", plainRunDir), "`directory` of the sockets")
	flags.StringVar(&o.stateDir, "state-dir", directory("STATE_DIRECTORY", plainStateDir), "`directory` of the journal")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fail(exitUsage, "see "+cmd.CommandPath()+" --help", "%w", err)
	})
	root.AddCommand(newRun(o), newWait(o), newStatus(o), newVerify(o), newRevoke(o),
		newSSHConfig(o), newUp(o), newService(o), newPreemption(o), newConfig(o), newVersion(), newCompletion())
	completeFlags(root)
	usageErrors(root)
	return root
}

// usageErrors gives wrong arguments, of c and its children, the status of a
// usage error.
func usageErrors(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return fail(exitUsage, "see "+cmd.CommandPath()+" --help", "%w", err)
			}
			return nil
		}
	}
	for _, child := range c.Commands() {
		usageErrors(child)
	}
}
