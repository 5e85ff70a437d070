// Package forgesim owns a stand-in for git forges: the HTTP dialects of Gitea,
// GitHub and Bitbucket Cloud over one model of repositories, keys and tokens,
// and an SSH server that admits exactly the registered keys and runs real git.
// Faults are injected by name.
//
// It is for tests and for trying a configuration on one machine. It is strict
// about requests where a real forge is lenient, so that what works here works
// there. It listens on loopback addresses only unless told otherwise, never
// reaches out to a network, and never sees a client's private key.
package forgesim
