package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"deploykeyd/agent/control"
	"deploykeyd/agent/journal"
	"deploykeyd/agent/service"
	"deploykeyd/provision/sshconfig"
)

// Where ssh-config --write writes.
const (
	sshConfigFile  = "/etc/ssh/ssh_config.d/50-deploykeyd.conf"
	knownHostsFile = "/etc/ssh/deploykeyd_known_hosts"
)

const defaultStateDir = "/var/lib/deploykeyd"

func newServiceReset(o *options) *cobra.Command {
	var abandon bool
	c := &cobra.Command{
		Use:   "reset",
		Short: "Forget this machine, before an image is made of it",
		Long: `Remove what the daemon made on this machine: the journal and whatever else lies in
` + defaultStateDir + `, the sockets, and the builds' ssh configuration. Machines
that start from an image made then begin with nothing.

The daemon must be stopped. Exits 3, and removes nothing, when the journal holds
keys that may remain on a forge: "deploykeyd revoke" takes them off. The
configuration and the credentials stay, and what else an image should not have
is named.`,
		Example: `  sudo systemctl stop deploykeyd && sudo deploykeyd service reset`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.reset(cmd.Context(), cmd.OutOrStdout(), abandon)
		},
	}
	c.Flags().BoolVar(&abandon, "abandon", false, "forget keys that may remain on a forge; other machines' sweeps remove them once they have expired")
	return c
}

func (o *options) reset(ctx context.Context, stdout io.Writer, abandon bool) error {
	if err := o.needStopped(ctx); err != nil {
		return err
	}
	records, err := o.statusFromJournal()
	switch {
	case errors.Is(err, journal.ErrLocked):
		return fail(exitFailed, "systemctl stop deploykeyd", "another process has the journal: %w", err)
	case abandon:
	case err != nil:
		return fail(exitKeysRemain, "deploykeyd service reset --abandon forgets them", "nothing was removed: keys may remain on forges: %w", err)
	default:
		if err := keysRemain(records.Remaining); err != nil {
			return fail(exitKeysRemain, "deploykeyd revoke; or forget them with deploykeyd service reset --abandon", "nothing was removed: %w", err)
		}
	}
	say := sayTo(stdout)
	if n := len(records.Remaining); n > 0 {
		say(fmt.Sprintf("forgotten: %d %s that may remain on a forge", n, plural(n, "key")))
	}
	if err := o.removeLeftovers(say); err != nil {
		return err
	}
	o.hintSealing(say)
	return nil
}

// removeLeftovers removes what the daemon made. What machines that this disk was
// copied from had registered is theirs to take away, or the sweeps'; whoever
// wants to know of it is told.
func (o *options) removeLeftovers(say func(string)) error {
	aside, _ := filepath.Glob(o.journal() + ".of-*") // a pattern of ours is never bad
	for _, path := range aside {
		if records, machine, _ := readJournal(path); len(records) > 0 {
			say(fmt.Sprintf("forgotten: %d %s of machine %s, which this disk was copied from", len(records), plural(len(records), "key"), machine))
		}
	}
	left := service.Leftovers{
		State: o.stateDir, Journal: filepath.Base(o.journal()),
		All: o.stateDir == defaultStateDir, // one that was named by hand may hold other people's files
		Run: o.runDir, Files: []string{sshConfigFile, knownHostsFile}, Banner: sshconfig.Banner,
	}
	return serviceError(left.Remove(say))
}

// needStopped refuses to take the files away from under a daemon, also from one
// that systemd is about to start again.
func (o *options) needStopped(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if _, err := control.NewClient(o.controlSocket()).Status(asking); !errors.Is(err, control.ErrNotRunning) {
		return fail(exitFailed, "systemctl stop deploykeyd", "the daemon runs")
	}
	if !service.Booted() {
		return nil
	}
	u, err := service.Look(ctx, service.UnitName)
	if err != nil {
		return serviceError(err)
	}
	if u.Installed() && !u.Stopped() {
		return fail(exitFailed, "systemctl stop deploykeyd", "%s", u)
	}
	return nil
}

// hintSealing names what else would make machines of one image alike, or give
// everybody who has the image a secret. None of it is this program's to remove.
func (o *options) hintSealing(say func(string)) {
	if names := entries(service.CredentialsFolder); len(names) > 0 {
		say(fmt.Sprintf("hint: %s holds %s, for everybody who gets the image: let the machine fetch it when it starts", service.CredentialsFolder, strings.Join(names, ", ")))
	}
	const idLength = 32 // machine-id(5); "uninitialized" is shorter
	if info, err := os.Stat("/etc/machine-id"); err == nil && info.Size() >= idLength {
		say("hint: /etc/machine-id is this machine's: truncate -s 0 /etc/machine-id")
	}
	if _, err := os.Stat("/var/lib/cloud/instance"); err == nil {
		say("hint: cloud-init remembers this machine: cloud-init clean")
	}
	if cfg, err := o.loadConfig(); err == nil && cfg.Machine != "" {
		say(fmt.Sprintf("hint: %s names this machine %s, and every other one of the image too: remove machine:", o.config, cfg.Machine))
	}
}

// entries returns the names in a directory, the first few of them.
func entries(dir string) []string {
	list, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return []string{"what cannot be read"}
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	const most = 5
	if len(names) > most {
		names = append(names[:most], "…")
	}
	return names
}
