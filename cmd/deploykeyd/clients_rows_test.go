package main_test

import "testing"

// client is a row of the table.
type client struct {
	name  string
	tools []tool

	openSSH      bool   // ssh_config tells it all
	binds        bool   // it binds its session (session-bind@openssh.com)
	urlElsewhere bool   // a program that speaks SSH itself: the URL need not be among its arguments
	noAgent      string // it knows no agent; what it says
	mismatch     string // what it says about a host key other than the pinned one
	logs         string // what the log must show of it

	clone func(r *trial, url string) []string
	tag   func(r *trial, name string) []string
	env   func(t *testing.T, r *trial) []string // beyond SSH_AUTH_SOCK; may be nil
	// knownHosts makes the user's known_hosts of the text that deploykeyd wrote;
	// nil: the client needs none.
	knownHosts func(text string) string

	checks, set string // words for the table: the host key is checked against, what to set
}

// names reports whether the client's command line names the repository.
func (c client) names() bool { return !c.urlElsewhere && c.noAgent == "" }

func clients() []client {
	const known = "`~/.ssh/known_hosts`"
	asWritten := func(text string) string { return text }
	return []client{
		viaOpenSSH(client{
			name: "git", tools: []tool{{"git", "git", []string{"git", "version"}}},
			clone: gitClone, tag: gitTag,
			set: "nothing",
		}),
		viaOpenSSH(client{
			name: "git-lfs", tools: []tool{{"git-lfs", "git-lfs", []string{"git-lfs", "version"}}},
			clone: gitClone, tag: lfsTag, logs: "git-lfs-authenticate",
			set: "nothing",
		}),
		{
			name: "git with PuTTY's `plink`", tools: []tool{{"PuTTY", "putty-tools", []string{"plink", "-V"}}},
			clone: gitClone, tag: gitTag, logs: " exe=/usr/bin/plink ",
			env: func(t *testing.T, r *trial) []string {
				return []string{"GIT_SSH_COMMAND=plink -batch -hostkey " + r.fingerprint(t)}
			},
			mismatch: "Host key not in manually configured list",
			checks:   "the fingerprints in `-hostkey`", set: "`SSH_AUTH_SOCK`, `GIT_SSH_COMMAND`",
		},
		{
			name: "git with Dropbear's `dbclient`", tools: []tool{{"Dropbear", "dropbear-bin", []string{"dbclient", "-V"}}},
			clone: gitClone, tag: gitTag, logs: " exe=/usr/bin/dbclient ",
			env:        func(*testing.T, *trial) []string { return []string{"GIT_SSH=dbclient", "GIT_SSH_VARIANT=ssh"} },
			knownHosts: withoutPorts,
			mismatch:   "host key mismatch",
			checks:     known + ", names without ports", set: "`SSH_AUTH_SOCK`, `GIT_SSH`, `GIT_SSH_VARIANT`",
		},
		viaOpenSSH(client{
			name: "JGit with `ssh`", tools: []tool{jgit()},
			clone: jgitClone, tag: jgitTag,
			env:      func(*testing.T, *trial) []string { return []string{jgitClasspath, javaBrief, "GIT_SSH=/usr/bin/ssh"} },
			mismatch: "does not exist", // JGit keeps ssh's own words to itself
			set:      "`GIT_SSH`",
		}),
		{
			name: "JGit with its own SSH (JSch)", tools: []tool{jgit()},
			clone: jgitClone, tag: jgitTag,
			env:        func(*testing.T, *trial) []string { return []string{jgitClasspath, javaBrief} },
			knownHosts: asWritten,
			noAgent:    "Algorithm negotiation fail", // the forge has an Ed25519 host key
			checks:     known, set: "–",
		},
		viaOpenSSH(client{
			name: "dulwich", tools: []tool{dulwich()},
			clone: script("dulwich_client.py", "ssh").clone, tag: script("dulwich_client.py", "ssh").tag,
			set: "nothing",
		}),
		{
			name: "dulwich with paramiko", tools: []tool{dulwich(), paramiko()}, urlElsewhere: true,
			clone: script("dulwich_client.py", "paramiko").clone, tag: script("dulwich_client.py", "paramiko").tag,
			logs:     " comm=python3 ",
			mismatch: "BadHostKeyException",
			checks:   "**nothing**, unless the program does", set: "`SSH_AUTH_SOCK`, a vendor that checks",
		},
		{
			name: "paramiko", tools: []tool{paramiko()}, urlElsewhere: true,
			clone: script("paramiko_client.py").clone, tag: script("paramiko_client.py").tag,
			logs:     " comm=python3 ",
			mismatch: "BadHostKeyException",
			checks:   "the file that the program loads", set: "`SSH_AUTH_SOCK`",
		},
		{
			name: "libgit2 (pygit2)", tools: []tool{libgit2(), python("pygit2", "python3-pygit2", "pygit2; print(pygit2.__version__)")}, urlElsewhere: true,
			clone: script("pygit2_client.py").clone, tag: script("pygit2_client.py").tag,
			logs: " comm=python3 ", knownHosts: asWritten,
			mismatch: "user canceled hostkey check",
			checks:   known + "; pygit2 **nothing**, unless the program does", set: "`SSH_AUTH_SOCK`, a callback that checks",
		},
		{
			name: "go-git", tools: []tool{{name: "go-git"}}, urlElsewhere: true,
			clone: func(r *trial, url string) []string { return []string{r.lab.gogit, "clone", url, "work"} },
			tag:   func(r *trial, name string) []string { return []string{r.lab.gogit, "tag", "work", name} },
			logs:  " comm=gogit ",
			env: func(*testing.T, *trial) []string {
				return []string{"SSH_KNOWN_HOSTS=/etc/ssh/deploykeyd_known_hosts"}
			},
			mismatch: "knownhosts: key mismatch",
			checks:   "`SSH_KNOWN_HOSTS`, else " + known, set: "`SSH_AUTH_SOCK`, `SSH_KNOWN_HOSTS`",
		},
	}
}

// viaOpenSSH completes a client that starts ssh(1).
func viaOpenSSH(c client) client {
	c.tools = append(c.tools, tool{"OpenSSH", "openssh-client", []string{"ssh", "-V"}})
	c.openSSH, c.binds = true, true
	c.checks = "the pins, by `ssh_config`"
	if c.logs == "" {
		c.logs = " exe=/usr/bin/ssh "
	}
	if c.mismatch == "" {
		c.mismatch = "REMOTE HOST IDENTIFICATION HAS CHANGED"
	}
	return c
}
