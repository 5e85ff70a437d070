package provision

import (
	"errors"
	"fmt"
	"strings"
)

// Repository is a repository's full path on its forge without a leading slash
// or ".git": "owner/name", "workspace/slug", "group/sub/name".
type Repository string

// ParseRepository checks that s is a repository path that forges of kind k can
// have. Only GitLab nests groups.
func ParseRepository(k Kind, s string) (Repository, error) {
	parts := strings.Split(s, "/")
	switch {
	case s == "":
		return "", errors.New("the repository is empty: write owner/name")
	case strings.HasSuffix(s, ".git"):
		return "", fmt.Errorf("repository %q: leave out %q", s, ".git")
	case len(parts) < 2:
		return "", fmt.Errorf("repository %q has no owner: write owner/name", s)
	case len(parts) > 2 && k != GitLab:
		return "", fmt.Errorf("repository %q has too many parts: %s knows owner/name", s, k)
	}
	for _, p := range parts {
		if err := checkSegment(p); err != nil {
			return "", fmt.Errorf("repository %q: %w", s, err)
		}
	}
	return Repository(s), nil
}

// checkSegment refuses what no forge allows in a name and what would change the
// meaning of a URL or of a command line that the name is placed in.
func checkSegment(p string) error {
	switch p {
	case "":
		return errors.New("a part of the path is empty")
	case ".", "..":
		return fmt.Errorf("%q cannot be part of the path", p)
	}
	if p[0] == '-' {
		return fmt.Errorf("%q begins with a dash", p)
	}
	for _, c := range []byte(p) {
		if !isNameByte(c) {
			return fmt.Errorf("%q has the character %q: only letters, digits and . _ - ~ { } are allowed", p, string(c))
		}
	}
	return nil
}

// isNameByte allows what the forges allow: letters, digits, dot, underscore,
// dash; a tilde for Bitbucket's personal projects, and braces for the UUIDs
// that Bitbucket Cloud takes in place of names.
func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("._-~{}", c) >= 0
}

// Owner returns everything before the last slash.
func (r Repository) Owner() string {
	owner, _ := r.cut()
	return owner
}

// Name returns what follows the last slash.
func (r Repository) Name() string {
	_, name := r.cut()
	return name
}

func (r Repository) cut() (owner, name string) {
	i := strings.LastIndexByte(string(r), '/')
	if i < 0 {
		return "", string(r)
	}
	return string(r[:i]), string(r[i+1:])
}

// Same reports whether a and b name one repository. No supported forge can have
// two whose paths differ in letter case alone: GitHub does not tell them apart
// (github/docs, pull request 32962), GitLab and Gitea find and compare paths in
// lower case (GitLab: routable.rb; Gitea: cmd/serv.go), and Bitbucket makes
// slugs of lower-case letters and project keys of upper-case ones.
func Same(a, b Repository) bool { return strings.EqualFold(string(a), string(b)) }

// ParseClonePath returns the repository that the path of a git command names:
// the argument of git-upload-pack and its like, as a client sends it. A leading
// slash and a trailing ".git" or slash are optional. Bitbucket Data Center has
// its HTTP prefix "scm/" removed.
func ParseClonePath(k Kind, path string) (Repository, error) {
	p := strings.TrimPrefix(path, "/")
	p = strings.TrimSuffix(p, "/")
	p = strings.TrimSuffix(p, ".git")
	if rest, ok := strings.CutPrefix(p, "scm/"); ok && k == BitbucketDataCenter && strings.Contains(rest, "/") {
		p = rest // without a second slash, SCM is the project
	}
	return ParseRepository(k, p)
}

// Target is what a key is registered on: a repository, or a whole project on
// forges whose Traits have ProjectKeys.
type Target struct {
	Path    string `json:"path"`              // "owner/name", or "workspace/PROJECT"
	Project bool   `json:"project,omitempty"` // Path names a project
}

// RepositoryTarget returns the target that is the repository r itself.
func RepositoryTarget(r Repository) Target { return Target{Path: string(r)} }

// String is the target as messages name it.
func (t Target) String() string {
	if t.Project {
		return "project " + t.Path
	}
	return t.Path
}

// Repository returns the repository that t is, and false for a project.
func (t Target) Repository() (Repository, bool) {
	if t.Project {
		return "", false
	}
	return Repository(t.Path), true
}
