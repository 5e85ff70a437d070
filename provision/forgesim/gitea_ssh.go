package forgesim

import (
	"fmt"
	"strings"

	"deploykeyd/provision"
)

func (gitea) verbs() []string {
	return []string{"git-upload-pack", "git-receive-pack", "git-upload-archive", lfsAuthenticate}
}

func (gitea) config() string {
	return "[uploadpack]\n\tallowFilter = true\n\tallowAnySHA1InWant = true\n"
}

// clonePath takes one slash away in front, and ".git" behind, but no slash there.
func (gitea) clonePath(path string) (provision.Repository, denial) {
	owner, name, found := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	name = strings.TrimSuffix(name, ".git")
	if !found || strings.ContainsFunc(name, func(r rune) bool { return !isGiteaNameRune(r) }) {
		return "", deniedPath
	}
	if strings.ContainsAny(owner, "#{") {
		return "", deniedMissing // these name repositories by id, on other forges
	}
	return provision.Repository(owner + "/" + name), deniedNot
}

// isGiteaNameRune is Gitea's own pattern for repository names.
func isGiteaNameRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-' || r == '.'
}

func (gitea) denied(d denial, p peer) farewell {
	say := func(format string, args ...any) farewell {
		return farewell{stderr: "error:\nerror: " + fmt.Sprintf(format, args...) + "\nerror:\n", exit: 1}
	}
	switch d { //nolint:exhaustive // deniedNot is not denied
	case deniedShell:
		return farewell{stderr: "Hi there! You've successfully authenticated with the deploy key named " + p.row.name +
			", but Gitea does not provide shell access.\n" +
			"If this is unexpected, please log in with password and setup Gitea under another user.\n"}
	case deniedCommand:
		return say("%s", giteaCommandProblem(p.words))
	case deniedPath:
		return say("%s", giteaPathProblem(p.path))
	case deniedMissing:
		return say("Cannot find repository: %s", p.path)
	case deniedAccess, deniedPolicy:
		return say("Public (Deploy) Key: %d:%s is not authorized to read %s.", p.row.id, p.row.name, p.path)
	case deniedWrite:
		return say("Deploy Key: %d:%s is not authorized to write to %s.", p.row.id, p.row.name, p.path)
	case deniedArchived:
		return say("Repo: %s is archived.", p.path)
	}
	return say("Internal Server Error (no specific error)")
}

// giteaCommandProblem words what is wrong with a command, in the order in which
// Gitea looks: the path comes before the verb.
func giteaCommandProblem(words []string) string {
	switch {
	case words == nil:
		return "Error parsing arguments"
	case len(words) < 2:
		return "Too few arguments"
	}
	if _, d := (gitea{}).clonePath(words[1]); d != deniedNot {
		return giteaPathProblem(words[1])
	}
	switch words[0] {
	case lfsAuthenticate:
		return "Unknown LFS verb"
	case "git-lfs-transfer":
		return "LFS SSH transfer is not enabled" // as it is by default
	}
	return "Unknown git command"
}

func giteaPathProblem(path string) string {
	if strings.Contains(strings.TrimPrefix(path, "/"), "/") {
		return "Invalid repo name"
	}
	return "Invalid repository path"
}

// lfsHeader does not say when the token expires: Gitea does not either.
func (gitea) lfsHeader(secret string) (header string, dated bool) { return "Bearer " + secret, false }
