package config

import (
	"regexp"
	"slices"
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

// What the schema can know of addresses, keys and paths. The readers know more.
var (
	webPattern        = regexp.MustCompile(`^[Hh][Tt][Tt][Pp][Ss]?://[^/]`) // URLs have schemes in any letter case
	sshPattern        = regexp.MustCompile(`^[Ss][Ss][Hh]://[^/]`)
	hostKeyPattern    = regexp.MustCompile(`^\s*(` + strings.Join(hostKeyTypes(), "|") + `)\s+[A-Za-z0-9+/]+=*(\s.*)?$`)
	repositoryPattern = regexp.MustCompile(`^[A-Za-z0-9._~{}][A-Za-z0-9._~{}-]*/[A-Za-z0-9._~{}][A-Za-z0-9._~{}-]*$`)
)

func forgeFields() []field[forgeDraft] { return slices.Concat(placeFields(), useFields()) }

// placeFields are the rows about where a forge is, and how it is known.
func placeFields() []field[forgeDraft] {
	return []field[forgeDraft]{
		{spec{
			name: "name", sample: "forge", required: true,
			doc:  "the name of this entry in logs and in status",
			more: "Each entry has another, whatever the letter case.",
			is:   word(ownerWordPattern, nameWords).upTo(longestName),
		}, func(w *walk, v value, d *forgeDraft) { d.Name = w.ownerWord(v) }},
		{spec{
			name: "kind", sample: "gitea", required: true,
			doc: "what the forge is: bitbucket-cloud, github or gitea (also for Forgejo)",
			is:  kindShape(),
		}, readKind},
		{spec{
			name: "url", sample: "https://git.example.com",
			doc: "the address of its web pages, or of the API for a hosted service; the default is the hosted service",
			more: "Without user, password, question mark and the path of the API. Plain `http://` is possible only for this machine: loopback addresses, `localhost` and names under `.test`. " +
				"A kind without a hosted service needs one.",
			is:        word(webPattern, "a URL that begins with `https://`"),
			otherwise: "the hosted service of its kind",
		}, readURL},
		{spec{
			name: "ssh", sample: "ssh://git@git.example.com:22",
			doc:       "where git reaches it over SSH; the default is git at the host of url, port 22",
			is:        word(sshPattern, "a URL `ssh://user@host:port`, of which user and port may be left out"),
			otherwise: "the user `git` at the host of `url` and port 22, or the hosted service of its kind",
		}, readSSH},
		{spec{
			name: "host_keys", sample: "[ssh-ed25519 AAAA…]",
			secret: true, // a private key may be written there
			doc:    "the public keys of its SSH server; those of the hosted services are built in",
			more: "They are what `cat /etc/ssh/ssh_host_*_key.pub` prints on that server. Never take them from the network: " +
				"a server with any other key is refused, by the daemon and by the builds.",
			is:        hostKeysShape(),
			otherwise: "the keys that are built in, for `github.com`, `bitbucket.org` and `gitlab.com`; any other host needs them here",
		}, readHostKeys},
		{spec{
			name: "credential", sample: "{token: {file: /etc/deploykeyd/forge.token}}", required: true, inner: specs(credentialFields()),
			doc: "what registers the keys",
			is:  credentialShape(),
		}, readCredential},
	}
}

// useFields are the rows about what is done there, and for whom.
func useFields() []field[forgeDraft] {
	return []field[forgeDraft]{
		{spec{
			name: "register", fallback: "boot",
			doc: "when keys are registered: at the start of the program",
			is:  oneOf(choice{"boot", "when the program starts"}),
		}, readRegister},
		{spec{
			name: "bind", fallback: string(BindPrefer),
			doc: "whether a client must bind its SSH session to a pinned host key",
			is: oneOf(choice{string(BindPrefer), "a client that does not bind its session is served too"},
				choice{string(BindRequire), "such a client is refused: OpenSSH binds since 8.9, most programs with an SSH of their own do not"}),
		}, func(w *walk, v value, d *forgeDraft) { d.Bind = Bind(w.oneOf(v)) }},
		{spec{
			name: "sockets", fallback: "shared",
			doc: "through which sockets the keys are lent",
			is: oneOf(choice{"shared", "through one socket for all repositories"},
				choice{"repository", "beside it, each repository of this entry has a socket of its own, for containers and for programs that bring their own SSH; `deploykeyd status --sockets` lists them"}),
		}, func(w *walk, v value, d *forgeDraft) { d.Sockets = w.oneOf(v) == "repository" }},
		{spec{
			name: "repositories", sample: "[acme/api]", required: true, inner: specs(entryFields()),
			doc:  "the repositories that the builds need",
			more: "An entry that is the path alone means read access. With a GitHub App, all repositories of an entry have one owner.",
			is:   shape{words: "a list, not empty, of paths `owner/name` or of mappings", fewest: 1, entries: entryShape()},
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
			doc: "which repository is meant",
			is:  repositoryShape(),
		}, func(w *walk, v value, d *repositoryDraft) { d.name = v }},
		{spec{
			name: "access", fallback: string(provision.Read),
			doc: "what the key may do",
			is:  oneOf(choice{string(provision.Read), "fetch"}, choice{string(provision.Write), "fetch and push; not on `bitbucket-cloud`, whose deploy keys can only read"}),
		}, func(w *walk, v value, d *repositoryDraft) {
			d.Access, d.access = provision.Access(w.oneOf(v)), v
		}},
		{spec{
			name: "project", doc: "one key for all repositories of a project",
			later: "list the repositories one by one",
		}, nil},
	}
}

func forgeShape() *shape {
	s := mappingOf(mapping{
		name: "forge", title: "Entries of forges", rules: forgeRules,
		about: "Each entry is a mapping of these fields. What depends on its kind is said below them.",
	})
	return &s
}

// hostKeysShape is a list of lines, each a type and base64.
func hostKeysShape() shape {
	key := word(hostKeyPattern, "a public key in one line")
	return shape{words: "a list, not empty, of lines of type and base64, as in the server's `/etc/ssh/ssh_host_ed25519_key.pub`", entries: &key, fewest: 1, unique: true}
}

// repositoryShape is a path of two parts, as every kind that can be used has it.
func repositoryShape() shape {
	return word(repositoryPattern, "a path `owner/name`, without `.git`")
}

// entryShape is a path alone, or a mapping that says more.
func entryShape() *shape {
	path := repositoryShape()
	more := mappingOf(mapping{
		name: "entry", title: "Entries of repositories",
		about: "An entry is a path, or a mapping of these fields.",
		forms: []form{{needs: []string{"repository"}, may: []string{"access"}}},
	})
	path.or = &more
	return &path
}

// usableKinds lists the kinds that are supported now.
func usableKinds() []provision.Kind {
	var usable []provision.Kind
	for _, k := range provision.Kinds() {
		if !planned(k) {
			usable = append(usable, k)
		}
	}
	return usable
}

func kindShape() shape {
	var choices []choice
	for _, k := range usableKinds() {
		choices = append(choices, choice{string(k), kindMeans(k)})
	}
	return oneOf(choices...)
}

// kindMeans names the product.
func kindMeans(k provision.Kind) string {
	switch k {
	case provision.BitbucketCloud:
		return "Bitbucket Cloud, bitbucket.org"
	case provision.BitbucketDataCenter:
		return "Bitbucket Data Center"
	case provision.GitHub:
		return "GitHub, or a GitHub Enterprise Server"
	case provision.GitLab:
		return "GitLab"
	case provision.Gitea:
		return "Gitea or Forgejo"
	}
	return ""
}

func readKind(w *walk, v value, d *forgeDraft) {
	usable := v.is.allowed()
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
		w.oneOf(v)
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
	w.oneOf(v)
}
