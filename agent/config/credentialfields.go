package config

import "time"

// credentialFields are the rows of a forge's credential. Which of them belong
// together is checked when all are known.
func credentialFields() []field[forgeDraft] {
	return []field[forgeDraft]{
		{spec{
			name: "username", sample: "ci@example.com",
			doc: "the account's e-mail address; for bitbucket-cloud, which wants it with an API token",
		}, readUsername},
		{spec{
			name: "token", sample: "{file: /etc/deploykeyd/forge.token}", secret: true, inner: specs(secretFields()),
			doc: "where the token is, never the token itself",
		}, func(w *walk, v value, d *forgeDraft) { readSecret(w, v, &d.Token) }},
		{spec{
			name: "client_id", sample: "CLIENT_ID",
			doc: "the key of an OAuth consumer; for bitbucket-cloud, instead of username and token",
		}, readClientID},
		{spec{
			name: "client_secret", sample: "{file: /etc/deploykeyd/consumer.secret}", secret: true, inner: specs(secretFields()),
			doc: "where the OAuth consumer's secret is, never the secret itself",
		}, func(w *walk, v value, d *forgeDraft) { readSecret(w, v, &d.oauth.Secret) }},
		{spec{
			name: "app_id", sample: "123456",
			doc: "the number or the client id of a GitHub App; for github, instead of token",
		}, readAppID},
		{spec{
			name: "installation_id", sample: "12345678",
			doc: "the number of the GitHub App's installation; the default is the one that has the repositories",
		}, readInstallationID},
		{spec{
			name: "private_key", sample: "{file: /etc/deploykeyd/app.pem}", secret: true, inner: specs(secretFields()),
			doc: "where the GitHub App's private key is, never the key itself",
		}, func(w *walk, v value, d *forgeDraft) { readSecret(w, v, &d.app.PrivateKey) }},
	}
}

// The bounds of how long a command may take to print a secret.
const (
	leastTimeout = time.Second
	mostTimeout  = 2 * time.Minute
)

// secretFields are the rows of every place that a secret can be read from.
func secretFields() []field[CredentialRef] {
	return []field[CredentialRef]{
		{spec{
			name: "file", sample: "/etc/deploykeyd/forge.token",
			doc: "a file that only its owner may read",
		}, readSecretFile},
		{spec{
			name: "systemd", sample: "forge",
			doc: "a file of /etc/deploykeyd/credentials, which the unit hands in with LoadCredential=",
		}, readSecretSystemd},
		{spec{
			name: "command", sample: "[vault, kv, get, -field=token, ci/forge]",
			doc: "a program and its arguments, which prints the secret; no shell reads them",
		}, readSecretCommand},
		{spec{
			name: "timeout", fallback: "30s",
			doc: "how long the command may take",
		}, func(w *walk, v value, ref *CredentialRef) { ref.Timeout = w.duration(v, leastTimeout, mostTimeout) }},
		{spec{
			name: "env", sample: "FORGE_TOKEN",
			doc: "an environment variable, in capital letters",
		}, readSecretEnv},
	}
}
