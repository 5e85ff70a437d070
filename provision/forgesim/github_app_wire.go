package forgesim

import (
	"strconv"
)

// githubInstallation is GitHub's Installation object.
type githubInstallation struct {
	ID                  int64             `json:"id"`
	Account             githubOwner       `json:"account"`
	RepositorySelection string            `json:"repository_selection"`
	AccessTokensURL     string            `json:"access_tokens_url"`
	RepositoriesURL     string            `json:"repositories_url"`
	HTMLURL             string            `json:"html_url"`
	AppID               int64             `json:"app_id"`
	ClientID            string            `json:"client_id,omitempty"`
	AppSlug             string            `json:"app_slug"`
	TargetID            int64             `json:"target_id"`
	TargetType          string            `json:"target_type"`
	Permissions         map[string]string `json:"permissions"`
	Events              []string          `json:"events"`
	CreatedAt           string            `json:"created_at"`
	UpdatedAt           string            `json:"updated_at"`
	SingleFileName      *string           `json:"single_file_name"`
	SuspendedAt         *string           `json:"suspended_at"`
}

// githubToken is what GitHub hands out.
type githubToken struct {
	Token               string             `json:"token"`
	ExpiresAt           string             `json:"expires_at"`
	Permissions         map[string]string  `json:"permissions"`
	RepositorySelection string             `json:"repository_selection"`
	Repositories        []githubRepository `json:"repositories,omitempty"`
}

func (github) wireInstallation(f *Forge, c *call, i *installation) githubInstallation {
	id := strconv.FormatInt(i.ID, 10)
	owner, page := githubOwner{Login: i.Account, ID: 1, Type: "Organization"}, "/organizations/"+i.Account+"/settings/installations/"
	if i.User {
		owner.Type, page = "User", "/settings/installations/"
	}
	out := githubInstallation{
		ID: i.ID, Account: owner, RepositorySelection: "all",
		AccessTokensURL: f.base(c) + "/app/installations/" + id + "/access_tokens",
		RepositoriesURL: f.base(c) + "/installation/repositories",
		HTMLURL:         f.url + page + id,
		AppID:           i.app.ID, ClientID: i.app.ClientID, AppSlug: i.app.Slug, TargetID: 1, TargetType: owner.Type,
		Permissions: i.Permissions, Events: []string{},
		CreatedAt: githubTime(i.created), UpdatedAt: githubTime(i.created),
	}
	if i.selected != nil {
		out.RepositorySelection = "selected"
	}
	if i.suspended {
		out.SuspendedAt = &out.UpdatedAt
	}
	return out
}

func (g github) wireToken(f *Forge, c *call, t *Token, permissions map[string]string) githubToken {
	out := githubToken{
		Token: t.Secret, ExpiresAt: githubTime(t.grant.expires), Permissions: permissions, RepositorySelection: "all",
	}
	if t.grant.installation.selected != nil || t.grant.only != nil {
		out.RepositorySelection = "selected"
	}
	for _, r := range t.grant.only {
		out.Repositories = append(out.Repositories, g.wireRepository(f, c, r))
	}
	return out
}
