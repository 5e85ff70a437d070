// Package bitbucketcloud owns how access keys are registered, listed and
// revoked on the repositories of Bitbucket Cloud, whose API calls them deploy
// keys. They can only read.
//
// It holds no state but its HTTP client's and decides nothing about keys.
package bitbucketcloud

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/credential"
	"deploykeyd/provision/internal/rest"
)

// Options describe Bitbucket Cloud. Either Credential or OAuth is set.
type Options struct {
	Name string // of the forge in the configuration
	URL  string // empty means https://api.bitbucket.org
	// Username is the e-mail address of an Atlassian account whose API token
	// the credential is; empty for an OAuth access token.
	Username   string
	Credential credential.Source
	OAuth      *OAuth            // an OAuth consumer in the token's place
	Transport  http.RoundTripper // nil: one with a pool of its own
	Logger     *slog.Logger      // nil: no logs
	UserAgent  string            // such as "deploykeyd/1.0"
}

// OAuth is an OAuth consumer that is marked as private and has the permission
// Repositories: admin. Bitbucket invalidates the keys that were added through a
// consumer when that consumer is changed later.
type OAuth struct {
	ID     string            // the consumer's key
	Secret credential.Source // the consumer's secret
}

// Forge is Bitbucket Cloud. It is safe for concurrent use.
type Forge struct{ client *rest.Client }

var (
	_ provision.Forge = (*Forge)(nil)
	_ provision.Clock = (*Forge)(nil)
)

// New returns the forge that o describes. It makes no request. The error names
// the option that is wrong.
func New(o Options) (*Forge, error) {
	if strings.Contains(o.Username, ":") {
		return nil, errors.New("username: a colon cannot be part of it")
	}
	root := strings.TrimRight(o.URL, "/")
	if root == "" {
		root = provision.TraitsOf(provision.BitbucketCloud).DefaultURL
	}
	advice := adviceForToken()
	options := rest.Options{
		Kind:       provision.BitbucketCloud,
		Forge:      o.Name,
		Root:       root + "/2.0",
		Credential: o.Credential,
		Authorize:  authorizer(o.Username),
		ClockPath:  "/user", // outside the limit of /2.0/repositories
		Transport:  o.Transport,
		Logger:     o.Logger,
		UserAgent:  o.UserAgent,
	}
	if o.OAuth != nil {
		if err := signIn(o, root, &options); err != nil {
			return nil, err
		}
		advice = adviceForOAuth()
	}
	options.Refine = advice.refine
	client, err := rest.New(options)
	if err != nil {
		return nil, err
	}
	return &Forge{client: client}, nil
}

// hostedSite is where the hosted service hands out tokens; elsewhere the API's
// host does.
const hostedSite = "https://bitbucket.org"

// signIn makes the client get its tokens as o.OAuth.
func signIn(o Options, root string, client *rest.Options) error {
	switch {
	case o.Credential != nil || o.Username != "":
		return errors.New("both a token and an OAuth consumer: name one of them")
	case o.OAuth.ID == "":
		return errors.New("oauth: no client id: write the consumer's key")
	case o.OAuth.Secret == nil:
		return errors.New("oauth: no client secret: name the file, environment variable, systemd credential or command that gives it")
	}
	site := *client
	site.Root = root
	if root == provision.TraitsOf(provision.BitbucketCloud).DefaultURL {
		site.Root = hostedSite
	}
	doer, err := rest.NewDoer(site)
	if err != nil {
		return err
	}
	client.Credential = credential.OAuthClient(credential.OAuthOptions{
		Doer: doer, URL: site.Root + "/site/oauth2/access_token", ID: o.OAuth.ID, Secret: o.OAuth.Secret,
	})
	return nil
}

// authorizer returns how the credential is sent: an API token as the password
// of its account, an OAuth token by itself.
func authorizer(username string) func(*http.Request, credential.Secret) {
	if username == "" {
		return func(r *http.Request, secret credential.Secret) {
			r.Header.Set("Authorization", "Bearer "+secret.Reveal())
		}
	}
	return func(r *http.Request, secret credential.Secret) { r.SetBasicAuth(username, secret.Reveal()) }
}

// Register puts a key on a repository. The forge says 400 to a key that is
// there already and to most other refusals; only the list tells them apart.
func (f *Forge) Register(ctx context.Context, t provision.Target, r provision.KeyRequest) (provision.Registration, error) {
	call, err := f.call(rest.Register, t)
	if err != nil {
		return provision.Registration{}, err
	}
	if err := f.client.Check(call, r); err != nil {
		return provision.Registration{}, err
	}
	call.Body = createKey{Label: r.Title, Key: r.Key.String()}
	call.Method, call.Status = http.MethodPost, http.StatusOK // not 201
	var made deployKey
	_, err = f.client.Do(ctx, call, &made)
	return f.client.Registered(ctx, f, call, r.Key, made.registration(), err, provision.InUseElsewhere)
}

// List yields every access key on a repository.
func (f *Forge) List(ctx context.Context, t provision.Target) iter.Seq2[provision.Registration, error] {
	call, err := f.call(rest.List, t)
	if err != nil {
		return rest.Failed(err)
	}
	call.Path += "?pagelen=100"
	return rest.Pages(ctx, f.client, call, readPage)
}

// Revoke takes a key off a repository.
func (f *Forge) Revoke(ctx context.Context, t provision.Target, r provision.Registration) error {
	call, err := f.call(rest.Revoke, t)
	if err != nil {
		return err
	}
	return f.client.Revoke(ctx, f, call, r)
}

// Time returns the time by the forge's clock.
func (f *Forge) Time(ctx context.Context) (time.Time, error) { return f.client.Time(ctx) }

// call begins a call about the keys of a repository.
func (f *Forge) call(op rest.Op, t provision.Target) (rest.Call, error) {
	path, err := f.client.Path(op, t)
	return rest.Call{Op: op, Target: t, Path: "/repositories/" + path + "/deploy-keys"}, err
}
