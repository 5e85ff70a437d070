package conform

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// Login says how an adapter reaches the emulated forge. Exactly one of
// TokenFile, App and OAuth is set.
type Login struct {
	Name      string // of the forge in the configuration
	URL       string
	Username  string // empty where the forge takes a token alone
	TokenFile string // only this process may read it
	App       *App   // a GitHub App
	OAuth     *OAuth // a Bitbucket Cloud OAuth consumer
	Transport http.RoundTripper
	UserAgent string
}

// App is a GitHub App, to be used on its installation on an account.
type App struct {
	ID      string
	Owner   string // the account
	KeyFile string // the private key in PEM form
}

// OAuth is an OAuth consumer.
type OAuth struct {
	ID         string
	SecretFile string
}

// secretFile returns the file of the long-lived credential.
func (l Login) secretFile() string {
	switch {
	case l.App != nil:
		return l.App.KeyFile
	case l.OAuth != nil:
		return l.OAuth.SecretFile
	}
	return l.TokenFile
}

// holder is the long-lived credential that is exchanged for access tokens: one
// App or consumer for a whole suite, on each forge that has it.
type holder struct {
	key *rsa.PrivateKey // of the App; nil for a consumer
}

const (
	holderID     = "conform-consumer"
	holderSecret = "0123456789-secret-of-the-consumer"
	appID        = 4711
	appText      = "4711"
	installation = 99
)

// newHolder makes the credential that a kind of forge has exchanges for.
func newHolder(t *testing.T, kind provision.Kind) *holder {
	t.Helper()
	switch kind { //nolint:exhaustive // the others have no exchange
	case provision.GitHub:
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		return &holder{key}
	case provision.BitbucketCloud:
		return &holder{}
	}
	t.Fatalf("%s exchanges no credentials", kind)
	return nil
}

// join makes the forge know the credential, if there is one, with all rights on
// acme.
func (h *holder) join(f *forgesim.Forge) {
	if h == nil {
		return
	}
	if h.key == nil {
		f.AddConsumer(forgesim.Consumer{ID: holderID, Secret: holderSecret, Owner: "acme"})
		return
	}
	f.AddApp(forgesim.App{
		ID: appID, PublicKeys: []*rsa.PublicKey{&h.key.PublicKey},
		Installations: []forgesim.Installation{{ID: installation, Account: "acme"}},
	})
}

// secret is the text of the credential.
func (h *holder) secret() string {
	if h.key == nil {
		return holderSecret
	}
	return keyText(h.key)
}

func keyText(key *rsa.PrivateKey) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

// enter returns an adapter that has all rights, with the suite's credential.
func (b *bench) enter() *witness {
	b.Helper()
	w, _ := b.enterFile()
	return w
}

// enterFile is enter that tells where the secret is, so that it can be replaced.
func (b *bench) enterFile() (w *witness, file string) {
	b.Helper()
	if b.holder == nil {
		username, token := b.sim.Credential()
		return b.open(Login{Username: username, TokenFile: b.keep(token)})
	}
	file = b.keep(b.holder.secret())
	if b.holder.key == nil {
		return b.open(Login{OAuth: &OAuth{ID: holderID, SecretFile: file}})
	}
	return b.open(Login{App: &App{ID: appText, Owner: provision.Repository(b.repo).Owner(), KeyFile: file}})
}

// login returns an adapter that uses a token.
func (b *bench) login(username, token string) *witness {
	b.Helper()
	w, _ := b.open(Login{Username: username, TokenFile: b.keep(token)})
	return w
}

// open completes a login and returns the adapter, watched.
func (b *bench) open(l Login) (w *witness, file string) {
	b.Helper()
	l.Name, l.URL, l.UserAgent = "forge-under-test", b.sim.URL(), "deploykeyd/conform"
	if b.spy != nil {
		l.Transport = b.spy
	}
	return &witness{bench: b, inner: b.opener(b.T, l)}, l.secretFile()
}

// keep puts a secret into a file of its own.
func (b *bench) keep(secret string) (file string) {
	b.Helper()
	file = filepath.Join(b.TempDir(), "secret")
	b.writeSecret(file, secret)
	return file
}

func (b *bench) writeSecret(file, secret string) {
	b.Helper()
	secret = strings.TrimSpace(secret)
	for line := range strings.Lines(secret) { // a PEM text is as secret as each of its lines
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
			b.secrets = append(b.secrets, line)
		}
	}
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		b.Fatal(err)
	}
}
