package forgesim

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"deploykeyd/provision"
)

// gitea is the dialect of Gitea 1.25, which Forgejo speaks as well.
type gitea struct{}

const (
	giteaRead  = "read:repository"
	giteaWrite = "write:repository"
)

func (gitea) admin() Token { return Token{Username: "root", Secret: randomHex(20), Admin: true} }

func (gitea) basic() bool { return false }

func (gitea) hosts() []string { return nil }

func (gitea) locate(method string, path []string) route {
	if len(path) < 3 || path[0] != "api" || path[1] != "v1" {
		return route{}
	}
	rest := path[2:]
	switch {
	case len(rest) == 1 && rest[0] == "version":
		return route{thing: thingVersion}
	case len(rest) >= 3 && rest[0] == "repos":
		return locateKeys(method, "/api/v1", rest[1]+"/"+rest[2], "keys", rest[3:])
	}
	return route{}
}

func (gitea) headers(_ *Forge, _ *call, h http.Header) {
	h.Set("Cache-Control", "max-age=0, private, must-revalidate, no-transform")
	h.Set("X-Frame-Options", "SAMEORIGIN")
}

// giteaError is the body of every refusal.
type giteaError struct {
	Message string `json:"message"`
	URL     string `json:"url"`
}

func (gitea) refuse(f *Forge, status int, format string, args ...any) reply {
	return jsonReply(status, giteaJSON, giteaError{fmt.Sprintf(format, args...), f.url + "/api/swagger"})
}

const giteaJSON = "application/json;charset=utf-8"

func (gitea) notFound(f *Forge) reply {
	return jsonReply(http.StatusNotFound, giteaJSON, struct {
		Errors  []string `json:"errors"`
		Message string   `json:"message"`
		URL     string   `json:"url"`
	}{nil, "not found", f.url + "/api/swagger"})
}

func (g gitea) tooMany(f *Forge, _ limitName, status int) reply {
	// Gitea has no limits of its own: a proxy in front of it speaks.
	r := g.broken(f, cmp.Or(status, http.StatusTooManyRequests))
	r.header.Set("Content-Type", "text/plain; charset=utf-8")
	r.body = []byte("Too Many Requests\n")
	return r
}

func (g gitea) broken(f *Forge, status int) reply { return g.refuse(f, status, "") }

func (g gitea) answer(f *Forge, c *call) reply {
	if c.thing == thingVersion && c.method == http.MethodGet {
		return jsonReply(http.StatusOK, giteaJSON, map[string]string{"version": "1.25.5"})
	}
	if c.thing == thingNone {
		return g.notFound(f)
	}
	if refusal, ok := g.authenticate(f, c); !ok {
		return refusal
	}
	r, refusal := g.repository(f, c)
	if r == nil {
		return refusal
	}
	if c.thing == thingRepository {
		if c.method != http.MethodGet {
			return g.refuse(f, http.StatusMethodNotAllowed, "Method Not Allowed")
		}
		return jsonReply(http.StatusOK, giteaJSON, g.wireRepository(f, c, r))
	}
	if c.token == nil {
		return g.refuse(f, http.StatusUnauthorized, "token is required")
	}
	if !c.token.administers(r) {
		return g.refuse(f, http.StatusForbidden, "user should be an owner or a collaborator with admin write of a repository")
	}
	switch c.op { //nolint:exhaustive // faults' other operations are not routed
	case OpRegister:
		return g.create(f, c, r)
	case OpList:
		return g.list(f, c, r)
	case OpRevoke:
		return g.remove(f, c, r)
	}
	if c.thing == thingKey && c.method == http.MethodGet {
		return g.get(f, c, r)
	}
	return g.refuse(f, http.StatusMethodNotAllowed, "Method Not Allowed")
}

// authenticate admits the caller and checks the token's scope, which comes
// before any look at the repository. A caller without a credential is anonymous:
// the refusal comes after the look.
func (g gitea) authenticate(f *Forge, c *call) (refusal reply, ok bool) {
	secret, given := c.secret("token", "Bearer")
	if !given {
		if _, secret, given = c.basicAuth(); !given {
			return reply{}, true
		}
	}
	if c.token = f.tokenFor(c, secret); c.token == nil {
		return g.refuse(f, http.StatusUnauthorized, "invalid username, password or token"), false
	}
	scopes := []string{giteaWrite}
	if c.method == http.MethodGet {
		scopes = []string{giteaRead, giteaWrite}
	}
	if !c.token.hasScope(scopes...) {
		return g.refuse(f, http.StatusForbidden,
			"token does not have at least one of required scope(s), required=[%s], token scope=%s",
			scopes[0], strings.Join(c.token.Scopes, ",")), false
	}
	return reply{}, true
}

// repository finds the repository of a call, or says why there is none.
func (g gitea) repository(f *Forge, c *call) (*repository, reply) {
	r, moved := f.store.find(c.repository)
	switch {
	case r == nil && !f.store.hasOwner(provision.Repository(c.repository).Owner()):
		return nil, jsonReply(http.StatusNotFound, giteaJSON, map[string]any{
			"message": "GetUserByName",
			"errors":  []string{"user redirect does not exist [name: " + provision.Repository(c.repository).Owner() + "]"},
			"url":     f.url + "/api/swagger",
		})
	case r == nil || !r.options.Public && (c.token == nil || !c.token.sees(r)):
		return nil, g.notFound(f)
	case moved:
		old := "/repos/" + c.repository
		to := strings.Replace(c.url.Path, old, "/repos/"+r.path, 1)
		if c.url.RawQuery != "" {
			to += "?" + c.url.RawQuery
		}
		return nil, reply{status: http.StatusMovedPermanently, header: http.Header{"Location": {to}}}
	}
	return r, reply{}
}

func (g gitea) create(f *Forge, c *call, r *repository) reply {
	var in struct {
		Title    string `json:"title"`
		Key      string `json:"key"`
		ReadOnly bool   `json:"read_only"`
	}
	switch {
	case c.tooLarge():
		return g.refuse(f, http.StatusRequestEntityTooLarge, "request body too large")
	case !c.isJSON():
		return g.refuse(f, http.StatusUnsupportedMediaType, "Unsupported Content-Type: application/json is required")
	}
	if err := c.decode(&in); err != nil {
		return g.refuse(f, http.StatusUnprocessableEntity, "[]: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	switch {
	case in.Key == "":
		return g.refuse(f, http.StatusUnprocessableEntity, "[Key]: Required")
	case in.Title == "":
		return g.refuse(f, http.StatusUnprocessableEntity, "[Title]: Required")
	case len(in.Title) > titleLimit:
		return g.refuse(f, http.StatusUnprocessableEntity, "[Title]: MaxSize")
	case f.forbidden(c):
		return g.refuse(f, http.StatusUnprocessableEntity, "SSH is disabled")
	}
	k, err := parseKeyText(in.Key, 3071)
	if err != nil {
		return g.refuse(f, http.StatusUnprocessableEntity, "Invalid key content: %s", g.keyProblem(err))
	}
	taken := f.store.clash(r, k.key, in.Title)
	switch {
	case taken.account:
		return g.refuse(f, http.StatusUnprocessableEntity, "Key content has been used as non-deploy key")
	case taken.here:
		return g.refuse(f, http.StatusUnprocessableEntity, "This key has already been added to this repository")
	case taken.title:
		return g.refuse(f, http.StatusUnprocessableEntity, "A key with the same name already exists")
	}
	access := provision.Write
	if in.ReadOnly {
		access = provision.Read
	}
	made := f.store.add(deployKey{
		repository: r, title: in.Title, access: access, created: c.now, registered: c.arrived, token: c.token,
	}, k.key, k.text)
	out := g.wire(f, c, made)
	out.Key, out.Repository = k.text, nil
	return jsonReply(http.StatusCreated, giteaJSON, out)
}

// keyProblem words a bad key as Gitea's parser does.
func (gitea) keyProblem(err error) string {
	if strings.HasPrefix(err.Error(), "invalid key format") {
		return "extractTypeFromBase64Key: " + err.Error()
	}
	return err.Error()
}

func (g gitea) list(f *Forge, c *call, r *repository) reply {
	query := c.url.Query()
	var found []*deployKey
	for _, k := range f.store.keysOf(r) {
		fingerprint, row := query.Get("fingerprint"), query.Get("key_id")
		if fingerprint != "" && fingerprint != k.row.key.Fingerprint() || row != "" && row != strconv.FormatInt(k.row.id, 10) {
			continue
		}
		found = append(found, k)
	}
	total := len(found)
	if page := c.number("page", 0); page > 0 { // without it, all entries come at once
		found, _ = f.page(found, page, c.number("limit", 30))
	}
	out := make([]giteaKey, 0, len(found))
	for _, k := range found {
		out = append(out, g.wire(f, c, k))
	}
	result := jsonReply(http.StatusOK, giteaJSON, out)
	result.header.Set("X-Total-Count", strconv.Itoa(total))
	result.header.Set("Access-Control-Expose-Headers", "X-Total-Count")
	return result
}

// key returns the key of a call, on whatever repository, or nil.
func (gitea) key(f *Forge, c *call) *deployKey {
	id, err := strconv.ParseInt(c.id, 10, 64)
	if err != nil {
		return nil
	}
	return f.store.keyByID(id)
}

func (g gitea) get(f *Forge, c *call, r *repository) reply {
	k := g.key(f, c)
	if k == nil || k.repository != r {
		return g.notFound(f)
	}
	return jsonReply(http.StatusOK, giteaJSON, g.wire(f, c, k))
}

func (g gitea) remove(f *Forge, c *call, r *repository) reply {
	k := g.key(f, c)
	switch {
	case k == nil: // what is not there has been deleted
	case k.repository != r:
		return g.refuse(f, http.StatusInternalServerError, "deploy key %d does not belong to repository %d", k.id, r.id)
	default:
		f.store.remove(k)
	}
	return reply{status: http.StatusNoContent, header: http.Header{}}
}

// escapePath escapes a repository's path for a URL.
func escapePath(path string) string {
	parts := slices.Collect(strings.SplitSeq(path, "/"))
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}
