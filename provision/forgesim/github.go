package forgesim

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"deploykeyd/provision"
)

// github is the dialect of github.com (served under /) and of GitHub Enterprise
// Server (served under /api/v3).
type github struct{}

const (
	githubJSON = "application/json; charset=utf-8"
	githubDocs = "https://docs.github.com/rest"
	// githubHour is the primary limit of a user's token (docs.github.com,
	// "Rate limits for the REST API").
	githubHour = 5000
)

func (github) admin() Token {
	return Token{Username: "octocat", Secret: "ghp_" + randomHex(18), Admin: true}
}

func (github) basic() bool { return false }

func (github) hosts() []string { return []string{"api.github.com"} }

func (github) locate(method string, path []string) route {
	root := ""
	if len(path) > 2 && path[0] == "api" && path[1] == "v3" {
		root, path = "/api/v3", path[2:]
	}
	switch {
	case len(path) == 1 && path[0] == "meta":
		return route{thing: thingMeta, root: root}
	case len(path) == 1 && path[0] == "rate_limit":
		return route{thing: thingRateLimit, root: root}
	case len(path) == 4 && path[0] == "app" && path[1] == "installations" && path[3] == "access_tokens":
		r := route{thing: thingToken, root: root, id: path[2]}
		if method == http.MethodPost {
			r.op = OpToken
		}
		return r
	case len(path) == 3 && (path[0] == "orgs" || path[0] == "users") && path[2] == "installation":
		return locateInstallation(method, route{root: root, id: path[0] + "/" + path[1]})
	case len(path) >= 2 && path[0] == "repositories":
		return locateRepository(method, root, "#"+path[1], path[2:])
	case len(path) >= 3 && path[0] == "repos":
		return locateRepository(method, root, path[1]+"/"+path[2], path[3:])
	}
	return route{root: root}
}

// locateRepository recognises what follows a repository in a path.
func locateRepository(method, root, repository string, rest []string) route {
	if len(rest) != 1 || rest[0] != "installation" {
		return locateKeys(method, root, repository, "keys", rest)
	}
	return locateInstallation(method, route{root: root, repository: repository})
}

// locateInstallation completes a route to an App's installation, which a
// repository names, or an account with "orgs/" or "users/" in front.
func locateInstallation(method string, r route) route {
	r.thing = thingInstallation
	if method == http.MethodGet {
		r.op = OpLookup
	}
	return r
}

func (github) headers(f *Forge, c *call, h http.Header) {
	limit, left, reset := f.remaining(githubHour, c.arrived)
	h.Set("X-RateLimit-Limit", strconv.Itoa(limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(left))
	h.Set("X-RateLimit-Used", strconv.Itoa(limit-left))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10))
	h.Set("X-RateLimit-Resource", "core")
	h.Set("X-GitHub-Media-Type", "github.v3; format=json")
	h.Set("X-GitHub-Request-Id", strings.ToUpper(randomHex(16)))
}

// githubError is the body of every refusal.
type githubError struct {
	Message          string             `json:"message"`
	Errors           []githubFieldError `json:"errors,omitempty"`
	URL              string             `json:"url,omitempty"`
	DocumentationURL string             `json:"documentation_url,omitempty"`
	Status           string             `json:"status,omitempty"`
}

type githubFieldError struct {
	Resource string `json:"resource"`
	Code     string `json:"code"`
	Field    string `json:"field,omitempty"`
	Message  string `json:"message,omitempty"`
}

func (github) refuse(status int, message string, errors ...githubFieldError) reply {
	return jsonReply(status, githubJSON, githubError{
		Message: message, Errors: errors, Status: strconv.Itoa(status),
		DocumentationURL: githubDocs + "/deploy-keys/deploy-keys",
	})
}

// invalid is a 422 about one thing.
func (g github) invalid(code, field, message string) reply {
	return g.refuse(http.StatusUnprocessableEntity, "Validation Failed",
		githubFieldError{Resource: "PublicKey", Code: code, Field: field, Message: message})
}

func (g github) notFound() reply { return g.refuse(http.StatusNotFound, "Not Found") }

func (github) tooMany(_ *Forge, limit limitName, status int) reply {
	status = cmp.Or(status, http.StatusForbidden)
	body := githubError{
		Message: "You have exceeded a secondary rate limit and have been temporarily blocked from content creation. " +
			"Please retry your request again later.",
		DocumentationURL: githubDocs + "/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits",
		Status:           strconv.Itoa(status),
	}
	if limit == limitPrimary {
		body.Message = "API rate limit exceeded for user ID 1."
		body.DocumentationURL = githubDocs + "/overview/rate-limits-for-the-rest-api"
	}
	return jsonReply(status, githubJSON, body)
}

func (github) broken(_ *Forge, status int) reply {
	return jsonReply(status, githubJSON, githubError{Message: "Server Error", Status: strconv.Itoa(status)})
}

func (g github) answer(f *Forge, c *call) reply {
	if refusal, ok := g.check(c); !ok {
		return refusal
	}
	if c.thing == thingInstallation || c.thing == thingToken {
		return g.answerApp(f, c)
	}
	if refusal, ok := g.admit(f, c); !ok {
		return refusal
	}
	switch c.thing { //nolint:exhaustive // the rest is about a repository
	case thingMeta:
		return g.meta(f)
	case thingRateLimit:
		return g.rateLimit(f)
	case thingNone:
		return g.notFound()
	}
	if c.token == nil {
		return g.notFound() // anonymous callers see no private repository
	}
	r, moved := f.store.find(c.repository)
	if r == nil || !c.token.sees(r) {
		return g.notFound()
	}
	if moved {
		return g.moved(f, c, r)
	}
	if c.thing == thingRepository && c.method == http.MethodGet {
		return jsonReply(http.StatusOK, githubJSON, g.wireRepository(f, c, r))
	}
	if refusal, ok := g.permit(c, r); !ok {
		return refusal
	}
	switch {
	case c.op == OpRegister:
		return g.create(f, c, r)
	case c.op == OpList:
		return g.list(f, c, r)
	case c.op == OpRevoke:
		return g.remove(f, c, r)
	case c.thing == thingKey && c.method == http.MethodGet:
		return g.get(f, c, r)
	}
	return g.notFound()
}

// check checks what GitHub asks of every request.
func (g github) check(c *call) (refusal reply, ok bool) {
	if c.header.Get("User-Agent") == "" {
		return reply{
			status: http.StatusForbidden, header: http.Header{"Content-Type": {"text/html"}},
			body: []byte("Request forbidden by administrative rules. Please make sure your request has a User-Agent header.\n"),
		}, false
	}
	if v := c.header.Get("X-GitHub-Api-Version"); v != "" && !slices.Contains([]string{"2022-11-28", "2026-03-10"}, v) {
		return g.refuse(http.StatusBadRequest, "\""+v+"\" is not a supported version"), false
	}
	if !githubAccepts(c.header.Values("Accept")) {
		return g.refuse(http.StatusUnsupportedMediaType, "Unsupported 'Accept' header. Must accept 'application/json'."), false
	}
	return reply{}, true
}

// admit says who makes a request. Without an Authorization header the caller is
// anonymous.
func (g github) admit(f *Forge, c *call) (refusal reply, ok bool) {
	if c.header.Get("Authorization") == "" {
		return reply{}, true
	}
	secret, _ := c.secret("Bearer", "token")
	if c.token = f.tokenFor(c, secret); c.token == nil {
		return g.refuse(http.StatusUnauthorized, "Bad credentials"), false
	}
	if t := c.token; t.grant != nil && t.grant.installation.suspended {
		return g.refuseApp(http.StatusForbidden, "This installation has been suspended"), false
	}
	return reply{}, true
}

// githubAccepts reports whether an Accept header has room for GitHub's JSON.
func githubAccepts(values []string) bool {
	if len(values) == 0 {
		return true
	}
	for t := range strings.SplitSeq(strings.Join(values, ","), ",") {
		t, _, _ = strings.Cut(strings.TrimSpace(t), ";")
		json := strings.HasPrefix(t, "application/vnd.github") && strings.HasSuffix(t, "json")
		if json || t == "application/json" || t == "application/*" || t == "*/*" || t == "application/vnd.github" {
			return true
		}
	}
	return false
}

// permit checks the right to manage keys, and that the repository takes changes.
func (g github) permit(c *call, r *repository) (refusal reply, ok bool) {
	scopes, needs := []string{"repo", "administration:write"}, "administration=write"
	if c.method == http.MethodGet {
		scopes, needs = append(scopes, "administration:read"), "administration=read"
	}
	if !c.token.administers(r) || !c.token.hasScope(scopes...) {
		who := "personal access token"
		if c.token.grant != nil {
			who = "integration"
		}
		refusal = g.refuse(http.StatusForbidden, "Resource not accessible by "+who)
		refusal.header.Set("X-Accepted-GitHub-Permissions", needs)
		return refusal, false
	}
	if r.options.Archived && c.method != http.MethodGet {
		return g.refuse(http.StatusForbidden, "Repository was archived so is read-only."), false
	}
	return reply{}, true
}

// moved redirects to the repository's id, which outlives every name.
func (g github) moved(f *Forge, c *call, r *repository) reply {
	to := f.base(c) + "/repositories/" + strconv.FormatInt(r.id, 10)
	switch c.thing { //nolint:exhaustive // only these and the repository itself name one
	case thingInstallation:
		to += "/installation"
	case thingKeys:
		to += "/keys"
	case thingKey:
		to += "/keys/" + c.id
	}
	out := jsonReply(http.StatusMovedPermanently, githubJSON, githubError{
		Message: "Moved Permanently", URL: to, DocumentationURL: githubDocs + "/guides/best-practices-for-using-the-rest-api#follow-redirects",
	})
	out.header.Set("Location", to)
	return out
}

// readJSON decodes a body.
func (g github) readJSON(c *call, v any) (refusal reply, ok bool) {
	switch {
	case c.tooLarge():
		return g.refuse(http.StatusRequestEntityTooLarge, "Request body is too large"), false
	case !c.isJSON():
		return g.refuse(http.StatusUnsupportedMediaType, "Content-Type must be application/json"), false
	}
	if err := c.decode(v); err != nil {
		if strings.Contains(err.Error(), "unknown field") {
			return g.refuse(http.StatusUnprocessableEntity, "Invalid request.\n\n"+strings.TrimPrefix(err.Error(), "json: ")), false
		}
		return g.refuse(http.StatusBadRequest, "Problems parsing JSON"), false
	}
	return reply{}, true
}

func (g github) create(f *Forge, c *call, r *repository) reply {
	var in struct {
		Title    string `json:"title"`
		Key      string `json:"key"`
		ReadOnly bool   `json:"read_only"`
	}
	if refusal, ok := g.readJSON(c, &in); !ok {
		return refusal
	}
	switch {
	case in.Key == "":
		return g.invalid("missing_field", "key", "")
	case len(in.Title) > titleLimit:
		return g.invalid("custom", "title", "title is too long (maximum is 255 characters)")
	case f.forbidden(c):
		return g.invalid("custom", "", "Deploy keys are disabled for this repository")
	}
	k, err := parseKeyText(in.Key, 2048)
	if err != nil {
		return g.invalid("custom", "key", "key is invalid. You must supply a key in OpenSSH public key format")
	}
	taken := f.store.clash(r, k.key, in.Title)
	if taken.here || taken.elsewhere || taken.account {
		return g.invalid("custom", "key", "key is already in use")
	}
	access := provision.Write
	if in.ReadOnly {
		access = provision.Read
	}
	made := f.store.add(deployKey{
		repository: r, title: in.Title, access: access, created: c.now, registered: c.arrived, token: c.token,
	}, k.key, k.key.String())
	out := jsonReply(http.StatusCreated, githubJSON, g.wire(f, c, made))
	out.header.Set("Location", g.wire(f, c, made).URL)
	return out
}

func (g github) list(f *Forge, c *call, r *repository) reply {
	page := c.number("page", 1)
	size := min(c.number("per_page", 30), 100)
	keys, last := f.page(f.store.keysOf(r), page, size)
	out := make([]githubKey, 0, len(keys))
	for _, k := range keys {
		out = append(out, g.wire(f, c, k))
	}
	result := jsonReply(http.StatusOK, githubJSON, out)
	link := func(n int, rel string) string {
		q := url.Values{"page": {strconv.Itoa(n)}, "per_page": {strconv.Itoa(size)}}
		return fmt.Sprintf(`<%s/repositories/%d/keys?%s>; rel="%s"`, f.base(c), r.id, q.Encode(), rel)
	}
	var links []string
	if page > 1 {
		links = append(links, link(page-1, "prev"))
	}
	if page < last {
		links = append(links, link(page+1, "next"), link(last, "last"))
	}
	if page > 1 {
		links = append(links, link(1, "first"))
	}
	if len(links) > 0 {
		result.header.Set("Link", strings.Join(links, ", "))
	}
	return result
}

// key returns the key of a call, nil when its repository has none such.
func (github) key(f *Forge, c *call, r *repository) *deployKey {
	id, err := strconv.ParseInt(c.id, 10, 64)
	if err != nil {
		return nil
	}
	if k := f.store.keyByID(id); k != nil && k.repository == r {
		return k
	}
	return nil
}

func (g github) get(f *Forge, c *call, r *repository) reply {
	k := g.key(f, c, r)
	if k == nil {
		return g.notFound()
	}
	return jsonReply(http.StatusOK, githubJSON, g.wire(f, c, k))
}

func (g github) remove(f *Forge, c *call, r *repository) reply {
	k := g.key(f, c, r)
	if k == nil {
		return g.notFound()
	}
	f.store.remove(k)
	return reply{status: http.StatusNoContent, header: http.Header{}}
}

// githubTime is GitHub's form of a time.
func githubTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }
