package config

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"deploykeyd/provision"
)

// credentialFields are the rows of a forge's credential. Which of them belong
// together is checked when all are known.
func credentialFields() []field[forgeDraft] {
	return []field[forgeDraft]{
		{spec{
			name: "username", sample: "ci@example.com",
			doc: "the account's e-mail address; for bitbucket-cloud, which wants it with an API token",
			is:  word(basicPattern, "printable ASCII without spaces and colons").upTo(255),
		}, readUsername},
		{spec{
			name: "token", sample: "{file: /etc/deploykeyd/forge.token}", secret: true, inner: specs(secretFields()),
			doc: "where the token is, never the token itself",
			is:  secretShape(),
		}, func(w *walk, v value, d *forgeDraft) { readSecret(w, v, &d.Token) }},
		{spec{
			name: "client_id", sample: "CLIENT_ID",
			doc:  "the key of an OAuth consumer; for bitbucket-cloud, instead of username and token",
			more: "Bitbucket drops the keys that a consumer made when somebody changes the consumer.",
			is:   word(clientPattern, "letters, digits and `_`, 31 at most"),
		}, readClientID},
		{spec{
			name: "client_secret", sample: "{file: /etc/deploykeyd/consumer.secret}", secret: true, inner: specs(secretFields()),
			doc: "where the OAuth consumer's secret is, never the secret itself",
			is:  secretShape(),
		}, func(w *walk, v value, d *forgeDraft) { readSecret(w, v, &d.oauth.Secret) }},
		{spec{
			name: "app_id", sample: "123456",
			doc:  "the number or the client id of a GitHub App; for github, instead of token",
			more: "The App needs the permission `Administration: write`.",
			is:   word(appIDPattern, "a number, or a client id, which begins with `Iv`"),
		}, readAppID},
		{spec{
			name: "installation_id", sample: "12345678",
			doc:       "the number of the GitHub App's installation; the default is the one that has the repositories",
			is:        word(installationPattern, "a number"),
			otherwise: "the installation of the repositories' owner",
		}, readInstallationID},
		{spec{
			name: "private_key", sample: "{file: /etc/deploykeyd/app.pem}", secret: true, inner: specs(secretFields()),
			doc: "where the GitHub App's private key is, never the key itself",
			is:  secretShape(),
		}, func(w *walk, v value, d *forgeDraft) { readSecret(w, v, &d.app.PrivateKey) }},
	}
}

// installationPattern is a number above zero, of no more digits than an int64.
var installationPattern = regexp.MustCompile(`^[1-9][0-9]{0,18}$`)

func credentialShape() shape {
	return mappingOf(mapping{
		name: "credential", title: "Credentials",
		about: "What registers the keys on the forge. A credential has the fields of one of these forms, and nothing of another. " +
			"The secret itself never stands in this file: its place does.",
		forms: allForms(),
	})
}

// allForms returns each form of a credential that a usable kind takes, once.
func allForms() []form {
	var all []form
	for _, k := range usableKinds() {
		for _, f := range formsOf(k) {
			if !slices.ContainsFunc(all, func(g form) bool { return slices.Equal(f.needs, g.needs) }) {
				all = append(all, f)
			}
		}
	}
	return all
}

// kindsOf returns the usable kinds that take a form of a credential.
func kindsOf(f form) []provision.Kind {
	return slices.DeleteFunc(usableKinds(), func(k provision.Kind) bool {
		return !slices.ContainsFunc(formsOf(k), func(g form) bool { return slices.Equal(f.needs, g.needs) })
	})
}

// kindsWith returns the usable kinds that take a field of a credential.
func kindsWith(name string) []provision.Kind {
	return slices.DeleteFunc(usableKinds(), func(k provision.Kind) bool {
		return !slices.ContainsFunc(formsOf(k), func(f form) bool { return slices.Contains(f.names(), name) })
	})
}

// The bounds of how long a command may take to print a secret.
const (
	leastTimeout = time.Second
	mostTimeout  = 2 * time.Minute
)

// pathPattern is the beginning of an absolute path.
var pathPattern = regexp.MustCompile(`^/`)

// secretFields are the rows of every place that a secret can be read from.
func secretFields() []field[CredentialRef] {
	return []field[CredentialRef]{
		{spec{
			name: "file", sample: "/etc/deploykeyd/forge.token",
			doc:  "a file that only its owner may read",
			more: "Its owner is root or the user that the daemon runs as, and its mode is 0600 or narrower.",
			is:   word(pathPattern, "an absolute path"),
		}, readSecretFile},
		{spec{
			name: "systemd", sample: "forge",
			doc:  "a file of /etc/deploykeyd/credentials, which the unit hands in with LoadCredential=",
			more: "Root alone can read the folder, and the service gets a copy of its own. This is the place to prefer.",
			is:   word(systemdPattern, "the file's name: letters, digits and `.` `_` `-`, 31 at most, and no dot in front"),
		}, readSecretSystemd},
		{spec{
			name: "command", sample: "[vault, kv, get, -field=token, ci/forge]",
			doc:  "a program and its arguments, which prints the secret; no shell reads them",
			more: "It runs as the daemon's user, whenever the secret is needed anew.",
			is:   commandShape(),
		}, readSecretCommand},
		{spec{
			name: "timeout", fallback: "30s",
			doc:  "how long the command may take",
			more: "It belongs to a `command` alone.",
			is:   between(leastTimeout, mostTimeout),
		}, func(w *walk, v value, ref *CredentialRef) { ref.Timeout = w.duration(v) }},
		{spec{
			name: "env", sample: "FORGE_TOKEN",
			doc:  "an environment variable, in capital letters",
			more: "For trials: under systemd every user can read the environment of a unit.",
			is:   word(envPattern, "capital letters, digits and `_`").upTo(255),
		}, readSecretEnv},
	}
}

// secretForms has a form for each place.
func secretForms() []form {
	return []form{
		{means: "a file", needs: []string{"file"}},
		{means: "a credential of the unit", needs: []string{"systemd"}},
		{means: "a program that prints it", needs: []string{"command"}, may: []string{"timeout"}},
		{means: "an environment variable", needs: []string{"env"}},
	}
}

func secretShape() shape {
	return mappingOf(mapping{
		name: "secret", title: "Where a secret is", shared: true,
		about: "The value of `token`, `client_secret` and `private_key` says where that secret is: in exactly one of four places.",
		forms: secretForms(),
	})
}

// commandShape is a list of words, of which the first is the program. Which it
// may be is left to the reader.
func commandShape() shape {
	argument := word(nil, "a word")
	return shape{
		words:   fmt.Sprintf("a list of words, %d at most; the first is the program, by its absolute path or its bare name", maxCommand),
		entries: &argument, fewest: 1, largest: maxCommand,
	}
}
