// Package provision owns the words of the forge side: what a repository, a
// target, a registration and an owner tag are, which facts about a forge kind
// shape a key plan, and how a forge's refusals are classed.
//
// It never talks to a network, reads a file or sees a private key or a
// credential. The adapters for each forge live in the folders below and import
// this package; it imports none of them.
package provision
