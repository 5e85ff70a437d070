package main_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent"
	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// give writes a program for a site that sh runs, and returns its path.
func (s *site) give(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// tokenOf is what the configuration of newSite has for a forge's token.
func (s *site) tokenOf(k provision.Kind) string {
	return fmt.Sprintf("token: {file: %s.token}", filepath.Join(s.dir, string(k)))
}

// startWith runs the daemon with more in its environment.
func (s *site) startWith(t *testing.T, env ...string) *daemon {
	t.Helper()
	c := s.program(context.WithoutCancel(t.Context()), "run", "--log-level", "debug")
	c.Env = append(c.Env, env...)
	return s.launch(t, c)
}

// installApp puts a GitHub App on acme and its private key where systemd would
// have it.
func (s *site) installApp(t *testing.T) (directory string, keyText []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s.sim.Forge(provision.GitHub).AddApp(forgesim.App{
		ID: 4711, PublicKeys: []*rsa.PublicKey{&key.PublicKey}, Installations: []forgesim.Installation{{ID: 42, Account: "acme"}},
	})
	directory = filepath.Join(s.dir, "credentials")
	if err := os.Mkdir(directory, 0o700); err != nil {
		t.Fatal(err)
	}
	keyText = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(filepath.Join(directory, "deploykeyd_app.pem"), keyText, 0o400); err != nil {
		t.Fatal(err)
	}
	return directory, keyText
}

// One life with every kind of credential that is no file and no plain token.
func TestLifeWithExchangedCredentials(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, teaToken := s.sim.Forge(provision.Gitea).Credential()
	program := s.give(t, "give", "echo "+teaToken)
	directory, keyText := s.installApp(t)
	const consumerSecret = "5X8xtavvLndf2XB4c9wfALBLRrrBYR5F"
	s.sim.Forge(provision.BitbucketCloud).AddConsumer(forgesim.Consumer{ID: "MtDjb9nNZayJR3T5HJ", Secret: consumerSecret, Owner: "acme"})
	username, _ := s.sim.Forge(provision.BitbucketCloud).Credential()
	s.rewrite(t, s.tokenOf(provision.Gitea), "token: {command: ["+program+"], timeout: 20s}")
	s.rewrite(t, s.tokenOf(provision.GitHub), "app_id: 4711\n      private_key: {systemd: app.pem}")
	s.rewrite(t, "      username: "+username+"\n      "+s.tokenOf(provision.BitbucketCloud),
		"      client_id: MtDjb9nNZayJR3T5HJ\n      client_secret: {env: CONSUMER_SECRET}")

	d := s.startWith(t, "CREDENTIALS_DIRECTORY="+directory, "CONSUMER_SECRET="+consumerSecret)
	d.ready(t)
	if diff := cmp.Diff(onePerPlan(), s.keys()); diff != "" {
		t.Errorf("keys on the forges (-want +got):\n%s", diff)
	}
	for _, k := range []provision.Kind{provision.GitHub, provision.BitbucketCloud} {
		if n := len(s.sim.Forge(k).IssuedTokens()); n != 1 {
			t.Errorf("%s has given %d tokens", k, n)
		}
	}
	_, status, _ := s.do(t, "status", "--json")
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if keys := s.keys(); len(keys) != 0 {
		t.Errorf("keys after the stop: %v", keys)
	}
	secrets := []string{teaToken, consumerSecret, strings.Split(string(keyText), "\n")[3]}
	for _, f := range s.sim.Forges() {
		secrets = append(secrets, f.IssuedTokens()...)
	}
	for _, secret := range secrets {
		if shown := d.log.String() + status; strings.Contains(shown, secret) || strings.Contains(shown, secret[len(secret)-12:]) {
			t.Errorf("a secret that ends in %s is shown", secret[len(secret)-3:])
		}
	}
}

// A program that gives one credential sees no other, and what it says of its
// environment does not bring one into the log.
func TestG8ProgramsGetNoOtherCredential(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	there := filepath.Join(s.dir, "environment")
	program := s.give(t, "give", "env >"+there+".new; mv "+there+".new "+there+"; env >&2; exit 1")
	_, hubToken := s.sim.Forge(provision.GitHub).Credential()
	s.rewrite(t, s.tokenOf(provision.Gitea), "token: {command: ["+program+"]}")
	s.rewrite(t, s.tokenOf(provision.GitHub), "token: {env: HUB_TOKEN}")
	d := s.startWith(t, "HUB_TOKEN="+hubToken, "A_FINE_VARIABLE=fine", "WATCHDOG_PID=1", "LISTEN_FDS=0")
	d.until(t, "the program's failure is told", func(status agent.Status) bool {
		for _, r := range status.Repositories {
			if r.Kind == provision.Gitea && strings.Contains(r.Reason, "exit status 1") {
				return true
			}
		}
		return false
	})
	text, err := os.ReadFile(there)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "A_FINE_VARIABLE=fine\n") {
		t.Fatalf("the program got %s", text)
	}
	for _, never := range []string{"HUB_TOKEN", hubToken, "WATCHDOG_PID", "LISTEN_FDS"} {
		if strings.Contains(string(text), never) {
			t.Errorf("the program got %s", never)
		}
	}
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if keys := s.keys(); len(keys) != 0 {
		t.Errorf("keys after the stop: %v", keys)
	}
	if strings.Contains(d.log.String(), hubToken) {
		t.Error("the log shows a token")
	}
}
