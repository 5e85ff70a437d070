package sshconfig

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"deploykeyd/provision/hostkey"
)

// Banner is how every file begins that Write has written.
const Banner = "# Written by deploykeyd ssh-config"

const banner = Banner + "; changes made here are lost.\n"

// overrides tells the reader of the ssh_config what it cannot prevent: ssh reads
// a user's own file first (ssh_config(5)).
const overrides = `#
# ssh reads a user's own ~/.ssh/config before this file, and the first value that it
# finds for an option holds. Where that file sets one of these for a host below, or
# for "Host *", its value wins:
#   ControlMaster, ControlPath   a clone uses the login of an earlier one, which
#                                fails where each repository has a key of its own
#   ForwardAgent                 the forge's server can ask the agent for logins
#   IdentityAgent                another agent is asked, which has none of the keys
#   StrictHostKeyChecking, UserKnownHostsFile
#                                a server may show a host key that is not pinned
# As that user, "ssh -G HOST" prints the values that hold.
`

// ignoreUnknown stands before the first block: ssh before 8.5 gives up a file
// with an option that it does not know, even in a block for another host.
const ignoreUnknown = "IgnoreUnknown KnownHostsCommand\n"

// Config returns the text of an ssh_config file with one block for each host
// name. Forges that share a host name on different ports share a block without
// a port: clone them with ssh:// URLs that name it.
func Config(hosts []Host, o Options) (string, error) {
	if err := check(hosts); err != nil {
		return "", err
	}
	socket, err := quote(o.AgentSocket)
	if err != nil {
		return "", fmt.Errorf("ssh config: agent socket: %w", err)
	}
	known, err := quote(o.KnownHosts)
	if err != nil {
		return "", fmt.Errorf("ssh config: known_hosts file: %w", err)
	}
	var b strings.Builder
	b.WriteString(banner + overrides + ignoreUnknown)
	for _, g := range groups(hosts) {
		fmt.Fprintf(&b, "\nMatch originalhost %s%s\n", g.name, o.localUsers())
		for _, l := range g.options(socket, known) {
			fmt.Fprintf(&b, "    %s %s\n", l.option, l.value)
		}
	}
	return b.String(), nil
}

type line struct{ option, value string }

// options returns the lines of g's block. Of most options ssh takes the first
// value that it finds, so what a later file could say otherwise is said here.
// IdentityFile adds to a list: "none" keeps ssh from the keys in the usual
// places, and not from one that another file names for the host. CertificateFile
// adds to a list too, and knows no "none": ssh would open a file of that name in
// the folder that a build works in. GSSAPIAuthentication is left unsaid because
// ssh without GSSAPI complains of it each time.
func (g group) options(socket, known string) []line {
	lines := []line{{"HostName", g.name}}
	if port, one := g.port(); one {
		lines = append(lines,
			line{"Port", fmt.Sprint(port)},
			// The pins hold even if a user's own file leads the name elsewhere.
			line{"HostKeyAlias", g.address(g.hosts[0]).KnownHost()})
	}
	return append(lines,
		line{"IdentityAgent", socket},
		line{"IdentityFile", "none"},
		line{"IdentitiesOnly", "no"}, // "yes" would hide the agent's keys
		line{"PubkeyAuthentication", "yes"},
		line{"PreferredAuthentications", "publickey"},
		line{"HostbasedAuthentication", "no"},
		line{"UserKnownHostsFile", known},
		// Before OpenSSH 8.5 "none" is a file name like any other, looked for in
		// the folder that a build works in.
		line{"GlobalKnownHostsFile", "/dev/null"},
		line{"KnownHostsCommand", "none"},
		line{"StrictHostKeyChecking", "yes"},
		line{"VerifyHostKeyDNS", "no"},
		line{"UpdateHostKeys", "no"},
		// A shared connection would use one repository's login for another.
		line{"ControlMaster", "no"},
		line{"ControlPath", "none"},
		line{"ForwardAgent", "no"},
	)
}

// KnownHosts returns the text of a known_hosts file with every pin under the
// name that Config's blocks look for.
func KnownHosts(hosts []Host) (string, error) {
	if err := check(hosts); err != nil {
		return "", err
	}
	var lines []string
	for _, g := range groups(hosts) {
		for _, h := range g.hosts {
			for _, l := range hostkey.Lines(g.address(h), h.Pins) {
				if !slices.Contains(lines, l) {
					lines = append(lines, l)
				}
			}
		}
	}
	return banner + strings.Join(lines, "\n") + "\n", nil
}

// quote returns path as a value of ssh_config, where ssh splits at spaces and
// expands %tokens, ${variables} and ~ (ssh_config(5), "TOKENS").
func quote(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%q is not an absolute path", path)
	}
	for _, c := range []byte(path) {
		if c < ' ' || c == 0x7f || strings.IndexByte("\"'\\$", c) >= 0 {
			return "", fmt.Errorf("path %q: quotes, backslashes, dollar signs and control characters cannot stand in an ssh_config", path)
		}
	}
	path = strings.ReplaceAll(path, "%", "%%")
	if strings.ContainsAny(path, " #") {
		path = `"` + path + `"`
	}
	return path, nil
}
