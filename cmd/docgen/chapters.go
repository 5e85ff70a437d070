package main

// chapter is a section of deploykeyd.8 about what belongs to no one command.
type chapter struct {
	title string
	text  string
	items []chapterItem
}

type chapterItem struct{ term, text string }

func writeChapters(r *roff, chapters []chapter) {
	for _, c := range chapters {
		r.section(c.title)
		r.text(c.text)
		for _, i := range c.items {
			r.item(bold(i.term), i.text)
		}
	}
}

func commandChapters() []chapter {
	return []chapter{files(), environment(), signals(), security()}
}

func files() chapter {
	return chapter{title: "Files", items: []chapterItem{
		{"/etc/deploykeyd/deploykeyd.yaml", "The configuration, deploykeyd.yaml(5). Only root and the user that runs the program may be able to change it."},
		{"/etc/deploykeyd/credentials/", "Secrets that the unit hands to the daemon, one a file, for root alone."},
		{"/run/deploykeyd/agent.sock", "The ssh-agent socket of the builds. Anybody may connect; who is listed in the configuration is served."},
		{"/run/deploykeyd/r/", "The sockets of single repositories, where the configuration asks for them."},
		{"/run/deploykeyd/control.sock", "The socket of the other commands."},
		{"/var/lib/deploykeyd/journal.db", "What this machine has registered: public facts only, never a private key or a credential."},
		{"/etc/ssh/ssh_config.d/50-deploykeyd.conf", "What makes the builds' ssh use the socket and the pinned host keys."},
		{"/etc/ssh/deploykeyd_known_hosts", "The pinned host keys."},
		{"/usr/lib/systemd/system/deploykeyd.service", "The unit that the packages bring along."},
	}}
}

func environment() chapter {
	return chapter{
		title: "Environment",
		text: "The configuration names further variables where it takes a secret from one. Those that systemd uses to speak with a service, " +
			"such as `NOTIFY_SOCKET`, are used as sd_notify(3) and sd_listen_fds(3) describe them.",
		items: []chapterItem{
			{"RUNTIME_DIRECTORY, STATE_DIRECTORY", "Set by systemd for the unit: the defaults of `--run-dir` and `--state-dir`."},
			{"CREDENTIALS_DIRECTORY", "Set by systemd for the unit: where the secrets are that it hands in."},
			{"HTTPS_PROXY, NO_PROXY", "The proxy on the way to forges, and the hosts that are reached without it. A forge at an http:// address is never reached through a proxy."},
			{"PATH", "Where git, ssh and the programs that print secrets are looked for."},
		},
	}
}

func signals() chapter {
	return chapter{
		title: "Signals",
		text:  "They are for the daemon, which `deploykeyd run` is.",
		items: []chapterItem{
			{"SIGTERM, SIGINT", "Withdraw and revoke every key, then end: with exit status 0 when every key is proven gone, with 3 and a list when keys may remain. " +
				"A second signal leaves the revocation two more seconds."},
			{"SIGHUP", "Take up a new configuration or a new program and keep the keys: the daemon executes its file again in place. Nothing is registered anew that the configuration still has, and clients wait meanwhile."},
		},
	}
}

func security() chapter {
	return chapter{title: "Security", text: `The private key is made in memory, is never written to a file system, and no interface returns it. Who may use it cannot read it: not through the socket, /proc, ptrace, a core dump or swap.

The socket signs nothing but an SSH login as the forge's user. When the client binds its session to a host key, as OpenSSH does since 8.9, that key must be pinned and the connection not forwarded.

A build that is listed can use the key while it runs, and can pass that use on. Root on the machine can do everything. The credential that registers the keys may administer the repositories: give it to the daemon alone, and close the metadata address of a cloud to the builds where the machine's identity may read it.

Host keys come from the configuration or from the program, never from the network at first use.

No credential is printed: not in logs, errors, status or arguments.`}
}
