package config

import (
	"strings"

	"deploykeyd/provision"
)

// forgeDraft is a forge entry while it is read: what depends on its kind is
// settled when all of it is known.
type forgeDraft struct {
	Forge
	credential   found // what its credential says; nil when that is no mapping
	oauth        OAuthClient
	app          GitHubApp
	repositories []repositoryDraft
}

// repositoryDraft is an entry of repositories before its forge's kind is known.
type repositoryDraft struct {
	RepositoryEntry
	name   value // where the path stands
	access value // where the access stands; zero where it is left out
}

func forgeFields() []field[forgeDraft] {
	return []field[forgeDraft]{
		{spec{
			name: "name", sample: "forge", required: true,
			doc: "the name of this entry in logs and in status",
		}, func(w *walk, v value, d *forgeDraft) { d.Name = w.ownerWord(v) }},
		{spec{
			name: "kind", sample: "gitea", required: true,
			doc: "what the forge is: bitbucket-cloud, github or gitea (also for Forgejo)",
		}, readKind},
		{spec{
			name: "url", sample: "https://git.example.com",
			doc: "the address of its web pages, or of the API for a hosted service; the default is the hosted service",
		}, readURL},
		{spec{
			name: "ssh", sample: "ssh://git@git.example.com:22",
			doc: "where git reaches it over SSH; the default is git at the host of url, port 22",
		}, readSSH},
		{spec{
			name: "host_keys", sample: "[ssh-ed25519 AAAA…]",
			secret: true, // a private key may be written there
			doc:    "the public keys of its SSH server; those of the hosted services are built in",
		}, readHostKeys},
		{spec{
			name: "credential", sample: "{token: {file: /etc/deploykeyd/forge.token}}", required: true, inner: specs(credentialFields()),
			doc: "what registers the keys",
		}, readCredential},
		{spec{
			name: "register", fallback: "boot",
			doc: "when keys are registered: at the start of the program",
		}, readRegister},
		{spec{
			name: "bind", fallback: string(BindPrefer),
			doc: "prefer, or require to serve only clients that bind their session to a host key (OpenSSH 8.9 and later)",
		}, func(w *walk, v value, d *forgeDraft) {
			d.Bind = Bind(w.oneOf(v, string(BindPrefer), string(BindRequire)))
		}},
		{spec{
			name: "sockets", fallback: "shared",
			doc: "shared, or repository for a socket of each repository too: for containers, and for programs that bring their own SSH",
		}, func(w *walk, v value, d *forgeDraft) { d.Sockets = w.oneOf(v, "shared", "repository") == "repository" }},
		{spec{
			name: "repositories", sample: "[acme/api]", required: true, inner: specs(entryFields()),
			doc: "the repositories that the builds need",
		}, readRepositories},
		{spec{
			name: "exclude", doc: "repositories that a pattern would include",
			later: "leave it out, and list the repositories one by one",
		}, nil},
	}
}

func entryFields() []field[repositoryDraft] {
	return []field[repositoryDraft]{
		{spec{
			name: "repository", sample: "acme/api",
			doc: "owner/name",
		}, func(w *walk, v value, d *repositoryDraft) { d.name = v }},
		{spec{
			name: "access", fallback: string(provision.Read),
			doc: "read, or write where builds push",
		}, func(w *walk, v value, d *repositoryDraft) {
			d.Access, d.access = provision.Access(w.oneOf(v, string(provision.Read), string(provision.Write))), v
		}},
		{spec{
			name: "project", doc: "one key for all repositories of a project",
			later: "list the repositories one by one",
		}, nil},
	}
}

func readKind(w *walk, v value, d *forgeDraft) {
	var usable []string
	for _, k := range provision.Kinds() {
		if !planned(k) {
			usable = append(usable, string(k))
		}
	}
	s, ok := w.text(v, "write "+strings.Join(usable, " or "))
	if !ok {
		return
	}
	k, err := provision.ParseKind(s)
	if err == nil && planned(k) {
		w.report(v, quote(s)+" comes with a later release", "supported now: "+strings.Join(usable, ", "))
		return
	}
	if err != nil {
		w.oneOf(v, usable...)
		return
	}
	d.Kind = k
}

// planned reports whether a kind is known but not supported yet.
func planned(k provision.Kind) bool {
	switch k {
	case provision.BitbucketDataCenter, provision.GitLab:
		return true
	case provision.BitbucketCloud, provision.GitHub, provision.Gitea:
	}
	return false
}

func readRegister(w *walk, v value, _ *forgeDraft) {
	if v.node.Value == "first-use" {
		w.report(v, `"first-use" comes with a later release`, "leave it out: keys are registered at the start")
		return
	}
	w.oneOf(v, "boot")
}
