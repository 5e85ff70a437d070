// Package verify proves that a key opens a repository: real git and the real
// OpenSSH client read it, with the builds' own ssh_config, through an agent
// socket that offers exactly that key.
//
// It takes no private key, asks no forge's API and changes nothing on a forge.
// What git wrote is deleted before Prove returns, and of what the server said
// at most one clean line gets into an error.
package verify
