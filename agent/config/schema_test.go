package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v4"

	"deploykeyd/agent/config"
)

// validator is a validator that others wrote. It reads a schema and documents and
// answers, for each document, what is wrong with it.
const validator = `
import json, sys
from jsonschema import Draft202012Validator
given = json.load(sys.stdin)
Draft202012Validator.check_schema(given["schema"])
v = Draft202012Validator(given["schema"])
print(json.dumps([[e.json_path + ": " + e.message for e in v.iter_errors(d)] for d in given["documents"]]))
`

// validate returns what the schema has against each YAML document.
func validate(t *testing.T, documents ...string) [][]string {
	t.Helper()
	// Without an empty list Python would get null.
	given := struct {
		Schema    json.RawMessage `json:"schema"`
		Documents []any           `json:"documents"`
	}{json.RawMessage(config.Schema()), []any{}}
	for _, text := range documents {
		var d any
		if err := yaml.Load([]byte(text), &d); err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
		given.Documents = append(given.Documents, d)
	}
	in, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	// Debian's modules are for Debian's Python, which may not be the first on the PATH.
	c := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", validator)
	c.Stdin = bytes.NewReader(in)
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		t.Fatalf("this test needs python3-jsonschema (apt-get install python3-jsonschema): %v\n%s", err, said.String())
	}
	var wrong [][]string
	if err := json.Unmarshal(out, &wrong); err != nil || len(wrong) != len(documents) {
		t.Fatalf("%d answers for %d documents, %v: %s", len(wrong), len(documents), err, out)
	}
	return wrong
}

// withForge is a configuration with one entry, as the lines of a mapping.
func withForge(lines ...string) string { return string(entry(lines...)) }

// TestSchemaAcceptsWhatIsAccepted has every good configuration of this package's
// tests, and holds that the schema refuses nothing that Parse accepts.
func TestSchemaAcceptsWhatIsAccepted(t *testing.T) {
	documents := append(exampleAlternatives(t), config.Example(),
		withForge("kind: github", "credential: {token: {env: T}}", "repositories: [a/b, {repository: a/c}, {repository: a/d, access: write}]", "url: HTTP://Git.TEST:80/x/",
			"ssh: SSH://forgejo@git.test", "host_keys: [' "+hostKey+" a comment']", "register: boot", "bind: require", "sockets: repository"),
		`{"fleet": 12, "machine": -1.5, "users": ["jenkins", 1001, "0", "ci@corp.example"], "groups": [0, 4294967294], "ready": "any", "key": {"type": "rsa-3072", "expire": "1d12h"},
			"shutdown": {"timeout": "1m"}, "forges": [{"name": 7, "kind": "github", "credential": {"app_id": "123", "private_key": {"command": [sh, -c, true, 1, 1.5, ""], "timeout": "1.5s"}}, "repositories": [a/b]}]}`,
		strings.Replace(withForge("kind: github", "credential: {token: {env: T}}", "repositories: [a/b]"), "fleet: ci", "fleet: "+strings.Repeat("f", 198), 1),
	)
	for _, c := range goodCredentials() {
		documents = append(documents, c.text)
	}
	for i, wrong := range validate(t, documents...) {
		if _, err := config.Parse("x", []byte(documents[i])); err != nil {
			t.Errorf("Parse: %v", err)
		}
		if len(wrong) > 0 {
			t.Errorf("the schema refuses\n%s\n%s", documents[i], strings.Join(wrong, "\n"))
		}
	}
}

// exampleAlternatives returns the example with each line that it has commented
// out in the place of the one that stands there.
func exampleAlternatives(t *testing.T) []string {
	t.Helper()
	var list []string
	replaced := func(from, to string) {
		if !strings.Contains(config.Example(), from) {
			t.Fatalf("the example does not have %q", from)
		}
		list = append(list, strings.Replace(config.Example(), from, to, 1))
	}
	for _, line := range []string{"machine: builder-7", "groups: [ci]"} {
		replaced("# "+line, line)
	}
	for _, line := range []string{"bind: prefer", "sockets: shared", "register: boot"} {
		replaced("    # "+line, "    "+line)
	}
	for _, place := range []string{"{systemd: forge}", "{command: [vault, kv, get, -field=token, ci/forge], timeout: 30s}", "{env: FORGE_TOKEN}"} {
		replaced("token: {file: /etc/deploykeyd/forge.token}", "token: "+place)
	}
	replaced("      token: {file: /etc/deploykeyd/github.token}\n", "      app_id: 123456\n      installation_id: 12345678\n      private_key: {file: /etc/deploykeyd/app.pem}\n")
	replaced("      username: ci@example.com # of the account that the API token belongs to\n      token: {file: /etc/deploykeyd/bitbucket.token}\n",
		"      client_id: CLIENT_ID\n      client_secret: {file: /etc/deploykeyd/consumer.secret}\n")
	return list
}

// TestSchemaRefuses has what is wrong by its form alone, which an editor should
// show while it is written.
func TestSchemaRefuses(t *testing.T) {
	var documents []string
	for _, field := range []struct {
		name   string
		values []string
	}{
		{"flet", []string{"ci"}},
		{"fleet", []string{"", "[ci]", "{ci: 1}", "~", "a b", `""`, strings.Repeat("f", 199)}},
		{"machine", []string{"a/b", strings.Repeat("m", 256)}},
		{"users", []string{"", "[]", "a", "[[a]]", "[a b]", "[-1]", "[a, a]", "[1.5]", "['007']"}},
		{"groups", []string{"ci", "[~]", "['*']"}},
		{"forges", []string{"[]", "{name: x}", "~", "[x]"}},
		{"sweep", []string{"{every: 1h}"}},
		{"key", []string{
			"[]", "ed25519", "{type: dsa}", "{expire: 24}", "{expire: a day}", "{expire: ''}", "{rotate: 12h}", "{tpye: ed25519}",
			"{expire: -1d}", "{expire: 1d2}",
		}},
		{"ready", []string{"some", "[all]"}},
		{"shutdown", []string{"{timeout: 25}", "25s"}},
		{"kind", []string{"", "githab", "gitlab", "[github]", "gitea"}},
		{"name", []string{"a b"}},
		{"bnid", []string{"prefer"}},
		{"exclude", []string{"[a/b]"}},
		{"token", []string{"{env: T}"}},
		{"url", []string{"git.example.com", "ftp://git.example.com", "[https://x.example]", "https:///x"}},
		{"ssh", []string{"git@git.example.com", "ssh:///x"}},
		{"host_keys", []string{hostKey, "[]", "[ssh-dss AAAA]", "[git.example.com " + hostKey + "]"}},
		{"register", []string{"first-use"}},
		{"bind", []string{"yes"}},
		{"sockets", []string{"repositories"}},
		{"repositories", []string{
			"", "[]", "a/b", "[a]", "[a/b/c]", "[a/web-*]", "[https://x/a/b]", "[[a/b]]", "[~]", "[a/-b]", "[{access: read}]",
			"[{repository: a/b, access: admin}]", "[{repository: [a/b]}]", "[{project: a/b}]", "[{repository: a/b, acces: read}]",
		}},
		{"credential", []string{
			"", "x", "[x]", "{}", "{token: x}", "{token: [x]}", "{token: {}}", "{token: {value: x}}", "{tokn: {env: T}}", "{token: {file: x}}",
			"{token: {env: lower}}", "{token: {systemd: a/b}}", "{token: {systemd: .a}}", "{token: {command: get}}", "{token: {command: []}}",
			"{token: {command: [[a]]}}", "{token: {command: [a" + strings.Repeat(", a", 64) + "]}}", "{token: {command: [a], timeout: 5}}",
			"{app_id: 0, private_key: {env: T}}", "{app_id: Ov1.x, private_key: {env: T}}",
			"{app_id: 1, installation_id: x, private_key: {env: T}}",
		}},
	} {
		for _, value := range field.values {
			documents = append(documents, changed(field.name, value))
		}
	}
	documents = append(documents, "[]", "deploykeyd", "7", changed("kind", "bitbucket-cloud"))
	if wrong := validate(t, changed("fleet", "ci")); len(wrong[0]) > 0 {
		t.Fatal(wrong)
	}
	for i, wrong := range validate(t, documents...) {
		if _, err := config.Parse("x", []byte(documents[i])); err == nil {
			t.Errorf("Parse accepts %s", documents[i])
		}
		if len(wrong) == 0 {
			t.Errorf("the schema accepts %s", documents[i])
		}
	}
}

// changed is a good configuration in which one field has another value; an empty
// one removes the field.
func changed(name, value string) string {
	top := [][2]string{{"fleet", "ci"}, {"users", "[a]"}}
	forge := [][2]string{{"name", "x"}, {"kind", "github"}, {"credential", "{token: {env: T}}"}, {"repositories", "[a/b]"}}
	list := &forge
	if slices.Contains([]string{"flet", "fleet", "machine", "users", "groups", "forges", "sweep", "key", "ready", "shutdown"}, name) {
		list = &top
	}
	*list = append(slices.DeleteFunc(*list, func(f [2]string) bool { return f[0] == name }), [2]string{name, value})
	mapping := func(fields [][2]string) string {
		var b strings.Builder
		for _, f := range fields {
			if f[1] != "" {
				fmt.Fprintf(&b, "%s: %s, ", f[0], f[1])
			}
		}
		return b.String()
	}
	if name != "forges" {
		top = append(top, [2]string{"forges", "[{" + mapping(forge) + "}]"})
	}
	return "{" + mapping(top) + "}"
}

// subsets returns every choice of the parts, joined to a mapping.
func subsets(parts ...string) []string {
	var all []string
	for mask := range 1 << len(parts) {
		var some []string
		for i, p := range parts {
			if mask&(1<<i) != 0 {
				some = append(some, p)
			}
		}
		all = append(all, "{"+strings.Join(some, ", ")+"}")
	}
	return all
}

// TestSchemaAgreesOnForms has every combination of a credential's fields, for
// each kind, and of a secret's: the schema and Parse accept the same.
func TestSchemaAgreesOnForms(t *testing.T) {
	var documents []string
	for _, kind := range []string{"github", "bitbucket-cloud", "gitea"} {
		for _, credential := range subsets("username: a@b.c", "token: {env: T}", "client_id: x", "client_secret: {env: T}", "app_id: 1", "installation_id: 2", "private_key: {env: T}") {
			documents = append(documents, withForge("kind: "+kind, "url: http://git.test", "host_keys: ['"+hostKey+"']", "credential: "+credential, "repositories: [a/b]"))
		}
		for _, rest := range subsets("access: write", "repository: a/b") {
			username := map[string]string{"bitbucket-cloud": "username: a@b.c, "}[kind]
			documents = append(documents, withForge("kind: "+kind, "url: http://git.test", "host_keys: ['"+hostKey+"']", "credential: {"+username+"token: {env: T}}", "repositories: ["+rest+"]"))
		}
	}
	for _, secret := range subsets("file: /x", "systemd: a", "command: [a]", "env: T", "timeout: 5s") {
		documents = append(documents, withForge("kind: github", "credential: {token: "+secret+"}", "repositories: [a/b]"))
	}
	accepted := 0
	for i, wrong := range validate(t, documents...) {
		_, err := config.Parse("x", []byte(documents[i]))
		if (err == nil) != (len(wrong) == 0) {
			t.Errorf("Parse says %v, the schema %q, of\n%s", err, wrong, documents[i])
		}
		if err == nil {
			accepted++
		}
	}
	// By hand: github a token, and an App with and without an installation; Bitbucket
	// Cloud a token with its user and a consumer; gitea a token. Write access on two
	// kinds, reading on all. A secret in four places, the command with a limit too.
	if want := 3 + 2 + 1 + 2 + 3 + 5; accepted != want {
		t.Errorf("%d are accepted, want %d", accepted, want)
	}
}

// TestSchemaRefusesNoMoreThanParse has each bad configuration that is YAML at
// all: what the schema refuses, Parse refuses.
func TestSchemaRefusesNoMoreThanParse(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	var documents []string
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			var d any
			if strings.HasSuffix(f.Name, ".yaml") && yaml.Load(f.Data, &d) == nil {
				documents = append(documents, string(f.Data))
			}
		}
	}
	for i, wrong := range validate(t, documents...) {
		if _, err := config.Parse("x", []byte(documents[i])); err == nil && len(wrong) > 0 {
			t.Errorf("the schema alone refuses\n%s\n%s", documents[i], strings.Join(wrong, "\n"))
		}
	}
}

// TestSchemaKnowsTimes has each way to write a length of time.
func TestSchemaKnowsTimes(t *testing.T) {
	times := []string{
		"600s", "10m", "+10m", "90m", "1h30m", "1.5h", ".5h", "1.h", "7d", "1d12h", "1d+12h", "364d23h59m60s", "3600000ms", "600000000us", "600000000µs", "600000000μs", "600000000000ns", "365d",
	}
	var documents []string
	for _, text := range times {
		documents = append(documents, changed("key", "{expire: "+text+"}"))
	}
	for i, wrong := range validate(t, documents...) {
		if _, err := config.Parse("x", []byte(documents[i])); err != nil || len(wrong) > 0 {
			t.Errorf("%s: Parse says %v, the schema %q", times[i], err, wrong)
		}
	}
}
