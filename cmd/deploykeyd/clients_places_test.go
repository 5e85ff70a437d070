package main_test

import "deploykeyd/provision"

// place is a column of the table: where clients are tried, and what is expected
// of them there.
type place struct {
	name    string
	daemon  func(*lab) *daemon
	kind    provision.Kind
	applies func(client) bool // nil: to every client
	expect  func(client) expectation

	own         bool // through the repository's own socket
	urlArgument bool // the clone URL is an argument of a program that else has it from elsewhere
	wrongPin    bool // the client has another host key pinned than the forge's
}

// expectation is what must come of a trial.
type expectation struct {
	works  bool
	reason string // of the refusal in the log; empty: nothing is asked or refused
	says   string // part of what the client says
}

// The names of the places.
const (
	atShared   = "one key"
	atEach     = "key per repository"
	atArgument = "key per repository, URL as argument"
	atOwn      = "own socket"
	atRequire  = "bind require"
	atWrongPin = "wrong pin"
)

func places() []place {
	all := func(l *lab) *daemon { return l.all }
	github := func(l *lab) *daemon { return l.github }
	works := expectation{works: true}
	// Those that have no agent fail before they would ask.
	asking := func(e func(client) expectation) func(client) expectation {
		return func(c client) expectation {
			if c.noAgent != "" {
				return expectation{says: c.noAgent}
			}
			return e(c)
		}
	}
	return []place{
		{
			name: atShared, daemon: all, kind: provision.Gitea,
			expect: asking(func(client) expectation { return works }),
		},
		{
			name: atEach, daemon: github, kind: provision.GitHub,
			expect: asking(func(c client) expectation {
				if c.names() {
					return works
				}
				return expectation{reason: "forge github has 3 keys and the client does not say which repository it wants"}
			}),
		},
		{
			name: atArgument, daemon: all, kind: provision.GitHub, urlArgument: true,
			applies: func(c client) bool { return c.urlElsewhere },
			expect:  func(client) expectation { return works },
		},
		{
			name: atOwn, daemon: github, kind: provision.GitHub, own: true,
			expect: asking(func(client) expectation { return works }),
		},
		{
			name: atRequire, daemon: func(l *lab) *daemon { return l.require }, kind: provision.Gitea,
			expect: asking(func(c client) expectation {
				if c.binds {
					return works
				}
				return expectation{reason: "forge gitea requires a bound session and the client has bound none"}
			}),
		},
		{
			name: atWrongPin, daemon: all, kind: provision.Gitea, wrongPin: true,
			applies: func(c client) bool { return c.noAgent == "" },
			expect:  func(c client) expectation { return expectation{says: c.mismatch} },
		},
	}
}
