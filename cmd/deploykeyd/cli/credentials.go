package cli

import (
	"context"
	"fmt"

	"deploykeyd/agent/config"
	"deploykeyd/provision/bitbucketcloud"
	"deploykeyd/provision/credential"
	"deploykeyd/provision/github"
)

// sources makes the sources of a configuration's credentials.
type sources struct {
	env []string // the variables that hold one, which no program gets to see
}

func sourcesOf(cfg config.Config) sources {
	var s sources
	for _, f := range cfg.Forges {
		if _, ref := credentialOf(f); ref.Env != "" {
			s.env = append(s.env, ref.Env)
		}
	}
	return s
}

// source returns where a credential is; nil for a place that is not given.
func (s sources) source(ref config.CredentialRef) credential.Source {
	switch {
	case ref.Systemd != "":
		return credential.Systemd(ref.Systemd)
	case len(ref.Command) > 0:
		return credential.Command(ref.Command, ref.Timeout, s.env...)
	case ref.Env != "":
		return credential.Env(ref.Env)
	case ref.File != "":
		return credential.File(ref.File)
	}
	return nil
}

// app returns the GitHub App of a forge; nil without one. All repositories of
// the entry have one owner, whose account has the installation.
func (s sources) app(f config.Forge) *github.App {
	if f.App == nil {
		return nil
	}
	return &github.App{
		ID: f.App.ID, Installation: f.App.Installation, Owner: f.Repositories[0].Repository.Owner(),
		Key: s.source(f.App.PrivateKey),
	}
}

// oauth returns the OAuth consumer of a forge; nil without one.
func (s sources) oauth(f config.Forge) *bitbucketcloud.OAuth {
	if f.OAuth == nil {
		return nil
	}
	return &bitbucketcloud.OAuth{ID: f.OAuth.ID, Secret: s.source(f.OAuth.Secret)}
}

// credentialOf returns where a forge's secret is, and the field that says so.
func credentialOf(f config.Forge) (field string, ref config.CredentialRef) {
	switch {
	case f.App != nil:
		return "private_key", f.App.PrivateKey
	case f.OAuth != nil:
		return "client_secret", f.OAuth.Secret
	}
	return "token", f.Token
}

// checkCredentials loads every credential once, so that one that is missing or
// readable by others is told with its line before anything starts. Programs are
// not run: what they ask may not be there yet when a machine boots.
func checkCredentials(ctx context.Context, cfg config.Config) error {
	all := sourcesOf(cfg)
	var problems []config.Problem
	for i, f := range cfg.Forges {
		field, ref := credentialOf(f)
		if len(ref.Command) > 0 {
			continue
		}
		var err error
		if f.App != nil {
			err = credential.CheckAppKey(ctx, all.source(ref))
		} else {
			_, err = all.source(ref).Load(ctx)
		}
		if err != nil {
			problems = append(problems, config.Problem{
				Line: ref.Line, Column: 1, Path: fmt.Sprintf("forges[%d].credential.%s", i, field), Text: err.Error(),
			})
		}
	}
	return cfg.Refuse(problems...)
}
