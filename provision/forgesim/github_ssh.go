package forgesim

import (
	"fmt"
	"strings"

	"deploykeyd/provision"
)

func (github) verbs() []string {
	return []string{"git-upload-pack", "git-receive-pack", lfsAuthenticate}
}

func (github) config() string {
	return "[uploadpack]\n\tallowFilter = true\n\tallowAnySHA1InWant = true\n"
}

func (github) clonePath(path string) (provision.Repository, denial) {
	name, err := provision.ParseClonePath(provision.GitHub, path)
	if err != nil {
		return "", deniedPath
	}
	return name, deniedNot
}

func (github) denied(d denial, p peer) farewell {
	switch d { //nolint:exhaustive // deniedNot is not denied
	case deniedShell:
		return farewell{stderr: "Hi " + p.home + "! You've successfully authenticated, but GitHub does not provide shell access.\n", exit: 1}
	case deniedCommand:
		return farewell{stderr: "Invalid command: '" + p.command + "'\n" +
			"  You appear to be using ssh to clone a git:// URL.\n" +
			"  Make sure your core.gitProxy config option and the\n" +
			"  GIT_PROXY_COMMAND environment variable are NOT set.\n", exit: 1}
	case deniedPath:
		// The client shows it as "fatal: remote error:".
		name := strings.TrimSuffix(strings.TrimPrefix(p.path, "/"), ".git")
		return farewell{stdout: packetLine("ERR \n  " + name + " is not a valid repository name\n  Visit https://support.github.com/ for help"), exit: 1}
	case deniedMissing, deniedAccess, deniedPolicy:
		return farewell{stderr: "ERROR: Repository not found.\n", exit: 1}
	case deniedWrite:
		return farewell{stderr: "ERROR: The key you are authenticating with has been marked as read only.\n", exit: 1}
	case deniedArchived:
		return farewell{stderr: "ERROR: This repository was archived so it is read-only.\n", exit: 1}
	}
	return farewell{stderr: "ERROR: Internal error.\n", exit: 1}
}

// packetLine puts text into the frame of git's protocol.
func packetLine(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }

// lfsHeader has the form that reports quote: a scheme of GitHub's own.
func (github) lfsHeader(secret string) (header string, dated bool) {
	return "RemoteAuth gitauth-v1-" + secret, true
}
