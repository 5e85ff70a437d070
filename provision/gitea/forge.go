// Package gitea owns how deploy keys are registered, listed and revoked through
// the API of Gitea and of Forgejo, which speaks the same dialect.
//
// It holds no state but its HTTP client's and decides nothing about keys.
package gitea

import (
	"context"
	"iter"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/credential"
	"deploykeyd/provision/internal/rest"
)

// Options describe one installation.
type Options struct {
	Name       string            // of the forge in the configuration
	URL        string            // of the web root, such as https://git.acme.example or https://acme.example/git
	Credential credential.Source // an access token with the scope write:repository
	Transport  http.RoundTripper // nil: one with a pool of its own
	Logger     *slog.Logger      // nil: no logs
	UserAgent  string            // such as "deploykeyd/1.0"
}

// Forge is one installation. It is safe for concurrent use.
type Forge struct{ client *rest.Client }

var (
	_ provision.Forge = (*Forge)(nil)
	_ provision.Clock = (*Forge)(nil)
)

// New returns the forge that o describes. It makes no request. The error names
// the option that is wrong.
func New(o Options) (*Forge, error) {
	client, err := rest.New(rest.Options{
		Kind:       provision.Gitea,
		Forge:      o.Name,
		Root:       strings.TrimRight(o.URL, "/") + "/api/v1",
		Credential: o.Credential,
		Authorize:  authorize,
		Refine:     refine,
		ClockPath:  "/version",
		Transport:  o.Transport,
		Logger:     o.Logger,
		UserAgent:  o.UserAgent,
	})
	if err != nil {
		return nil, err
	}
	return &Forge{client: client}, nil
}

func authorize(r *http.Request, secret credential.Secret) {
	r.Header.Set("Authorization", "token "+secret.Reveal())
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
	// "already been added" speaks of this repository alone: a list without the
	// key contradicts it, and the next attempt will tell.
	return f.client.Registered(ctx, f, call, r.Key, made.registration(), err, provision.Transient)
}

// List yields every deploy key on a repository.
func (f *Forge) List(ctx context.Context, t provision.Target) iter.Seq2[provision.Registration, error] {
	call, err := f.call(rest.List, t)
	if err != nil {
		return rest.Failed(err)
	}
	call.Path += pageQuery(1)
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
