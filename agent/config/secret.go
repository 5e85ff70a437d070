package config

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"
)

// No message of this file repeats a value: where a place of a secret belongs,
// the secret itself is written by mistake.

func readSecret(w *walk, v value, ref *CredentialRef) {
	const fix = "write the secret into a file that only its owner may read, and {file: /its/path} here; if it was real, revoke it"
	if v.node.Kind == yaml.ScalarNode && !isNull(v.node) {
		w.report(v, "a secret must not stand in the configuration", fix)
		return
	}
	ref.Line = v.line
	here := readMapping(w, v, secretFields(), ref)
	if here == nil {
		return
	}
	var places []string
	for _, f := range secretForms() {
		if _, given := here[f.needs[0]]; given {
			places = append(places, f.needs[0])
		}
	}
	_, command := here["command"]
	limit, limited := here["timeout"]
	unknown := len(v.node.Content) > 2*len(here)
	switch {
	case len(places) > 1:
		w.report(v, "several places of one secret", "keep one of "+strings.Join(places, " and "))
	case len(places) == 0 && !unknown:
		w.report(v, "the place of the secret is missing", "add file: /the/path, systemd: NAME, command: [PROGRAM, ARGUMENT] or env: NAME")
	case limited && !command:
		w.report(limit, "a time limit is for a command alone", "remove the timeout")
	}
	if !command {
		ref.Timeout = 0
	}
}

func readSecretFile(w *walk, v value, ref *CredentialRef) {
	const fix = "write an absolute path, such as /etc/deploykeyd/forge.token"
	s, ok := w.text(v, fix)
	if ok && !isPlainPath(s) {
		w.report(v, "not an absolute path", fix)
		return
	}
	ref.File = s
}

func isPlainPath(s string) bool { return path.IsAbs(s) && !strings.ContainsFunc(s, unicode.IsControl) }

// tokenPrefixes are how forges' and vaults' tokens begin, so that one is known
// wherever it turns up. What is written here by mistake in a name's place would be
// repeated in messages as a name.
//
//   - GitHub, "About authentication to GitHub" (token formats)
//   - GitLab, "Token overview" (token prefixes)
//   - Atlassian: API tokens, access tokens and app passwords of Bitbucket Cloud,
//     and tokens of Bitbucket Data Center
//   - HashiCorp Vault, "Tokens" (token prefixes)
func tokenPrefixes() []string {
	return []string{
		"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_",
		"glpat-", "gloas-", "gldt-", "glrt-", "glrtr-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "glwt-", "glsoat-", "glffct-",
		"ATATT", "ATCTT", "ATBB", "BBDC-",
		"hvs.", "hvb.", "hvr.",
	}
}

// isName reports whether s matches the pattern of a name and is no token of a known
// kind. Of others, Gitea's have 40 characters and Bitbucket's client secrets 32: a
// pattern that allows small letters should end before that.
func isName(matches func(string) bool, s string) bool {
	return matches(s) && !slices.ContainsFunc(tokenPrefixes(), func(p string) bool { return strings.HasPrefix(s, p) })
}

// systemdPattern is narrower than what systemd allows, in its length.
var systemdPattern = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,30}$`)

func readSecretSystemd(w *walk, v value, ref *CredentialRef) {
	const fix = "write the name of a file in /etc/deploykeyd/credentials, without the folder; a secret itself must not stand here"
	s, ok := w.text(v, fix)
	if ok && !isName(v.is.matches, s) {
		w.report(v, "not the name of a credential: letters, digits and . _ - are allowed, 31 at most, and no dot in front", fix)
		return
	}
	ref.Systemd = s
}

// maxCommand is how many words a command may have, its program included.
const maxCommand = 64

// programPattern is a program to be looked for in PATH. It keeps out a whole
// command line, and a path that depends on where the daemon runs.
var programPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,30}$`)

func readSecretCommand(w *walk, v value, ref *CredentialRef) {
	const fix = "write a list of the program and its arguments, such as [vault, kv, get, -field=token, ci/forge]"
	entries := w.list(v, fix)
	if len(entries) > maxCommand {
		w.report(v, fmt.Sprintf("more than %d words", maxCommand), "write the command into a script, and the script's path here")
		return
	}
	for i, entry := range entries {
		s, ok := w.text(entry, fix)
		switch {
		case !ok:
		case i == 0 && !isName(programPattern.MatchString, s) && !isPlainPath(s):
			w.report(entry, "the program is neither a bare name, of 31 characters at most, nor an absolute path", "write each word of the command as an entry of its own, and first the program: its name, or its whole path")
		case strings.Contains(s, "\x00"):
			w.report(entry, "no program can be given a zero byte", fix)
		default:
			ref.Command = append(ref.Command, s)
		}
	}
}

// envPattern is narrower than what the system allows: most tokens have small
// letters.
var envPattern = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

func readSecretEnv(w *walk, v value, ref *CredentialRef) {
	const fix = "write the name of an environment variable, such as FORGE_TOKEN"
	s, ok := w.text(v, fix)
	if ok && !isName(v.is.matches, s) {
		w.report(v, "not the name of an environment variable in capital letters, digits and _", fix)
		return
	}
	ref.Env = s
}
