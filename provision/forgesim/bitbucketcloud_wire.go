package forgesim

import (
	"strconv"

	"deploykeyd/provision"
)

// bitbucketKey is Bitbucket Cloud's deploy_key object.
type bitbucketKey struct {
	ID         int64              `json:"id"`
	Key        string             `json:"key"`
	Comment    string             `json:"comment"`
	Label      string             `json:"label"`
	Type       string             `json:"type"`
	CreatedOn  string             `json:"created_on"`
	LastUsed   *string            `json:"last_used"`
	Repository bitbucketReference `json:"repository"`
	Links      bitbucketLinks     `json:"links"`
}

// bitbucketReference names a repository in another object.
type bitbucketReference struct {
	Type     string `json:"type"`
	FullName string `json:"full_name"`
	Name     string `json:"name"`
	UUID     string `json:"uuid"`
}

type bitbucketLinks struct {
	Self  bitbucketLink   `json:"self"`
	Clone []bitbucketLink `json:"clone,omitempty"`
}

type bitbucketLink struct {
	Name string `json:"name,omitempty"`
	Href string `json:"href"`
}

// bitbucketPage is a page of keys. Size and page may be absent, so they are.
type bitbucketPage struct {
	Pagelen int            `json:"pagelen"`
	Values  []bitbucketKey `json:"values"`
	Next    string         `json:"next,omitempty"`
}

// bitbucketRepository is the part of the repository object that describes it.
type bitbucketRepository struct {
	bitbucketReference
	Slug      string           `json:"slug"`
	IsPrivate bool             `json:"is_private"`
	SCM       string           `json:"scm"`
	Owner     bitbucketOwner   `json:"owner"`
	Workspace bitbucketOwner   `json:"workspace"`
	Project   bitbucketProject `json:"project"`
	CreatedOn string           `json:"created_on"`
	Links     bitbucketLinks   `json:"links"`
}

type bitbucketOwner struct {
	Type string `json:"type"`
	Slug string `json:"slug"`
	UUID string `json:"uuid"`
}

type bitbucketProject struct {
	Type string `json:"type"`
	Key  string `json:"key"`
}

// bitbucketTime is Bitbucket Cloud's form of a time.
const bitbucketTime = "2006-01-02T15:04:05.000000-07:00"

func (bitbucketCloud) reference(r *repository) bitbucketReference {
	return bitbucketReference{Type: "repository", FullName: r.path, Name: r.name(), UUID: r.uuid}
}

// wire returns a key without its comment, which has a member of its own.
func (b bitbucketCloud) wire(f *Forge, c *call, k *deployKey) bitbucketKey {
	self := f.base(c) + "/repositories/" + escapePath(k.repository.path) + "/deploy-keys/" + strconv.FormatInt(k.id, 10)
	out := bitbucketKey{
		ID: k.id, Key: k.row.key.String(), Comment: k.comment, Label: k.title, Type: "deploy_key",
		CreatedOn:  k.created.UTC().Format(bitbucketTime),
		Repository: b.reference(k.repository),
		Links:      bitbucketLinks{Self: bitbucketLink{Href: self}},
	}
	if !k.used.IsZero() {
		used := k.used.UTC().Format(bitbucketTime)
		out.LastUsed = &used
	}
	return out
}

func (b bitbucketCloud) wireRepository(f *Forge, c *call, r *repository) bitbucketRepository {
	owner := bitbucketOwner{Type: "workspace", Slug: r.owner(), UUID: r.ownerUUID}
	return bitbucketRepository{
		bitbucketReference: b.reference(r), Slug: r.name(), IsPrivate: !r.options.Public, SCM: "git",
		Owner: owner, Workspace: owner, Project: bitbucketProject{Type: "project", Key: "CI"},
		CreatedOn: r.created.UTC().Format(bitbucketTime),
		Links: bitbucketLinks{
			Self: bitbucketLink{Href: f.base(c) + "/repositories/" + escapePath(r.path)},
			Clone: []bitbucketLink{
				{Name: "https", Href: f.url + "/" + escapePath(r.path) + ".git"},
				{Name: "ssh", Href: f.ssh.CloneURL(provision.Repository(r.path))},
			},
		},
	}
}
