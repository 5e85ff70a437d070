package gitea

import (
	"net/http"
	"strings"

	"deploykeyd/provision"
	"deploykeyd/provision/internal/rest"
)

// What a person can do about a refusal.
const (
	nextScope  = "give the token the scope write:repository"
	nextAdmin  = "make the token's user an administrator of the repository, and give the token the scope write:repository"
	nextName   = "check the repository's name; if it is right, give the token's user access to it as administrator"
	nextTitle  = "remove the other key with this title from the repository, or wait until it has expired"
	nextPolicy = "have SSH switched on in the forge's settings ([server] DISABLE_SSH = false)"
	nextKey    = "choose a key type that the forge accepts (key: type in the configuration)"
	nextID     = "report this: deploykeyd sent the id of another repository's key"
	nextNew    = "an account of the forge has this key: a new keypair is needed"
)

// problem is the body of a refusal.
type problem struct {
	Message string `json:"message"`
}

// refine classes a refusal by the texts of Gitea 1.25 and Forgejo 9, recorded
// from running servers. The API has no codes.
func refine(r rest.Reply, e *provision.Error) {
	var p problem
	if !r.JSON(&p) {
		p = problem{}
	}
	e.Message = p.Message
	says := func(words string) bool { return strings.Contains(p.Message, words) }
	switch {
	case r.Status == http.StatusForbidden && says("scope"):
		e.Next = nextScope
	case r.Status == http.StatusForbidden:
		e.Next = nextAdmin
	case r.Status == http.StatusNotFound:
		e.Next = nextName
	case r.Status == http.StatusInternalServerError && says("does not belong to repository"):
		// An id of another repository: a refusal, not a fault.
		e.Class, e.Uncertain, e.Next = provision.Invalid, false, nextID
	case r.Status == http.StatusUnprocessableEntity:
		refineUnprocessable(e, says)
	}
}

func refineUnprocessable(e *provision.Error, says func(string) bool) {
	switch {
	case says("already been added to this repository"):
		e.Class = provision.Exists
	case says("non-deploy key"):
		e.Class, e.Next = provision.InUseElsewhere, nextNew
	case says("same name already exists"):
		e.Class, e.Next = provision.TitleClash, nextTitle
	case says("SSH is disabled"):
		e.Class, e.Next = provision.PolicyForbids, nextPolicy
	case says("Invalid key content"):
		e.Next = nextKey
	}
}
