package forgesim

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"deploykeyd/provision"
)

// App is a GitHub App: a registration with its own keys, installed on accounts.
type App struct {
	ID       int64  // the number that "iss" of a JWT may hold
	ClientID string // what "iss" may hold in its place; empty for none
	Slug     string // the name in URLs; empty means "app-" and the ID
	// PublicKeys are the public halves of the App's private keys, at least one.
	PublicKeys    []*rsa.PublicKey
	Installations []Installation
}

// Installation is an App on an account.
type Installation struct {
	ID      int64
	Account string // the owner of the repositories
	User    bool   // the account is a user's, and not an organization's
	// Repositories are the selected ones, which must exist. Nil means all of
	// the account, future ones included.
	Repositories []string
	// Permissions are levels, "read" or "write", by resource. Nil means
	// administration:write, what deploy keys need. Every installation may read
	// metadata.
	Permissions map[string]string
}

// app is an App of the model.
type app struct {
	App
	installations []*installation
}

// installation is an Installation of the model. Its repositories keep being the
// same when they are renamed.
type installation struct {
	Installation
	app       *app
	selected  []*repository // nil means all
	suspended bool
	created   time.Time
}

// kind is how paths name the kind of account that has the installation.
func (i *installation) kind() string {
	if i.User {
		return "users"
	}
	return "orgs"
}

func (i *installation) covers(r *repository) bool {
	return strings.EqualFold(i.Account, r.owner()) && (i.selected == nil || slices.Contains(i.selected, r))
}

// tokenLife is how long an installation access token lasts (docs.github.com,
// "Generating an installation access token for a GitHub App").
const tokenLife = time.Hour

// AddApp registers an App and its installations on a GitHub.
func (f *Forge) AddApp(a App) {
	if f.kind != provision.GitHub || a.ID <= 0 || len(a.PublicKeys) == 0 {
		panic("forgesim: an App has an ID and a public key, and belongs to github")
	}
	if a.Slug == "" {
		a.Slug = "app-" + strconv.FormatInt(a.ID, 10)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	made := &app{App: a}
	for _, i := range a.Installations {
		i.Permissions = maps.Clone(i.Permissions)
		if i.Permissions == nil {
			i.Permissions = map[string]string{"administration": "write"}
		}
		i.Permissions["metadata"] = "read"
		in := &installation{Installation: i, app: made, created: time.Now()}
		for _, path := range i.Repositories {
			in.selected = append(in.selected, f.mustFind(path))
		}
		made.installations = append(made.installations, in)
	}
	f.store.apps = append(f.store.apps, made)
}

// SetAppKeys replaces an App's keys: what was signed with another is refused.
func (f *Forge) SetAppKeys(id int64, keys ...*rsa.PublicKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.store.apps, func(a *app) bool { return a.ID == id })
	if i < 0 || len(keys) == 0 {
		panic("forgesim: no App " + strconv.FormatInt(id, 10) + ", or no key for it")
	}
	f.store.apps[i].PublicKeys = keys
}

// DeleteInstallation takes an App off an account. Its tokens are revoked; keys
// that were made with them stay, as they do on GitHub.
func (f *Forge) DeleteInstallation(id int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gone := f.mustFindInstallation(id)
	gone.app.installations = slices.DeleteFunc(gone.app.installations, func(i *installation) bool { return i == gone })
	maps.DeleteFunc(f.store.tokens, func(_ string, t *Token) bool { return t.grant != nil && t.grant.installation == gone })
}

// SuspendInstallation makes GitHub refuse an installation and its tokens, or
// stop doing so.
func (f *Forge) SuspendInstallation(id int64, suspended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mustFindInstallation(id).suspended = suspended
}

// mustFindInstallation returns an installation that a test names. f.mu is held.
func (f *Forge) mustFindInstallation(id int64) *installation {
	for _, a := range f.store.apps {
		if i := a.installation(id); i != nil {
			return i
		}
	}
	panic("forgesim: no installation " + strconv.FormatInt(id, 10))
}

func (a *app) installation(id int64) *installation {
	i := slices.IndexFunc(a.installations, func(i *installation) bool { return i.ID == id })
	if i < 0 {
		return nil
	}
	return a.installations[i]
}

// refuseApp is a refusal that refers to the documentation of Apps.
func (g github) refuseApp(status int, message string) reply {
	return jsonReply(status, githubJSON, githubError{
		Message: message, Status: strconv.Itoa(status), DocumentationURL: githubDocs + "/apps/apps",
	})
}

// answerApp answers what an App asks with a JWT.
func (g github) answerApp(f *Forge, c *call) reply {
	a, refusal, ok := g.appOf(f, c)
	switch {
	case !ok:
		return refusal
	case c.op == OpLookup:
		return g.lookup(f, c, a)
	case c.op == OpToken:
		return g.issue(f, c, a)
	}
	return g.refuseApp(http.StatusNotFound, "Not Found")
}

// lookup finds the App's installation on an account or a repository. One that is
// missing and one that is not selected look alike, and so does an account of the
// other kind.
func (g github) lookup(f *Forge, c *call, a *app) reply {
	if c.repository == "" {
		for _, i := range a.installations {
			if strings.EqualFold(c.id, i.kind()+"/"+i.Account) {
				return jsonReply(http.StatusOK, githubJSON, g.wireInstallation(f, c, i))
			}
		}
		return g.refuseApp(http.StatusNotFound, "Not Found")
	}
	r, moved := f.store.find(c.repository)
	for _, i := range a.installations {
		if r == nil || !i.covers(r) {
			continue
		}
		if moved {
			return g.moved(f, c, r)
		}
		return jsonReply(http.StatusOK, githubJSON, g.wireInstallation(f, c, i))
	}
	return g.refuseApp(http.StatusNotFound, "Not Found")
}

// tokenInput is what an exchange may be narrowed to.
type tokenInput struct {
	Repositories  []string          `json:"repositories"` // without their owner
	RepositoryIDs []int64           `json:"repository_ids"`
	Permissions   map[string]string `json:"permissions"`
}

// issue hands out an installation access token.
func (g github) issue(f *Forge, c *call, a *app) reply {
	id, err := strconv.ParseInt(c.id, 10, 64)
	i := a.installation(id)
	switch {
	case err != nil || i == nil:
		return g.refuseApp(http.StatusNotFound, "Not Found")
	case i.suspended:
		return g.refuseApp(http.StatusForbidden, "This installation has been suspended")
	}
	var in tokenInput
	if len(c.body) > 0 {
		if refusal, ok := g.readJSON(c, &in); !ok {
			return refusal
		}
	}
	permissions, refusal, ok := g.narrowPermissions(i, in.Permissions)
	if !ok {
		return refusal
	}
	only, ok := g.narrowRepositories(f, i, in)
	if !ok {
		return g.refuseApp(http.StatusUnprocessableEntity,
			"There is at least one repository that does not exist or is not accessible to the parent installation.")
	}
	t := &Token{
		Username: a.Slug + "[bot]", Secret: newInstallationToken(c, a.ID), Scopes: []string{},
		grant: &grant{expires: c.now.Truncate(time.Second).Add(tokenLife), installation: i, only: only},
	}
	for resource, level := range permissions {
		t.Scopes = append(t.Scopes, resource+":"+level)
	}
	f.store.tokens[t.Secret] = t
	c.token = t // the repositories are described to whom may now use them
	return jsonReply(http.StatusCreated, githubJSON, g.wireToken(f, c, t, permissions))
}

// narrowPermissions returns what a token may do: all that the installation may,
// or what was asked for, and always reading metadata.
func (g github) narrowPermissions(i *installation, wanted map[string]string) (granted map[string]string, refusal reply, ok bool) {
	if len(wanted) == 0 {
		return i.Permissions, reply{}, true
	}
	rank := map[string]int{"read": 1, "write": 2, "admin": 3}
	for resource, level := range wanted {
		if rank[level] == 0 {
			return nil, g.refuseApp(http.StatusUnprocessableEntity, "Invalid request.\n\n"+resource+": "+level+" is not a level"), false
		}
		if rank[level] > rank[i.Permissions[resource]] {
			return nil, g.refuseApp(http.StatusUnprocessableEntity, "The permissions requested are not granted to this installation."), false
		}
	}
	granted = maps.Clone(wanted)
	granted["metadata"] = "read"
	return granted, reply{}, true
}

// narrowRepositories returns the repositories that a token is for, nil for all
// of the installation. It reports false when one of them is not among those.
func (github) narrowRepositories(f *Forge, i *installation, in tokenInput) (only []*repository, ok bool) {
	names := make([]string, 0, len(in.Repositories)+len(in.RepositoryIDs))
	for _, name := range in.Repositories {
		names = append(names, i.Account+"/"+name)
	}
	for _, id := range in.RepositoryIDs {
		names = append(names, "#"+strconv.FormatInt(id, 10))
	}
	for _, name := range names {
		r, moved := f.store.find(name)
		if r == nil || moved || !i.covers(r) {
			return nil, false
		}
		only = append(only, r)
	}
	return only, true
}

// newInstallationToken returns a token in the form that GitHub has been giving
// since April 2026, ghs_APPID_JWT of about 520 characters, or in the former one
// where the request asks for that (github.blog, changelog of 2026-05-15).
func newInstallationToken(c *call, appID int64) string {
	if c.header.Get("X-GitHub-Stateless-S2S-Token") == "disabled" {
		return "ghs_" + randomHex(18)
	}
	part := base64.RawURLEncoding.EncodeToString
	head, _ := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT"}) // cannot fail
	return "ghs_" + strconv.FormatInt(appID, 10) + "_" + part(head) + "." + part([]byte(randomHex(50))) + "." + part([]byte(randomHex(128)))
}
