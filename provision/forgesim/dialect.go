package forgesim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"deploykeyd/provision"
)

// dialect is what makes one forge differ from another on the wire.
type dialect interface {
	// admin returns a fresh credential with all rights.
	admin() Token
	// basic reports whether Credential's username is part of the credential.
	basic() bool
	// hosts are the names of the hosted service that requests may use as well.
	hosts() []string
	// locate says what a request is about, from its method and path alone.
	locate(method string, path []string) route
	// answer does the work of a request. The forge's mutex is held.
	answer(f *Forge, c *call) reply
	// headers are put on every reply. The forge's mutex is held.
	headers(f *Forge, c *call, h http.Header)
	// tooMany refuses for the rate; limit says which one was passed.
	tooMany(f *Forge, limit limitName, status int) reply
	// broken is a reply of a forge in trouble.
	broken(f *Forge, status int) reply
	// denied is what the SSH side says to a command that it does not run.
	denied(d denial, p peer) farewell
	// verbs are the commands that the SSH side runs.
	verbs() []string
	// clonePath reads the path in a git command: deniedNot, or why it names no
	// repository.
	clonePath(path string) (provision.Repository, denial)
	// lfsHeader is the Authorization header that stands for a token of ours, and
	// whether the answer over SSH says when it expires.
	lfsHeader(secret string) (header string, dated bool)
	// config is the git configuration of a bare repository.
	config() string
}

func dialectOf(k provision.Kind) (dialect, error) {
	switch k {
	case provision.Gitea:
		return gitea{}, nil
	case provision.GitHub:
		return github{}, nil
	case provision.BitbucketCloud:
		return bitbucketCloud{}, nil
	case provision.BitbucketDataCenter, provision.GitLab:
	}
	return nil, fmt.Errorf("forgesim: no dialect for %q", k)
}

// thing is the kind of object that a path names.
type thing int

const (
	thingNone thing = iota
	thingKeys
	thingKey
	thingRepository
	thingVersion
	thingMeta
	thingRateLimit
	thingInstallation // of a GitHub App on a repository or an account
	thingToken        // to be handed out
)

// route is what a request is about.
type route struct {
	op         Op
	thing      thing
	repository string // "owner/name", or another form that store.find knows
	id         string
	root       string // the prefix of the API in this request's path
}

// opOf returns the operation of a method on keys or on one key.
func opOf(method string, t thing) Op {
	switch {
	case t == thingKeys && method == http.MethodPost:
		return OpRegister
	case t == thingKeys && method == http.MethodGet:
		return OpList
	case t == thingKey && method == http.MethodDelete:
		return OpRevoke
	}
	return ""
}

// call is one API request, read whole.
type call struct {
	route
	method    string
	url       *url.URL
	header    http.Header
	body      []byte
	arrived   time.Time // by the true clock
	now       time.Time // by the forge's clock
	revoked   bool      // every credential is unknown
	policyOff bool      // deploy keys are forbidden
	token     *Token    // set by the dialect once it has admitted the caller
}

// reply is an answer before it is put on a wire.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// maxRequest is the largest request body that is read.
const maxRequest = 64 << 10

// newCall reads a request. It closes the body.
func (f *Forge) newCall(r *http.Request) (*call, error) {
	c := &call{method: r.Method, url: r.URL, header: r.Header, arrived: time.Now()}
	c.route = f.dialect.locate(r.Method, splitPath(r.URL))
	f.mu.Lock()
	if found, moved := f.store.find(c.repository); found != nil && !moved {
		c.repository = found.path
	}
	f.mu.Unlock()
	if r.Body == nil {
		return c, nil
	}
	defer r.Body.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	c.body = body
	return c, err
}

// splitPath returns the decoded segments of a path, nil for one that ends in a
// slash or has an empty segment: no forge knows such a path.
func splitPath(u *url.URL) []string {
	var path []string
	for s := range strings.SplitSeq(strings.TrimPrefix(u.EscapedPath(), "/"), "/") {
		decoded, err := url.PathUnescape(s)
		if err != nil || decoded == "" || strings.Contains(decoded, "/") {
			return nil
		}
		path = append(path, decoded)
	}
	return path
}

// locateKeys recognises REPOSITORY[/collection[/ID]] in what follows the prefix
// of a forge's repositories.
func locateKeys(method, root, repository, collection string, rest []string) route {
	r := route{root: root, repository: repository}
	switch {
	case len(rest) == 0:
		r.thing = thingRepository
	case len(rest) == 1 && rest[0] == collection:
		r.thing = thingKeys
	case len(rest) == 2 && rest[0] == collection:
		r.thing, r.id = thingKey, rest[1]
	}
	r.op = opOf(method, r.thing)
	return r
}

// decode reads the body into v, refusing unknown members and a second value.
func (c *call) decode(v any) error {
	d := json.NewDecoder(bytes.NewReader(c.body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("invalid character after top-level value")
	}
	return nil
}

// isJSON reports whether the request says that its body is JSON.
func (c *call) isJSON() bool {
	t, _, err := mime.ParseMediaType(c.header.Get("Content-Type"))
	return err == nil && (t == "application/json" || strings.HasSuffix(t, "+json"))
}

// tooLarge reports whether the body passes what is read of it.
func (c *call) tooLarge() bool { return len(c.body) > maxRequest }

// secret returns the token of an Authorization header with one of the schemes.
func (c *call) secret(schemes ...string) (string, bool) {
	scheme, secret, ok := strings.Cut(c.header.Get("Authorization"), " ")
	if !ok {
		return "", false
	}
	for _, s := range schemes {
		if strings.EqualFold(s, scheme) {
			return secret, true
		}
	}
	return "", false
}

// basicAuth returns the user and password of a Basic Authorization header.
func (c *call) basicAuth() (user, secret string, ok bool) {
	return (&http.Request{Header: c.header}).BasicAuth()
}

// base returns the API's root as this caller names it.
func (f *Forge) base(c *call) string {
	if c.url.Host != "" && c.url.Host != f.host {
		return "https://" + c.url.Host + c.root // in process, by the hosted service's name
	}
	return f.url + c.root
}

// tokenFor returns the token with that secret, nil when it is not known, has
// expired or has been revoked.
func (f *Forge) tokenFor(c *call, secret string) *Token {
	t := f.store.tokens[secret]
	if c.revoked || t == nil || t.over(c.now) {
		return nil
	}
	return t
}

// forbidden reports whether deploy keys are switched off for this request.
func (f *Forge) forbidden(c *call) bool { return c.policyOff || f.store.forbidden }

// page returns the part of keys that a page number and size choose, and the
// number of the last page. Size is cut to what the forge grants.
func (f *Forge) page(keys []*deployKey, number, size int) (part []*deployKey, last int) {
	size = min(size, f.pageSize)
	last = max(1, (len(keys)+size-1)/size)
	from := min((number-1)*size, len(keys))
	return keys[from:min(from+size, len(keys))], last
}

// number returns a positive number from the query, or the default.
func (c *call) number(name string, otherwise int) int {
	n, err := strconv.Atoi(c.url.Query().Get(name))
	if err != nil || n < 1 {
		return otherwise
	}
	return n
}

// jsonReply returns v as JSON with a content type.
func jsonReply(status int, contentType string, v any) reply {
	body, err := json.Marshal(v)
	if err != nil {
		panic("forgesim: reply does not marshal: " + err.Error()) // only plain structs are given
	}
	return reply{status: status, header: http.Header{"Content-Type": {contentType}}, body: append(body, '\n')}
}
