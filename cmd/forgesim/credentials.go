package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// The forms of credentials that --credentials chooses from.
const (
	formToken = "token"
	formApp   = "app"
	formOAuth = "oauth"
)

// formOf returns the form of credential that the configuration has for a forge:
// the chosen one that the forge knows, else a token.
func (o options) formOf(kind provision.Kind) string {
	switch {
	case kind == provision.GitHub && slices.Contains(o.credentials, formApp):
		return formApp
	case kind == provision.BitbucketCloud && slices.Contains(o.credentials, formOAuth):
		return formOAuth
	}
	return formToken
}

// appID is the id of the App that forgesim makes.
const appID = 1

// entry is one forge entry of the configuration.
type entry struct {
	name         string
	credential   []string // the lines of its YAML
	repositories []string
}

// entriesOf makes the credentials for a forge, writes their secrets beside the
// configuration and returns the entries that use them. An App's installation and
// a consumer act for one owner alone, so each owner gets an entry.
func entriesOf(f *forgesim.Forge, o options, dir string) ([]entry, error) {
	repositories := f.Repositories()
	if !provision.TraitsOf(f.Kind()).WriteAccess {
		repositories = slices.DeleteFunc(repositories, func(r string) bool { return r == writable })
	}
	form := o.formOf(f.Kind())
	file := filepath.Join(dir, string(f.Kind()))
	if form == formToken {
		lines, err := tokenLines(f, file+".token")
		return []entry{{string(f.Kind()), lines, repositories}}, err
	}
	var entries []entry
	for _, r := range repositories {
		owner := provision.Repository(r).Owner()
		i := slices.IndexFunc(entries, func(e entry) bool { return provision.Repository(e.repositories[0]).Owner() == owner })
		if i >= 0 {
			entries[i].repositories = append(entries[i].repositories, r)
			continue
		}
		name := string(f.Kind())
		if len(entries) > 0 {
			name += "-" + owner
		}
		entries = append(entries, entry{name: name, repositories: []string{r}})
	}
	if form == formApp {
		return entries, addApp(f, entries, file+".pem")
	}
	return entries, addConsumers(f, entries, dir)
}

func tokenLines(f *forgesim.Forge, file string) ([]string, error) {
	username, secret := f.Credential()
	lines := []string{"token: {file: " + strconv.Quote(file) + "}"}
	if username != "" {
		lines = append([]string{"username: " + strconv.Quote(username)}, lines...)
	}
	return lines, writeFile(file, secret+"\n", 0o600)
}

// addApp makes one App, installed on every owner.
func addApp(f *forgesim.Forge, entries []entry, file string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	app := forgesim.App{ID: appID, Slug: "deploykeyd", PublicKeys: []*rsa.PublicKey{&key.PublicKey}}
	for i := range entries {
		app.Installations = append(app.Installations, forgesim.Installation{
			ID: int64(i + 1), Account: provision.Repository(entries[i].repositories[0]).Owner(),
		})
		entries[i].credential = []string{fmt.Sprintf("app_id: %d", appID), "private_key: {file: " + strconv.Quote(file) + "}"}
	}
	f.AddApp(app)
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}) // as GitHub hands it out
	return writeFile(file, string(text), 0o600)
}

// addConsumers makes an OAuth consumer for each owner.
func addConsumers(f *forgesim.Forge, entries []entry, dir string) error {
	for i := range entries {
		c := forgesim.Consumer{ID: rand.Text(), Secret: rand.Text(), Owner: provision.Repository(entries[i].repositories[0]).Owner()}
		f.AddConsumer(c)
		file := filepath.Join(dir, entries[i].name+".secret")
		entries[i].credential = []string{"client_id: " + c.ID, "client_secret: {file: " + strconv.Quote(file) + "}"}
		if err := writeFile(file, c.Secret+"\n", 0o600); err != nil {
			return err
		}
	}
	return nil
}
