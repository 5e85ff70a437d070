// Package github owns how deploy keys are registered, listed and revoked
// through the REST API of github.com and GitHub Enterprise Server.
//
// It holds no state but its HTTP client's and decides nothing about keys.
package github

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

// Options describe github.com or one Enterprise Server. Either Credential or App
// is set.
type Options struct {
	Name       string            // of the forge in the configuration
	URL        string            // empty or https://api.github.com for github.com, else https://HOST of an Enterprise Server
	Credential credential.Source // a token with the repository permission Administration: write
	App        *App              // a GitHub App in the token's place
	Transport  http.RoundTripper // nil: one with a pool of its own
	Logger     *slog.Logger      // nil: no logs
	UserAgent  string            // such as "deploykeyd/1.0"
}

// App is a GitHub App that has the repository permission Administration: write
// and is installed on the account that owns the repositories.
type App struct {
	ID           string            // the App's id or its client id
	Installation int64             // zero: the one on Owner's account
	Owner        string            // the user or organization that owns the repositories
	Key          credential.Source // the App's private key in PEM form
}

// Forge is github.com or one Enterprise Server. It is safe for concurrent use.
type Forge struct{ client *rest.Client }

var (
	_ provision.Forge = (*Forge)(nil)
	_ provision.Clock = (*Forge)(nil)
)

// apiVersion is the version of the API that this package was written to; the
// server goes on speaking it when newer ones come.
const apiVersion = "2022-11-28"

// New returns the forge that o describes. It makes no request. The error names
// the option that is wrong.
func New(o Options) (*Forge, error) {
	advice := adviceForToken()
	options := rest.Options{
		Kind:       provision.GitHub,
		Forge:      o.Name,
		Root:       root(o.URL),
		Credential: o.Credential,
		Authorize:  authorize,
		Header: http.Header{
			http.CanonicalHeaderKey("Accept"):               {"application/vnd.github+json"},
			http.CanonicalHeaderKey("X-GitHub-Api-Version"): {apiVersion},
		},
		ClockPath: "/rate_limit", // does not count against the limit
		Transport: o.Transport,
		Logger:    o.Logger,
		UserAgent: o.UserAgent,
	}
	if o.App != nil {
		if err := signIn(o, &options); err != nil {
			return nil, err
		}
		advice = adviceForApp()
	}
	options.Refine = advice.refine
	client, err := rest.New(options)
	if err != nil {
		return nil, err
	}
	return &Forge{client: client}, nil
}

// signIn makes the client get its tokens as o.App. It shares the clock with the
// exchanges, whose times the server compares with its own.
func signIn(o Options, client *rest.Options) error {
	switch {
	case o.Credential != nil:
		return errors.New("both a token and an App: name one of them")
	case o.App.ID == "":
		return errors.New("app: no id: write the App's id or client id")
	case o.App.Key == nil:
		return errors.New("app: no private key: name the file, environment variable, systemd credential or command that gives it")
	case o.App.Installation < 0 || o.App.Installation == 0 && o.App.Owner == "":
		return errors.New("app: no installation: write its id, or the owner of the repositories")
	}
	doer, err := rest.NewDoer(*client)
	if err != nil {
		return err
	}
	client.Doer = doer
	client.Credential = credential.GitHubApp(credential.AppOptions{
		Doer: doer, Now: doer.Now, Root: client.Root,
		ID: o.App.ID, Installation: o.App.Installation, Owner: o.App.Owner, Key: o.App.Key,
	})
	return nil
}

// root returns the API's root: a host of its own on github.com, a path on an
// Enterprise Server.
func root(url string) string {
	url = strings.TrimRight(url, "/")
	hosted := provision.TraitsOf(provision.GitHub).DefaultURL
	switch url {
	case "", hosted, "https://github.com":
		return hosted
	}
	return url + "/api/v3"
}

func authorize(r *http.Request, secret credential.Secret) {
	r.Header.Set("Authorization", "Bearer "+secret.Reveal())
}

// Register puts a key on a repository.
func (f *Forge) Register(ctx context.Context, t provision.Target, r provision.KeyRequest) (provision.Registration, error) {
	call, err := f.call(rest.Register, t)
	if err != nil {
		return provision.Registration{}, err
	}
	if err := f.client.Check(call, r); err != nil {
		return provision.Registration{}, err
	}
	call.Body = createKey{Title: r.Title, Key: r.Key.String(), ReadOnly: r.Access != provision.Write}
	call.Method, call.Status = http.MethodPost, http.StatusCreated
	var made deployKey
	_, err = f.client.Do(ctx, call, &made)
	// One refusal stands for this repository, another one and an account.
	return f.client.Registered(ctx, f, call, r.Key, made.registration(), err, provision.InUseElsewhere)
}

// List yields every deploy key on a repository.
func (f *Forge) List(ctx context.Context, t provision.Target) iter.Seq2[provision.Registration, error] {
	call, err := f.call(rest.List, t)
	if err != nil {
		return rest.Failed(err)
	}
	call.Path += "?per_page=100"
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
	return rest.Call{Op: op, Target: t, Path: "/repos/" + path + "/keys"}, err
}
