package config_test

import (
	"fmt"
	"strings"
	"testing"

	"deploykeyd/agent/config"
)

// TestSecretIsNeverShown puts a literal secret into every shape that it may have
// by mistake, at every place of a credential, and breaks the file in different
// ways beside it.
func TestSecretIsNeverShown(t *testing.T) {
	shapes := []string{
		secret, `"` + secret + `"`, "'" + secret + "'", "[" + secret + "]", "{" + secret + "}", "{" + secret + ": x}", "{x: " + secret + "}",
		"{file: " + secret + "}", "{env: " + secret + "}", "{file: {file: " + secret + "}}", "{command: [get, " + secret + "]}", "{systemd: " + secret + "}",
		"&" + secret + " x", "*" + secret, "!" + secret + " x", "@" + secret, "%" + secret, "`" + secret, "%% " + secret, secret + ": x", secret + " # " + secret,
		"|\n%[1]s  " + secret + "\n%[1]s  " + secret, ">\n%[1]s  " + secret, "\n%[1]s  " + secret, "\n%[1]s  - " + secret, "\n%[1]s" + secret, "\n" + secret,
		"\"" + secret, "[" + secret, "{" + secret, "\"" + secret + "\n%[1]s  " + secret + "\"", "\t" + secret, "x\t" + secret, "x\n\t" + secret,
		"{file: /x}\n%[1]stoken: " + secret, "{file: /x}\n%[1]spassword: " + secret, "{file: /x}\n%[1]s" + secret + ": x", "{file: /x}\n%[1]s? [" + secret + "]",
		"\x1b" + secret, "\xff" + secret, "{file: \"/x\\n" + secret + "\"}",
		"{command: " + secret + "}", "{command: [" + secret + " a]}", "{command: [get, [" + secret + "]], env: X}", "{command: [get, \"" + secret + "\\0\"]}",
		"{command: [get, " + secret + "], timeout: " + secret + "}", "{command: [get], timeout: 5m" + secret + "}", "{systemd: a/" + secret + "}",
		"|\n%[1]s  -----BEGIN PRIVATE KEY-----\n%[1]s  " + secret, "|\n-----BEGIN PRIVATE KEY-----\n" + secret + "\n-----END PRIVATE KEY-----",
		"-----BEGIN PRIVATE KEY-----\n%[1]s" + secret, "{file: |\n-----BEGIN PRIVATE KEY-----\n" + secret + "\n}",
	}
	places := []string{
		"    credential:\n      token: %s\n", "    credential:\n      username: u\n      token: %s\n    bnid: x\n",
		"    credential: %s\n", "    credential: {token: %s, usename: x}\n", "    credential:\n    token: %s\n", "    token: %s\n", "    password: %s\n",
		"token: %s\n", "- token: %s\n",
		"    credential:\n      client_id: a\n      client_secret: %s\n", "    credential: {client_secret: %s, client_id: a}\n",
		"    credential:\n      client_id: %s\n      client_secret: {env: T}\n", "    client_secret: %s\n",
		"    credential:\n      app_id: 1\n      private_key: %s\n", "    credential:\n      app_id: %s\n      private_key: {env: T}\n",
		"    credential:\n      app_id: 1\n      installation_id: %s\n      private_key: {env: T}\n", "    credential: {private_key: %s}\n", "private_key: %s\n",
	}
	for _, place := range places {
		before, _, _ := strings.Cut("\n"+place, "%s")
		line := before[strings.LastIndex(before, "\n")+1:]
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		for _, shape := range shapes {
			value := shape
			if strings.Contains(shape, "%[1]s") {
				value = fmt.Sprintf(shape, indent)
			}
			text := "fleet: ci\nusers: [a]\nforges:\n  - name: x\n    kind: gitea\n" + fmt.Sprintf(place, value) + "    repositories: [a/b]\n"
			_, err := config.Parse("x.yaml", []byte(text))
			if err == nil {
				t.Errorf("accepted:\n%s", text)
				continue
			}
			for _, shown := range []string{err.Error(), fmt.Sprintf("%v", err), fmt.Sprintf("%q", err)} {
				if strings.Contains(shown, secret) {
					t.Errorf("the secret of\n%s\nis shown by\n%s", text, shown)
					break
				}
			}
		}
	}
}

// TestTokenIsNoName writes tokens where the name of their place belongs. Some are
// so short, or have so few kinds of characters, that they could be names.
func TestTokenIsNoName(t *testing.T) {
	tokens := []string{
		"ghp_012345678901234567890123456789abcdef", "ghp_0123456789", "gho_0123456789", "ghu_0123456789", "ghs_0123456789", "ghr_0123456789", "github_pat_0123456789",
		"glpat-abcdefghij0123456789", "glpat-0123456789", "glrt-0123456789", "gldt-0123456789", "glsoat-0123456789",
		"ATATT3xFfGF0_0123456789", "ATCTT3xFfGN0_0123456789", "ATBB0123456789", "ATBB0123456789ABCDEFGHIJKL", "ATATT0123456789", "ATCTT0123456789", "BBDC-0123456789", "hvs.0123456789",
		"0123456789abcdef0123456789abcdef01234567", "5X8xtavvLndf2XB4c9wfALBLRrrBYR5F",
	}
	for _, token := range tokens {
		for _, credential := range []string{
			"kind: github\n    credential: {token: {systemd: %s}}",
			"kind: github\n    credential: {token: {env: %s}}",
			"kind: github\n    credential: {token: {command: [%s]}}",
			"kind: github\n    credential: {token: {command: [%s, get], timeout: 5s}}",
			"kind: bitbucket-cloud\n    credential: {client_id: %s, client_secret: {env: T}}",
			"kind: bitbucket-cloud\n    credential: {client_id: abc, client_secret: {systemd: %s}}",
			"kind: github\n    credential: {app_id: 1, private_key: {systemd: %s}}",
		} {
			text := "fleet: ci\nusers: [a]\nforges:\n  - name: x\n    " + fmt.Sprintf(credential, token) + "\n    repositories: [a/b]\n"
			_, err := config.Parse("x.yaml", []byte(text))
			if err == nil || strings.Contains(err.Error(), "0123456789") || strings.Contains(err.Error(), token) || !strings.Contains(err.Error(), "1 problem") {
				t.Errorf("%s as %s gives %v", token, credential, err)
			}
		}
	}
	for _, credential := range []string{
		"{token: {systemd: gh.token}, username: a@b.c}", "{token: {env: GITHUB_TOKEN}, username: ghost@b.c}", "{token: {command: [ghtoken]}, username: a@b.c}",
		"{token: {command: [/opt/ghp_tools/get, ghp_]}, username: a@b.c}", "{client_id: MtDjb9nNZayJR3T5HJ, client_secret: {env: T}}", "{client_id: abcdefghijklmnopqrstuvwxyz01234, client_secret: {env: T}}",
	} {
		text := "fleet: ci\nusers: [a]\nforges:\n  - name: x\n    kind: bitbucket-cloud\n    credential: " + credential + "\n    repositories: [a/b]\n"
		if _, err := config.Parse("x.yaml", []byte(text)); err != nil {
			t.Error(err)
		}
	}
}

// TestSecretBesideTheCredentialIsNeverShown pastes what holds a secret into the
// fields beside the credential, and breaks the entry in different ways: on the
// secret's own line too, for the excerpt shows all of it.
func TestSecretBesideTheCredentialIsNeverShown(t *testing.T) {
	const body = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE" + secret
	addresses := []string{
		"https://x-token:" + secret + "@h.example.com", "https://" + secret + "@h.example.com/a", "https://h.example.com/?token=" + secret, "https://h.example.com#" + secret,
		"https://h.example.com:" + secret, "https://" + secret + "_", "h.example.com?" + secret, "ssh://h.example.com/" + secret, "ssh://git:" + secret + "@h.example.com",
		"ssh://" + secret + "%@h.example.com", "x:" + secret + "@h.example.com", "http://" + secret + ".example.com", "https://[" + secret, "//" + secret + "@h",
	}
	fields := map[string][]string{
		"url": addresses, "ssh": addresses, "repositories": nil, "host_keys": {body, secret},
	}
	for _, a := range addresses {
		for _, path := range []string{"", "/a/b", "/a/b.git", "/*"} {
			fields["repositories"] = append(fields["repositories"], "["+`"`+a+path+`"]`, `[{repository: "`+a+path+`", access: admin}]`, `[a/c, a/c, {repository: a/d, repository: "`+a+path+`"}]`,
				`[{project: "`+a+path+`"}]`, `"`+a+path+`"`, `[["`+a+path+`"]]`)
		}
	}
	for _, key := range []string{body, "AAAA" + secret, "ssh-ed25519 " + body, "ssh-ed25519 AAAA" + secret + "=", secret + strings.TrimPrefix(hostKey, "ssh-ed25519"), "-----BEGIN PRIVATE KEY----- " + secret, "- " + secret} {
		fields["host_keys"] = append(fields["host_keys"], `["`+key+`"]`, `["`+hostKey+`", "`+hostKey+`", "`+key+`"]`, `"`+key+`"`)
	}
	fields["credential"] = []string{
		"{username: " + secret + ", token: {env: T}}", "{username: " + secret + ", username: " + secret + ", token: {env: T}}", "{username: [" + secret + "], token: {env: T}}",
	}
	for field, values := range fields {
		for _, value := range values {
			for _, kind := range []string{"gitea", "github", "gittea"} {
				text := fmt.Sprintf("fleet: ci\nusers: [a]\nforges: [{kind: %s, %s: %s, bnid: x}]\n", kind, field, value)
				_, err := config.Parse("x.yaml", []byte(text))
				if err == nil || strings.Contains(err.Error(), secret) {
					t.Errorf("the secret of\n%s\nis shown by\n%v", text, err)
				}
			}
		}
	}
}
