// Package systemd owns the files that make a machine's service manager run the
// daemon, as they are shipped: packages install them by their names here, and
// the program carries them for machines that have no package. It never reads or
// writes a file.
package systemd

import (
	_ "embed"
	"strings"
)

// The names of the files in this folder.
const (
	ServiceFile  = "deploykeyd.service"
	SysusersFile = "deploykeyd.sysusers" // as sysusers.d/deploykeyd.conf
	TmpfilesFile = "deploykeyd.tmpfiles" // as tmpfiles.d/deploykeyd.conf
	GateFile     = "gate.conf"           // as UNIT.d/50-deploykeyd-gate.conf
)

// Program is where packages put the program, and what the files name.
const Program = "/usr/bin/deploykeyd"

var (
	//go:embed deploykeyd.service
	service string
	//go:embed deploykeyd.sysusers
	sysusers string
	//go:embed deploykeyd.tmpfiles
	tmpfiles string
	//go:embed gate.conf
	gate string
)

// Service returns the unit of the daemon, whose program is at the path binary:
// absolute, and without a character that means something in a unit file
// (systemd.syntax(7)).
func Service(binary string) []byte { return []byte(strings.ReplaceAll(service, Program, binary)) }

// Gate returns the drop-in that holds a CI agent's unit back until the daemon's
// repositories are verified. The path is as for Service.
func Gate(binary string) []byte { return []byte(strings.ReplaceAll(gate, Program, binary)) }

// Sysusers returns the daemon's user (sysusers.d(5)).
func Sysusers() []byte { return []byte(sysusers) }

// Tmpfiles returns the directories of the configuration (tmpfiles.d(5)).
func Tmpfiles() []byte { return []byte(tmpfiles) }
