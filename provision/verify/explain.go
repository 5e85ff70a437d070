package verify

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"

	"deploykeyd/provision"
)

var (
	// errNotTakenUp: the SSH side does not know the key, or not yet.
	errNotTakenUp = errors.New("the key is not known to the SSH server")
	// errNotOurKey: a proof of nothing.
	errNotOurKey = errors.New("git reached the repository without the key under test")
)

// refusalText is what a forge says on stderr when a key that it knows may not
// read the repository. Sources: the forges' documentation and observed replies;
// see the page of each forge.
type refusalText struct {
	text  string
	class provision.Class
}

func refusals(k provision.Kind) []refusalText {
	switch k {
	case provision.BitbucketCloud:
		return []refusalText{
			{"repository access denied", provision.Denied},
			{"repository does not exist", provision.NotFound},
		}
	case provision.BitbucketDataCenter:
		return []refusalText{
			{"Repository not found", provision.NotFound},
			{"The requested repository does not exist", provision.NotFound},
		}
	case provision.GitHub:
		return []refusalText{{"ERROR: Repository not found.", provision.NotFound}}
	case provision.GitLab:
		return []refusalText{
			{"The project you were looking for could not be found", provision.NotFound},
			{"Your SSH key has expired", provision.Denied},
		}
	case provision.Gitea:
		return []refusalText{
			{"is not authorized to read", provision.Denied},
			{"Cannot find repository", provision.NotFound},
		}
	}
	return nil
}

var fingerprintPattern = regexp.MustCompile(`SHA256:[A-Za-z0-9+/]{43}`)

// explain classes the failure of a git command by what it wrote to stderr. It
// looks for ssh's own words first: those come before the server has a say.
func (w *work) explain(err error, stderr string) error {
	if _, ok := errors.AsType[*exec.ExitError](err); !ok {
		return fmt.Errorf("run git: %w", err)
	}
	forge := w.request.Host.Forge
	switch {
	case strings.Contains(stderr, "Host key verification failed"),
		strings.Contains(stderr, "no matching host key type found"):
		shown := fingerprintPattern.FindString(stderr)
		if shown != "" {
			shown = ": it shows " + shown
		}
		return &provision.Error{
			Class:   provision.Invalid,
			Message: "the host key of " + w.request.Host.SSH.KnownHost() + " is not one of the pinned ones" + shown,
			Next: "compare it with the forge's own page over https. If it is published there, set host_keys: of forge " + forge +
				" to it; if not, somebody may stand between this machine and the forge",
		}
	case strings.Contains(stderr, "agent refused operation"):
		return &provision.Error{
			Class: provision.Invalid, Message: "the agent socket refused to sign: " + clean(stderr),
			Next: "look for the refusal and its reason in deploykeyd's log",
		}
	case strings.Contains(stderr, "Permission denied (") && strings.Contains(stderr, "publickey"):
		return &provision.Error{
			Class: provision.Transient, Message: errNotTakenUp.Error() + " yet", Err: errNotTakenUp,
			Next: "if this stays, look whether the key is still in the list of deploy keys of " + string(w.request.Repository),
		}
	}
	for _, r := range refusals(w.request.Kind) {
		if strings.Contains(stderr, r.text) {
			return &provision.Error{
				Class: r.class, Message: clean(stderr),
				Next: "look whether " + string(w.request.Repository) + " still exists under that name and lists the key among its deploy keys",
			}
		}
	}
	return &provision.Error{Class: provision.Transient, Message: clean(stderr), Next: reach(w.request), Err: err}
}

// reach is the next step for a network in trouble.
func reach(r Request) string {
	return "check that this machine reaches " + r.Host.SSH.String() + ", and try: git ls-remote " + r.Host.SSH.CloneURL(r.Repository)
}

func invalid(err error) error {
	return &provision.Error{Class: provision.Invalid, Message: err.Error(), Err: err}
}

// refused completes an error for r.
func refused(r Request, err error) *provision.Error {
	e, ok := errors.AsType[*provision.Error](err)
	switch {
	case ok:
	case errors.Is(err, errTimeout):
		e = &provision.Error{Class: provision.Transient, Message: err.Error(), Next: reach(r), Err: err}
	case errors.Is(err, errNotOurKey):
		e = &provision.Error{
			Class: provision.Invalid, Message: err.Error(), Err: err,
			Next: "check the ssh: address of forge " + r.Host.Forge + ": its server lets clients in without a key",
		}
	default:
		e = &provision.Error{
			Class: provision.Transient, Message: clean(err.Error()), Err: err,
			Next: "check that git and ssh run on this machine and that its temporary folder has free space",
		}
	}
	e.Op, e.Forge, e.Target = "verify", r.Host.Forge, provision.RepositoryTarget(r.Repository)
	return e
}
