package sshconfig

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"deploykeyd/provision"
	"deploykeyd/provision/hostkey"
)

// Host is one forge as an SSH client meets it.
type Host struct {
	Forge string // the forge's name in the configuration, for messages
	SSH   provision.SSHAddress
	Pins  []hostkey.Pin // at least one: there is no first use to trust
}

// Options say where the files lie that the rendered ones name, and for whom.
type Options struct {
	AgentSocket string // absolute path
	KnownHosts  string // absolute path
	// Users restricts the blocks to these local users. It spares others a
	// client that cannot work for them; the socket alone decides who may use a
	// key. A list with a numeric id, or with a name that ssh_config has no
	// plain form for, restricts nothing.
	Users []string
	// Groups are the groups whose members may use the keys as well as Users.
	// ssh_config cannot ask for a group: with any, nothing is restricted.
	Groups []string
}

// check refuses what must not come near an ssh_config. The configuration has
// refused it before.
func check(hosts []Host) error {
	if len(hosts) == 0 {
		return errors.New("ssh config: there is no forge to write a block for")
	}
	for _, h := range hosts {
		if err := h.SSH.Check(); err != nil {
			return fmt.Errorf("ssh config: forge %.64q: %w", h.Forge, err)
		}
		if len(h.Pins) == 0 {
			return fmt.Errorf("ssh config: forge %.64q has no pinned host key: add it as host_keys: to the configuration", h.Forge)
		}
		for _, p := range h.Pins {
			if p.Key.IsZero() {
				return fmt.Errorf("ssh config: forge %.64q has an empty host key", h.Forge)
			}
		}
	}
	return nil
}

// group is the forges that share a host name. ssh_config's Match cannot ask
// for a port, so they share a block.
type group struct {
	name  string
	hosts []Host
}

// groups sorts hosts by name, in the order of their first appearance.
func groups(hosts []Host) []group {
	var all []group
	index := map[string]int{}
	for _, h := range hosts {
		name := strings.ToLower(h.SSH.Host)
		at, ok := index[name]
		if !ok {
			at = len(all)
			index[name] = at
			all = append(all, group{name: name})
		}
		all[at].hosts = append(all[at].hosts, h)
	}
	return all
}

// port returns the port that all hosts of g have, and false where they differ.
func (g group) port() (int, bool) {
	port := g.hosts[0].SSH.Port
	for _, h := range g.hosts[1:] {
		if h.SSH.Port != port {
			return 0, false
		}
	}
	return port, true
}

// address returns h's address with its host name as the blocks spell it.
func (g group) address(h Host) provision.SSHAddress {
	a := h.SSH
	a.Host = g.name
	return a
}

var (
	userPattern    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]*\$?$`)
	numericPattern = regexp.MustCompile(`^[0-9]+$`)
)

// localUsers returns the Match criterion for those who may use the keys, or "".
func (o Options) localUsers() string {
	if len(o.Users) == 0 || len(o.Groups) > 0 {
		return ""
	}
	for _, u := range o.Users {
		if !userPattern.MatchString(u) || numericPattern.MatchString(u) {
			return ""
		}
	}
	return " localuser " + strings.Join(o.Users, ",")
}
