package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"deploykeyd/agent/config"
	"deploykeyd/provision"
)

// goodCredential is a configuration and what it says of its forge's credential.
type goodCredential struct {
	text string
	want config.Forge // its credential alone
}

func goodCredentials() []goodCredential {
	words := strings.Split(strings.Repeat("w", 64), "")
	ref := func(r config.CredentialRef) config.CredentialRef { r.Line = 6; return r }
	token := func(text string, r config.CredentialRef) goodCredential {
		return goodCredential{"kind: github\n    credential: {token: " + text + "}", config.Forge{Token: ref(r)}}
	}
	oauth := func(text, id string, r config.CredentialRef) goodCredential {
		return goodCredential{
			"kind: bitbucket-cloud\n    credential: {client_id: " + id + ", client_secret: " + text + "}",
			config.Forge{OAuth: &config.OAuthClient{ID: id, Secret: ref(r)}},
		}
	}
	app := func(text, id, more string, installation int64, r config.CredentialRef) goodCredential {
		return goodCredential{
			"kind: github\n    credential: {" + more + "private_key: " + text + ", app_id: " + id + "}",
			config.Forge{App: &config.GitHubApp{ID: id, Installation: installation, PrivateKey: ref(r)}},
		}
	}
	file, key := config.CredentialRef{File: "/etc/d/a b"}, config.CredentialRef{File: "/k.pem"}
	list := []goodCredential{
		token("{file: /etc/d/a b}", file),
		token("{env: T}", config.CredentialRef{Env: "T"}),
		token("{systemd: a}", config.CredentialRef{Systemd: "a"}),
		token("{systemd: -_9.token-of-31-characters-here}", config.CredentialRef{Systemd: "-_9.token-of-31-characters-here"}),
		token("{command: [vault]}", config.CredentialRef{Command: []string{"vault"}, Timeout: 30 * time.Second}),
		token(`{timeout: 1s, command: ["/opt/my tools/get", "", "-x=y z", "a\nb", 5]}`,
			config.CredentialRef{Command: []string{"/opt/my tools/get", "", "-x=y z", "a\nb", "5"}, Timeout: time.Second}),
		token("{command: ["+strings.Join(words, ",")+"], timeout: 2m}", config.CredentialRef{Command: words, Timeout: 2 * time.Minute}),
		{"kind: bitbucket-cloud\n    credential: {token: {env: T}, username: a@b.c}", config.Forge{Username: "a@b.c", Token: ref(config.CredentialRef{Env: "T"})}},
		oauth("{file: /etc/d/a b}", "kzvrgPoDzSAtXKJZXN", file),
		oauth("{systemd: a}", "x", config.CredentialRef{Systemd: "a"}),
		app("{file: /k.pem}", "1", "", 0, key),
		app("{file: /k.pem}", "123456", "installation_id: 9223372036854775807, ", 9223372036854775807, key),
		app("{file: /k.pem}", "Iv1.8a61f9b3a7aba766", "installation_id: 1, ", 1, key),
		app("{command: [vault]}", "Iv23liAbCdEfGhIjKlMn", "", 0, config.CredentialRef{Command: []string{"vault"}, Timeout: 30 * time.Second}),
	}
	for i := range list {
		list[i].text = "fleet: ci\ngroups: [ci]\nforges:\n  - name: x\n    " + list[i].text + "\n    repositories: [a/b, A/c]\n"
	}
	return list
}

func TestCredentials(t *testing.T) {
	for i, c := range goodCredentials() {
		got, err := config.Parse("x", []byte(c.text))
		if err != nil {
			t.Errorf("%d: %v", i, err)
			continue
		}
		f := got.Forges[0]
		f = config.Forge{Username: f.Username, Token: f.Token, OAuth: f.OAuth, App: f.App}
		if d := diff(c.want, f); d != "" {
			t.Errorf("%d: credential (-want +got):\n%s", i, d)
		}
	}
}

// TestExampleAlternatives takes each credential that the example has commented
// out for the one that stands there.
func TestExampleAlternatives(t *testing.T) {
	text := config.Example()
	for range 2 {
		at := strings.Index(text, "    # credential:\n")
		stands := strings.LastIndex(text[:max(at, 0)], "    credential:\n")
		if at < 0 || stands < 0 {
			t.Fatal("the example has no alternative")
		}
		end := at + strings.Index(text[at:], "    repositories:")
		text = text[:stands] + strings.ReplaceAll("\n"+text[at:end], "\n    # ", "\n    ")[1:] + text[end:]
	}
	c, err := config.Parse("example", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	hub, cloud := c.Forges[1], c.Forges[2]
	if hub.App == nil || hub.App.ID != "123456" || hub.App.Installation != 12345678 || hub.App.PrivateKey.File == "" || hub.Kind != provision.GitHub {
		t.Errorf("github: %+v", hub)
	}
	if cloud.OAuth == nil || cloud.OAuth.ID != "CLIENT_ID" || cloud.OAuth.Secret.File == "" || cloud.Username != "" {
		t.Errorf("cloud: %+v", cloud)
	}
	for _, place := range []string{"{systemd: forge}", "{command: [vault, kv, get, -field=token, ci/forge], timeout: 30s}", "{env: FORGE_TOKEN}"} {
		const stands = "token: {file: /etc/deploykeyd/forge.token}"
		if !strings.Contains(text, "#   "+place) || !strings.Contains(text, stands) {
			t.Fatalf("the example does not show %s", place)
		}
		if _, err := config.Parse("example", []byte(strings.Replace(text, stands, "token: "+place, 1))); err != nil {
			t.Error(err)
		}
	}
	for _, line := range []string{"groups: [ci]", "    bind: prefer", "    sockets: shared", "    register: boot", "machine: builder-7"} {
		word := strings.TrimLeft(line, " ")
		indent := line[:len(line)-len(word)]
		if !strings.Contains(text, "\n"+indent+"# "+word+"\n") {
			t.Fatalf("the example does not show %s", word)
		}
		text = strings.Replace(text, "\n"+indent+"# "+word+"\n", fmt.Sprintf("\n%s\n", line), 1)
	}
	if _, err := config.Parse("example", []byte(text)); err != nil {
		t.Error(err)
	}
}
