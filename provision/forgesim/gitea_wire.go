package forgesim

import (
	"strconv"
	"time"

	"deploykeyd/provision"
)

// giteaKey is Gitea's DeployKey object.
type giteaKey struct {
	ID          int64            `json:"id"`
	KeyID       int64            `json:"key_id"`
	Key         string           `json:"key"`
	URL         string           `json:"url"`
	Title       string           `json:"title"`
	Fingerprint string           `json:"fingerprint"`
	CreatedAt   time.Time        `json:"created_at"`
	ReadOnly    bool             `json:"read_only"`
	Repository  *giteaRepository `json:"repository,omitempty"`
}

// giteaRepository is the part of Gitea's Repository object that describes a
// repository, its owner and the caller's rights.
type giteaRepository struct {
	ID            int64            `json:"id"`
	Owner         giteaUser        `json:"owner"`
	Name          string           `json:"name"`
	FullName      string           `json:"full_name"`
	Description   string           `json:"description"`
	Empty         bool             `json:"empty"`
	Private       bool             `json:"private"`
	Fork          bool             `json:"fork"`
	Template      bool             `json:"template"`
	Mirror        bool             `json:"mirror"`
	Size          int              `json:"size"`
	Language      string           `json:"language"`
	LanguagesURL  string           `json:"languages_url"`
	HTMLURL       string           `json:"html_url"`
	URL           string           `json:"url"`
	Link          string           `json:"link"`
	SSHURL        string           `json:"ssh_url"`
	CloneURL      string           `json:"clone_url"`
	OriginalURL   string           `json:"original_url"`
	Website       string           `json:"website"`
	StarsCount    int              `json:"stars_count"`
	ForksCount    int              `json:"forks_count"`
	WatchersCount int              `json:"watchers_count"`
	OpenIssues    int              `json:"open_issues_count"`
	DefaultBranch string           `json:"default_branch"`
	Archived      bool             `json:"archived"`
	CreatedAt     time.Time        `json:"created_at"`
	UpdatedAt     time.Time        `json:"updated_at"`
	Permissions   giteaPermissions `json:"permissions"`
	HasCode       bool             `json:"has_code"`
	HasIssues     bool             `json:"has_issues"`
	Internal      bool             `json:"internal"`
	ObjectFormat  string           `json:"object_format_name"`
	Topics        []string         `json:"topics"`
	Licenses      []string         `json:"licenses"`
}

type giteaUser struct {
	ID        int64     `json:"id"`
	Login     string    `json:"login"`
	FullName  string    `json:"full_name"`
	Email     string    `json:"email"`
	AvatarURL string    `json:"avatar_url"`
	HTMLURL   string    `json:"html_url"`
	Username  string    `json:"username"`
	Created   time.Time `json:"created"`
}

type giteaPermissions struct {
	Admin bool `json:"admin"`
	Push  bool `json:"push"`
	Pull  bool `json:"pull"`
}

// wire returns a key as lists show it: with the text and nothing else of its
// first registration, and with the repository for a site's administrator.
func (g gitea) wire(f *Forge, c *call, k *deployKey) giteaKey {
	out := giteaKey{
		ID: k.id, KeyID: k.row.id, Key: k.row.text, Title: k.title,
		URL:         f.url + "/api/v1/repos/" + escapePath(k.repository.path) + "/keys/" + strconv.FormatInt(k.id, 10),
		Fingerprint: k.row.key.Fingerprint(),
		CreatedAt:   k.created.UTC().Truncate(time.Second),
		ReadOnly:    k.access == provision.Read,
	}
	if c.token.Admin {
		r := g.wireRepository(f, c, k.repository)
		out.Repository = &r
	}
	return out
}

func (gitea) wireRepository(f *Forge, c *call, r *repository) giteaRepository {
	owner, web := r.owner(), f.url+"/"+escapePath(r.path)
	created := r.created.UTC().Truncate(time.Second)
	admin := c.token != nil && c.token.administers(r)
	return giteaRepository{
		ID: r.id, Name: r.name(), FullName: r.path, Empty: r.options.Empty, Private: !r.options.Public,
		Owner: giteaUser{
			ID: 1, Login: owner, Username: owner, Email: owner + "@noreply.invalid", Created: created,
			AvatarURL: f.url + "/avatars/" + owner, HTMLURL: f.url + "/" + owner,
		},
		URL: f.url + "/api/v1/repos/" + escapePath(r.path), LanguagesURL: f.url + "/api/v1/repos/" + escapePath(r.path) + "/languages",
		HTMLURL: web, CloneURL: web + ".git", SSHURL: f.ssh.CloneURL(provision.Repository(r.path)),
		Size: 24, DefaultBranch: "main", Archived: r.options.Archived, WatchersCount: 1,
		CreatedAt: created, UpdatedAt: created, HasCode: true, HasIssues: true, ObjectFormat: "sha1",
		Permissions: giteaPermissions{Admin: admin, Push: admin, Pull: true}, Topics: []string{}, Licenses: []string{},
	}
}
