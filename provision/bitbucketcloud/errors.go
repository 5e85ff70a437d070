package bitbucketcloud

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/internal/rest"
)

// nextNew is what a person can do about a key that the forge refuses.
const nextNew = "the key belongs to an account, or was deleted within the last 30 days: a new keypair is needed"

// advice is what a person can do about the refusals that depend on the kind of
// credential.
type advice struct {
	right, name string
	token       func(next string) string // for a refused credential
}

func adviceForToken() advice {
	return advice{
		right: "give the API token the scopes admin:repository:bitbucket, write:ssh-key:bitbucket and delete:ssh-key:bitbucket, and its account admin permission on the repository; access tokens cannot manage access keys",
		name:  "check the workspace's and repository's names; if they are right, give the token's account admin permission on the repository",
		token: func(next string) string {
			return next + "; an API token expires after a year at most and needs its account's e-mail address as username"
		},
	}
}

func adviceForOAuth() advice {
	return advice{
		right: "give the OAuth consumer the permission Repositories: admin; a change of it invalidates the keys that it has added",
		name:  "check the workspace's and repository's names; if they are right, the OAuth consumer must belong to that workspace",
		token: func(string) string {
			return "see that the OAuth consumer still exists: the forge refuses a token that it has just given for it"
		},
	}
}

// shortestPause is the wait after a refusal that names no time: the limit is
// counted over an hour ("API request limits").
const shortestPause = time.Minute

// problem is the body of a refusal.
type problem struct {
	Error struct {
		Message string                     `json:"message"`
		Fields  map[string]json.RawMessage `json:"fields"`
		Detail  json.RawMessage            `json:"detail"` // an object or a string
	} `json:"error"`
}

// text is the message with what the forge says of single fields, and with the
// scopes that would be needed, where they are named.
func (p problem) text() string {
	parts := []string{p.Error.Message}
	for _, field := range slices.Sorted(maps.Keys(p.Error.Fields)) {
		var says []string
		if json.Unmarshal(p.Error.Fields[field], &says) == nil {
			parts = append(parts, field+": "+strings.Join(says, " "))
		}
	}
	var scopes struct {
		Required []string `json:"required"`
	}
	if json.Unmarshal(p.Error.Detail, &scopes) == nil && len(scopes.Required) > 0 {
		parts = append(parts, "required: "+strings.Join(scopes.Required, ", "))
	}
	return strings.Join(parts, "; ")
}

// refine classes a refusal by its status and the names of the fields that were
// refused. Messages may be localised: they are shown, not understood.
func (a advice) refine(r rest.Reply, e *provision.Error) {
	var p problem
	if !r.JSON(&p) {
		p = problem{}
	}
	e.Message = p.text()
	switch r.Status {
	case http.StatusBadRequest:
		// Only what registers a key can meet one that is there already.
		_, key := p.Error.Fields["key"]
		if e.Op == string(rest.Register) && (key || len(p.Error.Fields) == 0) {
			e.Class, e.Next = provision.Exists, nextNew
		}
	case http.StatusUnauthorized:
		e.Next = a.token(e.Next)
	case http.StatusForbidden:
		e.Next = a.right
	case http.StatusNotFound:
		e.Next = a.name
	case http.StatusTooManyRequests:
		if e.RetryAfter == 0 {
			e.RetryAfter = shortestPause
		}
	}
}
