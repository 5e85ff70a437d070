// Package service owns what lies between the daemon and the service manager
// that runs it.
//
// Manager is the daemon's side of it: it tells systemd what becomes of the
// daemon (sd_notify(3)), leaves sockets and memory in systemd's keeping, which
// outlives a crash, takes over what an earlier process left, and executes
// another version of the program in place, which goes on with the same
// descriptors. Outside systemd all of that is a no-op, but for the execution.
//
// The rest is the operator's side: the service is installed, started, stopped
// and asked about through kardianos/service, with the units that the package
// systemd embeds; a gate, a drop-in for the unit of a CI agent, holds that back
// until the daemon is ready; and a machine is reset before it becomes an image.
//
// It never looks into what it hands over, never holds a key or a credential,
// and never has the service manager wait for a forge.
package service
