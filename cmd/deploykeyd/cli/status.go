package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"deploykeyd/agent"
	"deploykeyd/agent/control"
	"deploykeyd/agent/journal"
	"deploykeyd/agent/service"
	"deploykeyd/provision"
)

func newStatus(o *options) *cobra.Command {
	var (
		asJSON, sockets, watch bool
		interval               time.Duration
	)
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what is registered where, and why not",
		Long: `Show every configured repository: its condition, the key, how often builds used
it, and what is in the way. With --sockets, show the sockets of single
repositories instead ("sockets: repository" of a forge).

With --watch, show it again whenever it has changed, until Ctrl-C: redrawn on a
terminal, elsewhere one line for each change, and with --json one object a line.
A daemon that restarts is waited for.

When no daemon runs, the journal says which keys may remain on a forge, and the
exit status is 1.`,
		Example: `  deploykeyd status
  deploykeyd status --json | jq '.repositories[] | select(.condition != "verified")'
  deploykeyd status --sockets
  deploykeyd status --watch --interval 5s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkWatch(watch, sockets, cmd.Flags().Changed("interval"), interval); err != nil {
				return err
			}
			if watch {
				return o.watchStatus(cmd.Context(), cmd.OutOrStdout(), asJSON, interval)
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), answerTimeout, errNoAnswer)
			defer cancel()
			status, err := control.NewClient(o.controlSocket()).Status(ctx)
			switch {
			case errors.Is(err, control.ErrNotRunning) && !sockets:
				if status, err = o.statusFromJournal(); err == nil {
					err = printStatus(cmd.OutOrStdout(), status, asJSON)
				}
				return cmp.Or(err, notRunning())
			case errors.Is(err, control.ErrNotRunning):
				return notRunning()
			case errors.Is(context.Cause(ctx), errNoAnswer):
				return fail(exitFailed, "look at its log", "%w within %v", errNoAnswer, answerTimeout)
			case err != nil:
				return err
			case sockets:
				return printSockets(cmd.OutOrStdout(), status, asJSON)
			}
			return printStatus(cmd.OutOrStdout(), status, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: fields may be added later, none is renamed")
	c.Flags().BoolVar(&sockets, "sockets", false, "show the sockets of single repositories")
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on, and show every change until Ctrl-C")
	c.Flags().DurationVar(&interval, "interval", 2*time.Second, "how often --watch asks the daemon")
	return c
}

// answerTimeout is how long the daemon has for its status.
const answerTimeout = 10 * time.Second

var errNoAnswer = errors.New("the daemon does not answer")

func notRunning() error {
	return fail(exitFailed, startIt(), "the daemon is not running")
}

// statusFromJournal reads what the last life left, without changing it.
func (o *options) statusFromJournal() (agent.Status, error) {
	records, owner, err := readJournal(o.journal())
	if errors.Is(err, fs.ErrNotExist) {
		return agent.StatusOf(nil, nil), nil
	}
	if owner == "" {
		return agent.Status{}, err
	}
	return agent.StatusOf(records, err), nil
}

func printStatus(w io.Writer, s agent.Status, asJSON bool) error {
	if asJSON {
		return printJSON(w, s)
	}
	ready := "not ready"
	if s.Ready {
		ready = "ready since " + s.ReadySince.Local().Format(time.DateTime)
	}
	fmt.Fprintf(w, "%s, %s", s.Phase, ready)
	if s.Machine != "" {
		fmt.Fprintf(w, "; fleet %s, machine %s", s.Fleet, s.Machine)
	}
	fmt.Fprintln(w)
	if len(s.Repositories) > 0 {
		printRepositories(w, s.Repositories)
	}
	printUnnamed(w, s.Forges)
	for _, r := range s.Repositories {
		if r.Reason != "" {
			fmt.Fprintf(w, "\n%s on %s: %s\n", r.Repository, r.Forge, r.Reason)
			printNext(w, r.Next)
		}
	}
	if len(s.Remaining) > 0 {
		fmt.Fprintf(w, "\n%d %s may remain on a forge without use:\n", len(s.Remaining), plural(len(s.Remaining), "key"))
	}
	for _, r := range s.Remaining {
		fmt.Fprintln(w, describeRemnant(r))
	}
	for _, warning := range s.Warnings {
		fmt.Fprintf(w, "\nwarning: %s\n", warning)
	}
	return nil
}

// printUnnamed tells of clients that did not say which repository they wanted.
func printUnnamed(w io.Writer, forges []agent.ForgeStatus) {
	for _, f := range forges {
		if f.Signatures > 0 || f.Refused > 0 {
			fmt.Fprintf(w, "\n%s: %d signatures and %d refusals for clients that did not name a repository\n", f.Forge, f.Signatures, f.Refused)
		}
	}
}

// printSockets shows which repository has which socket of its own.
func printSockets(w io.Writer, s agent.Status, asJSON bool) error {
	type socket struct {
		Forge      string               `json:"forge"`
		Repository provision.Repository `json:"repository"`
		Socket     string               `json:"socket"`
	}
	list := []socket{}
	for _, r := range s.Repositories {
		if r.Socket != "" {
			list = append(list, socket{r.Forge, r.Repository, r.Socket})
		}
	}
	if asJSON {
		return printJSON(w, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(w, "no repository has a socket of its own: write \"sockets: repository\" into a forge's entry")
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FORGE\tREPOSITORY\tSOCKET")
	for _, l := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\n", l.Forge, l.Repository, l.Socket)
	}
	return t.Flush()
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func printRepositories(w io.Writer, list []agent.RepositoryStatus) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nFORGE\tREPOSITORY\tACCESS\tCONDITION\tVERIFIED\tEXPIRES\tUSED\tLAST USED\tKEY")
	for _, r := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n",
			r.Forge, r.Repository, r.Access, r.Condition, clock(r.Verified), clock(r.Expires), r.Signatures, clock(r.LastUsed), r.Fingerprint)
	}
	_ = t.Flush()
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

func printNext(w io.Writer, next string) {
	if next != "" {
		fmt.Fprintf(w, "  next: %s\n", next)
	}
}

// readJournal returns the records of a journal that no daemon has open, and the
// machine that they belong to. Where it could be opened and not all be read,
// the error comes beside what could.
func readJournal(path string) (records []agent.Record, machine string, err error) {
	j, err := journal.OpenReadOnly(path)
	if err != nil {
		return nil, "", err
	}
	defer j.Close()
	records, err = j.Records()
	return records, j.Machine(), err
}

// startIt says how the daemon is started here.
func startIt() string {
	if service.Booted() {
		return "start it: systemctl start deploykeyd"
	}
	return "start it: deploykeyd run"
}
