package cli

import (
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
)

func newStatus(o *options) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what is registered where, and why not",
		Long: `Show every configured repository: its condition, the key, and what is in the way.

When no daemon runs, the journal says which keys may remain on a forge, and the
exit status is 1.`,
		Example: `  deploykeyd status
  deploykeyd status --json | jq '.repositories[] | select(.condition != "verified")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			status, err := control.NewClient(o.controlSocket()).Status(cmd.Context())
			notRunning := errors.Is(err, control.ErrNotRunning)
			if notRunning {
				status, err = o.statusFromJournal()
			}
			if err != nil {
				return err
			}
			if err := printStatus(cmd.OutOrStdout(), status, asJSON); err != nil {
				return err
			}
			if notRunning {
				return fail(exitFailed, "start it: deploykeyd run", "the daemon is not running")
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: fields may be added later, none is renamed")
	return c
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
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
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

func printRepositories(w io.Writer, list []agent.RepositoryStatus) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nFORGE\tREPOSITORY\tACCESS\tCONDITION\tVERIFIED\tEXPIRES\tKEY")
	for _, r := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			r.Forge, r.Repository, r.Access, r.Condition, clock(r.Verified), clock(r.Expires), r.Fingerprint)
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
