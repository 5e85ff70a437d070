package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The directories outside a unit.
const (
	plainRunDir   = "/run/deploykeyd"
	plainStateDir = "/var/lib/deploykeyd"
)

// CommandPage is what the manual says of a command.
type CommandPage struct {
	Name     string // "deploykeyd config check"
	Synopsis string // the name and its arguments, without flags
	Short    string // one line, without a full stop
	Long     string // paragraphs; empty where Short says it all
	Example  string // lines for a shell; may be empty
	Flags    []FlagPage
	Group    bool // it does nothing itself: other commands are below it
}

// FlagPage is what the manual says of a flag.
type FlagPage struct {
	Name      string // without dashes
	Shorthand string // one letter; may be empty
	Value     string // what stands for its value; empty for a switch
	Default   string // empty where it is off, or has none
	Usage     string
}

// ExitStatus is what the program's end says.
type ExitStatus struct {
	Status int
	Means  string
}

// ExitStatuses returns the exit statuses of every command.
func ExitStatuses() []ExitStatus {
	return []ExitStatus{
		{0, "What was asked is done."},
		{exitFailed, "It failed. The next step is on standard error."},
		{exitUsage, "The command line or the configuration is wrong. Nothing was done."},
		{exitKeysRemain, "Keys may remain on a forge. They are listed on standard error, each with the reason."},
		{exitNotReady, "Not ready in time. The reasons are on standard error."},
	}
}

// Manual returns the program, whose flags every command has, and then each
// command, in the order of the help. Defaults are those of a process that no
// service manager has started.
func Manual() []CommandPage {
	root := newRoot()
	for name, plain := range map[string]string{"run-dir": plainRunDir, "state-dir": plainStateDir} {
		root.PersistentFlags().Lookup(name).DefValue = plain
	}
	var pages []CommandPage
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		pages = append(pages, pageOf(c))
		for _, child := range c.Commands() {
			if child.IsAvailableCommand() {
				walk(child)
			}
		}
	}
	walk(root)
	return pages
}

func pageOf(c *cobra.Command) CommandPage {
	page := CommandPage{
		Name: c.CommandPath(), Synopsis: strings.TrimSuffix(c.UseLine(), " [flags]"),
		Short: c.Short, Long: c.Long, Example: c.Example, Group: c.HasAvailableSubCommands(),
	}
	flags := c.LocalNonPersistentFlags()
	if !c.HasParent() {
		flags = c.PersistentFlags()
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Name != "help" {
			page.Flags = append(page.Flags, flagPage(f))
		}
	})
	return page
}

func flagPage(f *pflag.Flag) FlagPage {
	value, usage := pflag.UnquoteUsage(f)
	page := FlagPage{Name: f.Name, Shorthand: f.Shorthand, Value: value, Usage: usage, Default: f.DefValue}
	switch f.DefValue {
	case "false", "0", "0s", "[]":
		page.Default = ""
	}
	if f.Value.Type() == "duration" { // 1h0m0s, as a person writes it
		page.Default = strings.Replace(strings.Replace(page.Default, "m0s", "m", 1), "h0m", "h", 1)
	}
	return page
}
