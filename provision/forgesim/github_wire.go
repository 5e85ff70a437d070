package forgesim

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"time"

	"deploykeyd/provision"
)

// githubKey is GitHub's DeployKey object.
type githubKey struct {
	ID        int64   `json:"id"`
	Key       string  `json:"key"`
	URL       string  `json:"url"`
	Title     string  `json:"title"`
	Verified  bool    `json:"verified"`
	CreatedAt string  `json:"created_at"`
	ReadOnly  bool    `json:"read_only"`
	AddedBy   *string `json:"added_by"`
	LastUsed  *string `json:"last_used"`
	Enabled   bool    `json:"enabled"`
}

type githubOwner struct {
	Login string `json:"login"`
	ID    int64  `json:"id"`
	Type  string `json:"type"`
}

// githubRepository is the part of GitHub's Repository object that describes a
// repository and the caller's rights.
type githubRepository struct {
	ID            int64             `json:"id"`
	Name          string            `json:"name"`
	FullName      string            `json:"full_name"`
	Private       bool              `json:"private"`
	Owner         githubOwner       `json:"owner"`
	URL           string            `json:"url"`
	HTMLURL       string            `json:"html_url"`
	CloneURL      string            `json:"clone_url"`
	SSHURL        string            `json:"ssh_url"`
	DefaultBranch string            `json:"default_branch"`
	Archived      bool              `json:"archived"`
	Disabled      bool              `json:"disabled"`
	CreatedAt     string            `json:"created_at"`
	Permissions   githubPermissions `json:"permissions"`
}

type githubPermissions struct {
	Admin bool `json:"admin"`
	Push  bool `json:"push"`
	Pull  bool `json:"pull"`
}

func (github) wire(f *Forge, c *call, k *deployKey) githubKey {
	out := githubKey{
		ID: k.id, Key: k.row.key.String(), Title: k.title, Verified: true,
		URL:       f.base(c) + "/repos/" + escapePath(k.repository.path) + "/keys/" + strconv.FormatInt(k.id, 10),
		CreatedAt: githubTime(k.created),
		ReadOnly:  k.access == provision.Read,
		Enabled:   !f.store.forbidden,
	}
	if k.token != nil {
		out.AddedBy = &k.token.Username
	}
	if !k.used.IsZero() {
		used := githubTime(k.used)
		out.LastUsed = &used
	}
	return out
}

func (github) wireRepository(f *Forge, c *call, r *repository) githubRepository {
	web, admin := f.url+"/"+escapePath(r.path), c.token.administers(r)
	return githubRepository{
		ID: r.id, Name: r.name(), FullName: r.path, Private: !r.options.Public,
		Owner: githubOwner{Login: r.owner(), ID: 1, Type: "Organization"},
		URL:   f.base(c) + "/repos/" + escapePath(r.path), HTMLURL: web, CloneURL: web + ".git",
		SSHURL:        f.ssh.CloneURL(provision.Repository(r.path)),
		DefaultBranch: "main", Archived: r.options.Archived, CreatedAt: githubTime(r.created),
		Permissions: githubPermissions{Admin: admin, Push: admin, Pull: true},
	}
}

// meta publishes the host keys: type and base64, without a host.
func (github) meta(f *Forge) reply {
	sum := sha256.Sum256(f.hostKey.public.Blob())
	return jsonReply(http.StatusOK, githubJSON, map[string]any{
		"verifiable_password_authentication": false,
		"ssh_keys":                           f.HostKeys(),
		"ssh_key_fingerprints":               map[string]string{"SHA256_ED25519": base64.RawStdEncoding.EncodeToString(sum[:])},
	})
}

func (github) rateLimit(f *Forge) reply {
	limit, left, reset := f.remaining(githubHour, time.Now())
	core := map[string]any{"limit": limit, "remaining": left, "used": limit - left, "reset": reset.Unix(), "resource": "core"}
	return jsonReply(http.StatusOK, githubJSON, map[string]any{
		"resources": map[string]any{"core": core},
		"rate":      core,
	})
}
