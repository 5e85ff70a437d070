package forgesim

import (
	"deploykeyd/provision"
)

func (bitbucketCloud) verbs() []string {
	return []string{"git-upload-pack", "git-receive-pack", "git-upload-archive", lfsAuthenticate}
}

// config leaves filters off, so that clients meet a server without them.
func (bitbucketCloud) config() string { return "" }

func (bitbucketCloud) clonePath(path string) (provision.Repository, denial) {
	name, err := provision.ParseClonePath(provision.BitbucketCloud, path)
	if err != nil {
		return "", deniedPath
	}
	return name, deniedNot
}

func (bitbucketCloud) denied(d denial, _ peer) farewell {
	switch d { //nolint:exhaustive // deniedNot is not denied
	case deniedShell:
		return farewell{stderr: "authenticated via ssh key.\n\nYou can use git to connect to Bitbucket. Shell access is disabled\n"}
	case deniedCommand, deniedPath:
		return farewell{stderr: "Invalid command. You can use git to connect to Bitbucket. Shell access is disabled\n", exit: 1}
	case deniedMissing, deniedAccess, deniedPolicy:
		return farewell{stderr: "repository access denied. deployment key is not associated with the requested repository\n", exit: 1}
	case deniedWrite, deniedArchived:
		return farewell{stderr: "repository access denied. access via a deployment key is read-only.\n", exit: 1}
	}
	return farewell{stderr: "internal error\n", exit: 1}
}

// lfsHeader has a form of our own: Bitbucket Cloud's is not documented, and
// clients pass it on as it is.
func (bitbucketCloud) lfsHeader(secret string) (header string, dated bool) {
	return "JWT " + secret, true
}
