package forgesim

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"deploykeyd/provision"
)

// bitbucketCloud is the dialect of api.bitbucket.org, version 2.0, for the
// access keys of repositories.
type bitbucketCloud struct{}

const (
	bitbucketJSON  = "application/json; charset=utf-8"
	bitbucketAdmin = "admin:repository:bitbucket"
)

func (bitbucketCloud) admin() Token {
	return Token{Username: "ci@acme.example", Secret: "ATATT3x" + randomHex(40), Admin: true}
}

func (bitbucketCloud) basic() bool { return true }

const (
	bitbucketAPIHost  = "api.bitbucket.org"
	bitbucketSiteHost = "bitbucket.org" // where OAuth tokens are handed out
)

func (bitbucketCloud) hosts() []string { return []string{bitbucketAPIHost, bitbucketSiteHost} }

func (bitbucketCloud) locate(method string, path []string) route {
	if slices.Equal(path, []string{"site", "oauth2", "access_token"}) {
		r := route{thing: thingToken}
		if method == http.MethodPost {
			r.op = OpToken
		}
		return r
	}
	if len(path) >= 4 && path[0] == "2.0" && path[1] == "repositories" {
		return locateKeys(method, "/2.0", path[2]+"/"+path[3], "deploy-keys", path[4:])
	}
	return route{}
}

// headers adds none: the rate limit headers go to access tokens alone, which
// cannot manage keys.
func (bitbucketCloud) headers(*Forge, *call, http.Header) {}

// bitbucketError is the body of every refusal.
type bitbucketError struct {
	Type  string               `json:"type"`
	Error bitbucketErrorDetail `json:"error"`
}

type bitbucketErrorDetail struct {
	Message string              `json:"message"`
	Fields  map[string][]string `json:"fields,omitempty"`
	Detail  any                 `json:"detail,omitempty"`
}

func (bitbucketCloud) refuse(status int, message string) reply {
	return jsonReply(status, bitbucketJSON, bitbucketError{"error", bitbucketErrorDetail{Message: message}})
}

// invalid is a 400 about one member of the request.
func (bitbucketCloud) invalid(field, problem string) reply {
	return jsonReply(http.StatusBadRequest, bitbucketJSON, bitbucketError{
		"error", bitbucketErrorDetail{Message: "Bad request", Fields: map[string][]string{field: {problem}}},
	})
}

func (b bitbucketCloud) notFound(c *call) reply {
	return b.refuse(http.StatusNotFound, "Repository "+c.repository+" not found")
}

// tooMany promises nothing about when to come back.
func (bitbucketCloud) tooMany(_ *Forge, _ limitName, status int) reply {
	return reply{
		status: cmp.Or(status, http.StatusTooManyRequests), header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
		body: []byte("Rate limit for this resource has been exceeded.\n"),
	}
}

func (b bitbucketCloud) broken(_ *Forge, status int) reply {
	return b.refuse(status, "Something went wrong")
}

func (b bitbucketCloud) answer(f *Forge, c *call) reply {
	elsewhere := bitbucketSiteHost
	if c.thing == thingToken {
		elsewhere = bitbucketAPIHost
	}
	if c.thing == thingNone || c.url.Host == elsewhere {
		return b.refuse(http.StatusNotFound, "Resource not found")
	}
	if c.thing == thingToken {
		return b.issue(f, c)
	}
	if refusal, ok := b.authenticate(f, c); !ok {
		return refusal
	}
	r, moved := f.store.find(c.repository)
	if r == nil || moved || !c.token.sees(r) {
		return b.notFound(c)
	}
	if c.thing == thingRepository && c.method == http.MethodGet {
		return jsonReply(http.StatusOK, bitbucketJSON, b.wireRepository(f, c, r))
	}
	if !c.token.administers(r) {
		return b.refuse(http.StatusForbidden, "Your account does not have admin access to this repository.")
	}
	switch {
	case c.op == OpRegister:
		return b.create(f, c, r)
	case c.op == OpList:
		return b.list(f, c, r)
	case c.op == OpRevoke:
		return b.remove(f, c, r)
	case c.thing == thingKey && c.method == http.MethodGet:
		return b.get(f, c, r)
	case c.thing == thingKey && c.method == http.MethodPut:
		return b.update(f, c, r)
	}
	return b.refuse(http.StatusMethodNotAllowed, "Method not allowed")
}

// authenticate admits the caller and checks the scopes. An API token comes as
// Basic email:token; OAuth and access tokens come as Bearer.
func (b bitbucketCloud) authenticate(f *Forge, c *call) (refusal reply, ok bool) {
	user, secret, basic := c.basicAuth()
	if !basic {
		secret, _ = c.secret("Bearer")
	}
	t := f.tokenFor(c, secret)
	if old := f.store.tokens[secret]; t == nil && old != nil && !c.revoked && !basic {
		return b.refuse(http.StatusUnauthorized, "Access token expired. Use your refresh token to obtain a new access token."), false
	}
	if t == nil || basic != (t.Username != "" && !t.AccessToken) || basic && user != t.Username {
		return b.refuse(http.StatusUnauthorized, "Token is invalid, expired, or not supported for this endpoint."), false
	}
	c.token = t
	if t.AccessToken && c.thing != thingRepository && c.method != http.MethodGet {
		return b.refuse(http.StatusForbidden, "Access tokens cannot manage deploy keys of a repository."), false
	}
	required := b.required(c, basic)
	for _, scope := range required {
		if !t.hasScope(scope) {
			return jsonReply(http.StatusForbidden, bitbucketJSON, bitbucketError{"error", bitbucketErrorDetail{
				Message: "Your credentials lack one or more required privilege scopes.",
				Detail:  map[string][]string{"required": required, "granted": t.Scopes},
			}}), false
		}
	}
	return reply{}, true
}

// required returns the scopes that a call needs, all of them.
func (bitbucketCloud) required(c *call, apiToken bool) []string {
	switch {
	case !apiToken && c.thing == thingRepository:
		return []string{"repository"}
	case !apiToken:
		return []string{"repository", "repository:admin"}
	case c.thing == thingRepository:
		return []string{"read:repository:bitbucket"}
	case c.method == http.MethodGet:
		return []string{bitbucketAdmin}
	case c.method == http.MethodDelete:
		return []string{bitbucketAdmin, "delete:ssh-key:bitbucket"}
	}
	return []string{bitbucketAdmin, "write:ssh-key:bitbucket"}
}

// bitbucketInput is what create and update take.
type bitbucketInput struct {
	Key     string `json:"key"`
	Label   string `json:"label"`
	Comment string `json:"comment"`
}

// read decodes the body of a create or update and checks it.
func (b bitbucketCloud) read(c *call) (in bitbucketInput, k keyText, refusal reply, ok bool) {
	switch {
	case c.tooLarge():
		return in, k, b.refuse(http.StatusRequestEntityTooLarge, "Request body too large"), false
	case !c.isJSON():
		return in, k, b.refuse(http.StatusUnsupportedMediaType, "Content-Type must be application/json"), false
	}
	if err := c.decode(&in); err != nil {
		return in, k, b.refuse(http.StatusBadRequest, "Bad request: "+strings.TrimPrefix(err.Error(), "json: ")), false
	}
	switch {
	case in.Key == "":
		return in, k, b.invalid("key", "This field is required."), false
	case len(in.Label) > titleLimit:
		return in, k, b.invalid("label", "Ensure this value has at most 255 characters."), false
	}
	k, err := parseKeyText(in.Key, 2048)
	if err != nil {
		return in, k, b.invalid("key", "Invalid SSH key."), false
	}
	if in.Comment == "" {
		in.Comment = k.comment
	}
	return in, k, reply{}, true
}

func (b bitbucketCloud) create(f *Forge, c *call, r *repository) reply {
	in, k, refusal, ok := b.read(c)
	if !ok {
		return refusal
	}
	taken := f.store.clash(r, k.key, in.Label)
	switch {
	case f.forbidden(c):
		return b.refuse(http.StatusForbidden, "Access keys are disabled for this workspace.")
	case taken.here:
		return b.invalid("key", "Someone has already added that access key to this repository.")
	case taken.account:
		return b.invalid("key", "Someone has already registered that SSH key.")
	case taken.reserved:
		return b.invalid("key", "SSH keys must be unique and deleted keys may take up to 30 days to be removed. Please use a unique SSH key.")
	}
	made := f.store.add(deployKey{
		repository: r, title: in.Label, comment: in.Comment, access: provision.Read,
		created: c.now, registered: c.arrived, token: c.token,
	}, k.key, k.key.String())
	return jsonReply(http.StatusOK, bitbucketJSON, b.wire(f, c, made))
}

// list gives pages whose next link holds the id of the last key seen, disguised:
// a client that counts pages for itself goes wrong.
func (b bitbucketCloud) list(f *Forge, c *call, r *repository) reply {
	query := c.url.Query()
	size := c.number("pagelen", 10)
	if size < 10 && query.Get("pagelen") != "" || size > 100 {
		return b.refuse(http.StatusBadRequest, "Invalid pagelen")
	}
	after := int64(0)
	if p := query.Get("page"); p != "" && p != "1" {
		var err error
		if after, err = parseCursor(p); err != nil {
			return b.refuse(http.StatusBadRequest, "Invalid page")
		}
	}
	rest := f.store.keysOf(r)
	rest = slices.DeleteFunc(rest, func(k *deployKey) bool { return k.id <= after })
	keys, last := f.page(rest, 1, size)
	out := bitbucketPage{Pagelen: min(size, f.pageSize), Values: make([]bitbucketKey, 0, len(keys))}
	for _, k := range keys {
		out.Values = append(out.Values, b.wire(f, c, k))
	}
	if last > 1 {
		q := url.Values{"page": {cursor(keys[len(keys)-1].id)}, "pagelen": {strconv.Itoa(size)}}
		out.Next = f.base(c) + "/repositories/" + escapePath(r.path) + "/deploy-keys?" + q.Encode()
	}
	return jsonReply(http.StatusOK, bitbucketJSON, out)
}

func cursor(id int64) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "after:%d", id))
}

func parseCursor(s string) (id int64, err error) {
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimPrefix(string(text), "after:"), 10, 64)
}

// key returns the key of a call, nil when its repository has none such.
func (bitbucketCloud) key(f *Forge, c *call, r *repository) *deployKey {
	return github{}.key(f, c, r)
}

func (b bitbucketCloud) get(f *Forge, c *call, r *repository) reply {
	k := b.key(f, c, r)
	if k == nil {
		return b.refuse(http.StatusNotFound, "Deploy key not found")
	}
	return jsonReply(http.StatusOK, bitbucketJSON, b.wire(f, c, k))
}

// update changes label and comment; the key's text must be repeated as it is.
func (b bitbucketCloud) update(f *Forge, c *call, r *repository) reply {
	k := b.key(f, c, r)
	if k == nil {
		return b.refuse(http.StatusNotFound, "Deploy key not found")
	}
	in, sent, refusal, ok := b.read(c)
	switch {
	case !ok:
		return refusal
	case sent.key != k.row.key:
		return b.invalid("key", "The key itself cannot be changed.")
	}
	k.title, k.comment = in.Label, in.Comment
	return jsonReply(http.StatusOK, bitbucketJSON, b.wire(f, c, k))
}

func (b bitbucketCloud) remove(f *Forge, c *call, r *repository) reply {
	k := b.key(f, c, r)
	if k == nil {
		return b.refuse(http.StatusNotFound, "Deploy key not found")
	}
	f.store.remove(k)
	return reply{status: http.StatusNoContent, header: http.Header{}}
}
