package sshagent

import (
	"fmt"
	"slices"
	"strings"

	"deploykeyd/provision"
)

// refusal is why a client gets nothing.
type refusal struct {
	reason string
	next   string // the next step for a person; may be empty

	// What the client was after, where that is known; may be empty.
	forge      string
	repository provision.Repository
}

func (r *refusal) Error() string { return r.reason }

func refuse(format string, args ...any) *refusal {
	return &refusal{reason: fmt.Sprintf(format, args...)}
}

// choose returns the loans whose keys a client is shown. An SSH server takes
// the first key that it knows, even when another one of the list would open the
// repository: so a list must not have two keys that one server may know, unless
// each of them is for the very repository.
//
// bound are the forges that have the host key to which the client has bound its
// connection, nil without a bind. The error says why keys were left out; it may
// come beside loans of other forges.
func choose(all, bound []*Forge, h hint, loans []loan) ([]loan, error) {
	forges, err := candidates(all, bound, h)
	if err != nil {
		return nil, err
	}
	if h.path != "" {
		if found := forRepository(forges, h.path, loans); len(found) > 0 {
			return found, nil
		}
	}
	var shown []loan
	var why *refusal
	for _, f := range forges {
		l, err := only(f, h, loans)
		switch {
		case err != nil:
			why = err
		case sharesServer(f, forges, loans):
			why = &refusal{
				reason: fmt.Sprintf("several forges of the configuration are on %s and the client does not say which repository it wants", f.SSH.Host),
				next:   nameTheRepository(f),
			}
		default:
			shown = append(shown, l)
		}
	}
	switch {
	case len(forges) == 0:
		return nil, &refusal{reason: "no forge is configured", next: "add an entry to forges: in the configuration"}
	case why == nil:
		return shown, nil
	case len(forges) == 1:
		why.forge = forges[0].Name
		why.repository, _ = provision.ParseClonePath(forges[0].Kind, h.path)
	}
	return shown, why
}

// nameTheRepository is the next step where a client does not say which
// repository of f it wants.
func nameTheRepository(f *Forge) string {
	const git = "let git start OpenSSH itself, so that the command line ends with the host and git's command; a program that speaks SSH by itself needs "
	if f.Sockets == "" {
		return git + "a socket for each repository: set sockets: repository for forge " + f.Name
	}
	return git + "the repository's own socket in " + f.Sockets + ": deploykeyd status --sockets lists them"
}

// candidates returns the forges that the client may be talking to.
func candidates(all, bound []*Forge, h hint) ([]*Forge, error) {
	forges := all
	onHost := func(f *Forge) bool { return h.host != "" && strings.EqualFold(f.SSH.Host, h.host) }
	switch {
	case len(bound) > 0:
		// The host argument may be a name of the user's own ssh_config.
		forges = narrow(bound, onHost)
	case h.host != "" && !slices.ContainsFunc(all, onHost):
		return nil, &refusal{
			reason: quote(h.host) + " is the SSH host of no configured forge",
			next:   "use the forge's own host name in the clone URL",
		}
	case h.host != "":
		forges = narrow(all, onHost)
	}
	return narrow(forges, func(f *Forge) bool { return f.SSH.Port == h.port }), nil
}

// sharesServer reports whether a key of another of the forges may be known to
// f's SSH server too.
func sharesServer(f *Forge, forges []*Forge, loans []loan) bool {
	return slices.ContainsFunc(loans, func(l loan) bool {
		return l.forge != f && slices.Contains(forges, l.forge) &&
			strings.EqualFold(l.forge.SSH.KnownHost(), f.SSH.KnownHost())
	})
}

// forRepository returns, for each forge, the newest loan for the repository
// that path names.
func forRepository(forges []*Forge, path string, loans []loan) []loan {
	var found []loan
	for _, f := range forges {
		repo, err := provision.ParseClonePath(f.Kind, path)
		if err != nil {
			continue
		}
		for _, l := range loans {
			if l.forge == f && provision.Same(l.repository, repo) {
				found = append(found, l)
				break
			}
		}
	}
	return found
}

// only returns the loan of the one key of a forge that a client may be shown
// whose repository is unknown, or is none of those lent.
func only(f *Forge, h hint, loans []loan) (loan, *refusal) {
	var keys []loan
	uses := map[string]int{}
	for _, l := range loans {
		if l.forge != f {
			continue
		}
		if uses[string(l.blob)] == 0 {
			keys = append(keys, l)
		}
		uses[string(l.blob)]++
	}
	switch {
	case len(keys) == 0:
		return loan{}, &refusal{
			reason: fmt.Sprintf("no key of forge %s is lent yet", f.Name),
			next:   "deploykeyd status says what it waits for",
		}
	case f.sharesKeys():
		// During a rotation there are two: the one that opens more repositories.
		best := keys[0]
		for _, l := range keys[1:] {
			if uses[string(l.blob)] > uses[string(best.blob)] {
				best = l
			}
		}
		return best, nil
	case h.path != "":
		return loan{}, &refusal{
			reason: fmt.Sprintf("no key for %s is lent on forge %s", quote(h.path), f.Name),
			next:   "deploykeyd status lists the repositories and what they wait for",
		}
	case len(keys) > 1:
		return loan{}, &refusal{
			reason: fmt.Sprintf("forge %s has %d keys and the client does not say which repository it wants", f.Name, len(keys)),
			next:   nameTheRepository(f),
		}
	}
	return keys[0], nil
}
