// Package sshconfig owns the OpenSSH client files that make a user's plain git
// reach the forges: an ssh_config that leads to the agent socket, and the
// known_hosts with the pinned host keys that it names.
//
// It renders from what the configuration says and refuses every value that
// ssh_config could read as more than a value: whoever writes a line into a
// system-wide ssh_config runs commands as every user. It never runs ssh, never
// looks up a host and never fetches a host key.
package sshconfig
