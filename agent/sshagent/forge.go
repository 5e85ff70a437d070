package sshagent

import (
	"slices"

	"deploykeyd/provision"
	"deploykeyd/provision/hostkey"
)

// BindPolicy says whether a client has to prove which host it talks to before
// it gets a signature.
type BindPolicy string

// The policies, spelled as the configuration spells them. The zero value is
// BindPrefer.
const (
	// BindPrefer signs for clients that do not know session binding, and holds
	// those that do to what they bound.
	BindPrefer BindPolicy = "prefer"
	// BindRequire signs on bound connections only. OpenSSH binds since 8.9.
	BindRequire BindPolicy = "require"
)

// Forge is what the agent has to know about a forge.
type Forge struct {
	Name     string // in the configuration
	Kind     provision.Kind
	SSH      provision.SSHAddress
	HostKeys []hostkey.Pin
	Bind     BindPolicy
	Sockets  string // folder of the repositories' own sockets; empty when there are none
}

// sharesKeys reports whether one key serves many repositories of f.
func (f *Forge) sharesKeys() bool { return !provision.TraitsOf(f.Kind).KeyPerRepository }

// pinnedBy returns those of the forges that have the host key among their pins.
func pinnedBy(forges []*Forge, hostKey []byte) []*Forge {
	var found []*Forge
	for _, f := range forges {
		if hostkey.Match(f.HostKeys, hostKey) {
			found = append(found, f)
		}
	}
	return found
}

// narrow returns those of the forges for which keep holds, or all of them when
// it holds for none.
func narrow(forges []*Forge, keep func(*Forge) bool) []*Forge {
	kept := slices.DeleteFunc(slices.Clone(forges), func(f *Forge) bool { return !keep(f) })
	if len(kept) == 0 {
		return forges
	}
	return kept
}
