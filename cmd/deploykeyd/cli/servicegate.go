package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"deploykeyd/agent/service"
	"deploykeyd/systemd"
)

func newServiceGate(o *options) *cobra.Command {
	var remove, show bool
	c := &cobra.Command{
		Use:   "gate UNIT",
		Short: "Let a CI agent's unit start only once the repositories are verified",
		Long: `Write a drop-in that lets a CI agent start only once "deploykeyd wait" says that
the repositories are verified. Until then systemd tries the agent again every
three seconds; nothing else of the machine's start waits. An agent that runs is
left alone: the gate is asked when it starts next, and a restart or a crash of
deploykeyd does not touch it.

UNIT is the agent's service, which need not be installed yet. With a * it is
every unit that has such a name now. Usual names:
  ` + strings.Join(service.Agents(), ", "),
		Example: `  sudo deploykeyd service gate jenkins-agent
  sudo deploykeyd service gate 'actions.runner.*'
  sudo deploykeyd service gate --remove jenkins-agent
  deploykeyd service gate --print jenkins-agent`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			units, err := service.GateUnits(cmd.Context(), args[0])
			if err != nil {
				return serviceError(err)
			}
			for _, unit := range units {
				switch {
				case remove:
					err = removeGate(cmd.Context(), cmd.OutOrStdout(), unit)
				default:
					err = o.gate(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), unit, show)
				}
				if err != nil {
					return serviceError(err)
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&remove, "remove", false, "take the gate away")
	c.Flags().BoolVar(&show, "print", false, "print the drop-in instead of writing it")
	c.MarkFlagsMutuallyExclusive("remove", "print")
	return c
}

// gate writes or prints the drop-in of one unit.
func (o *options) gate(ctx context.Context, stdout, stderr io.Writer, unit string, show bool) error {
	u := service.Unit{Name: unit}
	if service.Booted() {
		var err error
		if u, err = service.Look(ctx, unit); err != nil {
			return err
		}
	}
	text, err := service.GateText(u, systemd.Gate)
	if err != nil {
		return err
	}
	if show {
		_, err := fmt.Fprintf(stdout, "# %s\n%s", service.GatePath(unit), text)
		return err
	}
	changed, err := service.WriteGate(ctx, unit, text)
	if err != nil {
		return err
	}
	said := "wrote"
	if !changed {
		said = "nothing to change in"
	}
	sayTo(stdout)(said + " " + service.GatePath(unit))
	o.warnOfGate(stderr, u)
	return nil
}

// warnOfGate tells what about a gated unit will not work as somebody expects.
func (o *options) warnOfGate(stderr io.Writer, u service.Unit) {
	warn := func(format string, args ...any) { _, _ = fmt.Fprintf(stderr, "warning: "+format+"\n", args...) }
	switch {
	case u.Load == "": // no systemd runs
		return
	case !u.Installed():
		warn("there is no %s yet: the gate waits for it", u.Name)
		return
	case !u.Stopped():
		sayTo(stderr)(u.Name + " runs on as it is: the gate is asked when it starts next")
	}
	user := u.User
	if user == "" {
		user = "root"
	}
	cfg, err := o.loadConfig()
	if err != nil || slices.Contains(cfg.Users, user) {
		return // what is wrong with a configuration is for config check to say
	}
	if len(cfg.Groups) > 0 {
		warn("%s runs as %s, which users: of %s does not name: its builds get no key unless that user is in one of groups:", u.Name, user, o.config)
		return
	}
	warn("%s runs as %s, which users: of %s does not name: its builds get no key", u.Name, user, o.config)
}

func removeGate(ctx context.Context, stdout io.Writer, unit string) error {
	removed, err := service.RemoveGate(ctx, unit)
	if err != nil {
		return err
	}
	said := "removed"
	if !removed {
		said = "there is no"
	}
	sayTo(stdout)(said + " " + service.GatePath(unit))
	return nil
}
