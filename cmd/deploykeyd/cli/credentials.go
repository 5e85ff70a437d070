package cli

import (
	"context"
	"fmt"
	"os"

	"deploykeyd/agent/config"
	"deploykeyd/provision/bitbucketcloud"
	"deploykeyd/provision/credential"
	"deploykeyd/provision/github"
)

// sources makes the sources of a configuration's credentials.
type sources struct {
	env    []string // the variables that hold one, which no program gets to see
	daemon []uint32 // whose files are good beside root's and our own
}

// sourcesOf trusts, where root acts in the daemon's place, the user whom the
// state directory belongs to: nobody else could own a file that the daemon reads.
func (o *options) sourcesOf(cfg config.Config) sources {
	var s sources
	if uid, ok := ownerOf(o.stateDir); ok && os.Geteuid() == 0 {
		s.daemon = []uint32{uid}
	}
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
		return credential.File(ref.File, s.daemon...)
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
func (o *options) checkCredentials(ctx context.Context, cfg config.Config) error {
	return o.checkThose(ctx, cfg, func(ref config.CredentialRef) bool { return len(ref.Command) == 0 })
}

// checkUnitCredentials is checkCredentials for those that root hands to the
// unit. What else there is, the unit's variables for one, only the daemon sees as
// it will be.
func (o *options) checkUnitCredentials(ctx context.Context, cfg config.Config) error {
	return o.checkThose(ctx, cfg, func(ref config.CredentialRef) bool { return ref.Systemd != "" })
}

func (o *options) checkThose(ctx context.Context, cfg config.Config, these func(config.CredentialRef) bool) error {
	all := o.sourcesOf(cfg)
	var problems []config.Problem
	for i, f := range cfg.Forges {
		field, ref := credentialOf(f)
		if !these(ref) {
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
