package config

import (
	"path"
	"regexp"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"

	"deploykeyd/provision"
)

// forgeDraft is a forge entry while it is read: what depends on its kind is
// settled when all of it is known.
type forgeDraft struct {
	Forge
	credential   found // what its credential says; nil when that is no mapping
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
			name: "repositories", sample: "[acme/api]", required: true, inner: specs(entryFields()),
			doc: "the repositories that the builds need",
		}, readRepositories},
		{spec{
			name: "exclude", doc: "repositories that a pattern would include",
			later: "leave it out, and list the repositories one by one",
		}, nil},
		{spec{
			name: "sockets", doc: "a socket for each repository",
			later: "leave it out: ssh shows the repository it wants to the one socket",
		}, nil},
	}
}

func credentialFields() []field[forgeDraft] {
	return []field[forgeDraft]{
		{spec{
			name: "username", sample: "ci@example.com",
			doc: "the account's e-mail address; for bitbucket-cloud, which wants it with an API token",
		}, readUsername},
		{spec{
			name: "token", sample: "{file: /etc/deploykeyd/forge.token}", required: true, secret: true, inner: specs(tokenFields()),
			doc: "where the token is, never the token itself",
		}, readToken},
	}
}

func tokenFields() []field[CredentialRef] {
	return []field[CredentialRef]{
		{spec{
			name: "file", sample: "/etc/deploykeyd/forge.token",
			doc: "a file that only its owner may read",
		}, readTokenFile},
		{spec{
			name: "env", sample: "FORGE_TOKEN",
			doc: "an environment variable, in capital letters",
		}, readTokenEnv},
		{spec{
			name: "systemd", doc: "a credential of the systemd unit",
			later: "write {file: …} with the path of a file that only its owner may read",
		}, nil},
		{spec{
			name: "command", doc: "a program that prints the token",
			later: "write the token into a file that only its owner may read, and {file: …} here",
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

// readCredential keeps what stands below it out of the messages: it is the place
// where a secret is written by mistake.
func readCredential(w *walk, v value, d *forgeDraft) {
	v.secret = true
	d.credential = readMapping(w, v, credentialFields(), d)
}

// usernamePattern is what can stand before the colon of HTTP's basic scheme.
var usernamePattern = regexp.MustCompile(`^[!-9;-~]{1,255}$`)

func readUsername(w *walk, v value, d *forgeDraft) {
	const fix = "write the account's e-mail address"
	s, ok := w.text(v, fix)
	if ok && !usernamePattern.MatchString(s) {
		w.report(v, "only printable ASCII without spaces and colons is possible", fix)
		return
	}
	d.Username = s
}

func readToken(w *walk, v value, d *forgeDraft) {
	const fix = "write the secret into a file that only its owner may read, and {file: /its/path} here; if it was real, revoke it"
	if v.node.Kind == yaml.ScalarNode && !isNull(v.node) {
		w.report(v, "a secret must not stand in the configuration", fix)
		return
	}
	d.Token.Line = v.line
	here := readMapping(w, v, tokenFields(), &d.Token)
	if here == nil {
		return
	}
	_, file := here["file"]
	_, env := here["env"]
	switch {
	case file && env:
		w.report(v, "two places of one secret", "keep one of file and env")
	case len(v.node.Content) == 0:
		w.report(v, "the place of the secret is missing", "add file: /the/path, or env: NAME")
	}
}

func readTokenFile(w *walk, v value, ref *CredentialRef) {
	const fix = "write an absolute path, such as /etc/deploykeyd/forge.token"
	s, ok := w.text(v, fix)
	if ok && (!path.IsAbs(s) || strings.ContainsFunc(s, unicode.IsControl)) {
		w.report(v, "not an absolute path", fix)
		return
	}
	ref.File = s
}

// envPattern is narrower than what the system allows: a token that is written
// here by mistake has small letters, and would be repeated in messages as a name.
var envPattern = regexp.MustCompile(`^[A-Z_][A-Z0-9_]{0,254}$`)

func readTokenEnv(w *walk, v value, ref *CredentialRef) {
	const fix = "write the name of an environment variable, such as FORGE_TOKEN"
	s, ok := w.text(v, fix)
	if ok && !envPattern.MatchString(s) {
		w.report(v, "not the name of an environment variable in capital letters, digits and _", fix)
		return
	}
	ref.Env = s
}
