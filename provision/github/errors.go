package github

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/credential"
	"deploykeyd/provision/internal/rest"
)

// What a person can do about a refusal.
const (
	nextSSO      = "authorise the token for the organisation's single sign-on, in the token's settings on GitHub"
	nextArchived = "unarchive the repository, or take it out of the configuration"
	nextPolicy   = "allow deploy keys in the organisation's settings (Member privileges, Deploy keys)"
	nextKey      = "choose a key type that the forge accepts (key: type in the configuration)"
	nextNew      = "a public key can be in one place only on all of GitHub: a new keypair is needed"
)

// shortestPause is what GitHub asks to wait at least after a secondary limit
// that names no time ("Rate limits for the REST API").
const shortestPause = time.Minute

// problem is the body of a refusal.
type problem struct {
	Message          string `json:"message"`
	DocumentationURL string `json:"documentation_url"`
	Errors           []struct {
		Field   string `json:"field"`
		Message string `json:"message"`
	} `json:"errors"`
}

// text is the message with those of the errors in it.
func (p problem) text() string {
	parts := []string{p.Message}
	for _, e := range p.Errors {
		if e.Message != "" {
			parts = append(parts, e.Message)
		}
	}
	return strings.Join(parts, ": ")
}

// advice is what depends on the kind of credential.
type advice struct {
	right, name string
	token       string // for a refused credential; empty for what rest says
}

func adviceForToken() advice {
	return advice{
		right: "give the token the repository permission Administration: write (a classic token: the scope repo, of a user who is admin of the repository)",
		name:  "check the repository's name; if it is right, give the token access to it with the repository permission Administration: write",
	}
}

func adviceForApp() advice {
	return advice{
		right: "give the App the repository permission Administration: write, and have the account's owner accept it",
		name:  "check the repository's name; if it is right, add it to the App's installation (one forge entry per owner)",
		token: "see that the App's installation was not removed or suspended: the forge refuses a token that it has just given for it",
	}
}

// refine classes a refusal by headers and the documented texts.
func (a advice) refine(r rest.Reply, e *provision.Error) {
	var p problem
	if !r.JSON(&p) {
		p = problem{}
	}
	e.Message = p.text()
	switch {
	case limited(r, p):
		e.Class, e.Uncertain = provision.RateLimited, false
		e.RetryAfter = pause(r)
	case r.Status == http.StatusUnauthorized && a.token != "":
		e.Next = a.token
	case r.Status == http.StatusForbidden:
		a.refineForbidden(r, e)
	case r.Status == http.StatusNotFound:
		e.Next = a.name
	case r.Status == http.StatusUnprocessableEntity:
		refineUnprocessable(e)
	}
}

// limited reports whether the refusal is a rate limit: GitHub uses 403 for the
// primary limit, for secondary limits and for missing rights.
func limited(r rest.Reply, p problem) bool {
	switch r.Status {
	case http.StatusTooManyRequests:
		return true
	case http.StatusForbidden:
		if strings.HasPrefix(p.Message, "Resource not accessible") {
			return false // though this may have been the last request of the hour
		}
		return r.Header.Get("Retry-After") != "" || exhausted(r) ||
			credential.SecondaryLimit(p.DocumentationURL, p.Message)
	}
	return false
}

func exhausted(r rest.Reply) bool { return r.Header.Get("X-Ratelimit-Remaining") == "0" }

// pause follows GitHub's rule: what Retry-After says; else, with nothing
// remaining, until the reset; else a minute.
func pause(r rest.Reply) time.Duration {
	if asked := r.RetryAfter(); asked > 0 {
		return asked
	}
	if exhausted(r) {
		if at, err := strconv.ParseInt(r.Header.Get("X-Ratelimit-Reset"), 10, 64); err == nil {
			return max(r.Until(time.Unix(at, 0)), time.Second)
		}
	}
	return shortestPause
}

func (a advice) refineForbidden(r rest.Reply, e *provision.Error) {
	switch {
	case strings.HasPrefix(r.Header.Get("X-GitHub-SSO"), "required"):
		e.Class, e.Next = provision.PolicyForbids, nextSSO
	case strings.Contains(e.Message, "archived"):
		e.Class, e.Next = provision.PolicyForbids, nextArchived
	default:
		e.Next = a.right
	}
}

func refineUnprocessable(e *provision.Error) {
	switch {
	case strings.Contains(e.Message, "already in use"):
		e.Class, e.Next = provision.Exists, nextNew
	case strings.Contains(e.Message, "disabled"):
		e.Class, e.Next = provision.PolicyForbids, nextPolicy
	case strings.Contains(e.Message, "key is invalid"):
		e.Next = nextKey
	}
}
