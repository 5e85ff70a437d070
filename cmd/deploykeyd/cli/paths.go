package cli

import (
	"os"
	"path/filepath"
	"strings"
)

// directory returns the first directory that systemd names in the variable
// (systemd.exec(5), RuntimeDirectory=), if that is ours, else the default: in
// another unit, a CI agent's say, the variable is about that unit.
func directory(variable, fallback string) string {
	first, _, _ := strings.Cut(os.Getenv(variable), ":")
	if filepath.Base(first) != filepath.Base(fallback) {
		return fallback
	}
	return first
}

func (o *options) agentSocket() string   { return filepath.Join(o.runDir, "agent.sock") }
func (o *options) controlSocket() string { return filepath.Join(o.runDir, "control.sock") }
func (o *options) socketsDir() string    { return filepath.Join(o.runDir, "r") }
func (o *options) verifyDir() string     { return filepath.Join(o.runDir, "verify") }
func (o *options) journal() string       { return filepath.Join(o.stateDir, "journal.db") }

// absolute makes paths independent of the working directory: ssh and git get
// them too, and run elsewhere.
func absolute(paths ...*string) error {
	for _, path := range paths {
		whole, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = whole
	}
	return nil
}
