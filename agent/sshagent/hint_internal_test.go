package sshagent

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadHint(t *testing.T) {
	const cmd = "git-upload-pack '/acme/api.git'"
	api := hint{host: "git.test", path: "acme/api.git"}
	port := hint{host: "git.test", port: 2222, path: "acme/api.git"}
	for name, c := range map[string]struct {
		argv []string
		want hint
	}{
		// As git starts it for git@git.test:acme/api.git and the like.
		"scp":              {[]string{"/usr/bin/ssh", "git@git.test", "git-upload-pack 'acme/api.git'"}, api},
		"url":              {[]string{"ssh", "git@git.test", cmd}, api},
		"protocol 2":       {[]string{"ssh", "-o", "SendEnv=GIT_PROTOCOL", "git@git.test", cmd}, api},
		"port":             {[]string{"ssh", "-o", "SendEnv=GIT_PROTOCOL", "-p", "2222", "git@git.test", cmd}, port},
		"port together":    {[]string{"ssh", "-4Tp2222", "git@git.test", cmd}, port},
		"port after":       {[]string{"ssh", "git@git.test", "-p", "2222", cmd}, port},
		"no user":          {[]string{"ssh", "-l", "git", "git.test", cmd}, api},
		"file and agent":   {[]string{"ssh", "-F", "/etc/ssh/x", "-oIdentityAgent=/run/a", "-i", "/k", "git@git.test", cmd}, api},
		"end of options":   {[]string{"ssh", "-p", "2222", "--", "git@git.test", cmd}, port},
		"ssh url":          {[]string{"ssh", "ssh://git@git.test:2222", cmd}, port},
		"ssh url, slash":   {[]string{"ssh", "ssh://git.test/", cmd}, api},
		"ipv6 url":         {[]string{"ssh", "ssh://git@[::1]:2222", cmd}, hint{host: "::1", port: 2222, path: "acme/api.git"}},
		"ipv6 url no port": {[]string{"ssh", "ssh://git@[::1]", cmd}, hint{host: "::1", path: "acme/api.git"}},
		"ipv6":             {[]string{"ssh", "git@[::1]", cmd}, hint{host: "::1", path: "acme/api.git"}},
		"words apart":      {[]string{"ssh", "git@git.test", "git-upload-pack", "acme/api.git"}, api},
		"at in the user":   {[]string{"ssh", "a@b@git.test", cmd}, api},
		"push":             {[]string{"ssh", "git@git.test", "git-receive-pack 'acme/api.git'"}, api},
		"archive":          {[]string{"ssh", "git@git.test", "git-upload-archive 'acme/api.git'"}, api},
		"git upload-pack":  {[]string{"ssh", "git@git.test", "git upload-pack '/acme/api.git'"}, api},
		"absolute program": {[]string{"ssh", "git@git.test", "/usr/lib/git-core/git-upload-pack '/acme/api.git'"}, api},
		"options":          {[]string{"ssh", "git@git.test", "git-upload-pack --strict '/acme/api.git'"}, api},
		"lfs":              {[]string{"ssh", "git@git.test", "git-lfs-authenticate acme/api.git download"}, api},
		"lfs, quoted":      {[]string{"ssh", "-p", "2222", "git@git.test", "git-lfs-authenticate '/acme/api.git' 'upload'"}, port},
		"lfs transfer":     {[]string{"ssh", "git@git.test", "git-lfs-transfer acme/api.git upload"}, api},
		"double quotes":    {[]string{"ssh", "git@git.test", `git-upload-pack "/acme/api.git"`}, api},
		"home":             {[]string{"ssh", "git@git.test", "git-upload-pack '/~/acme/api.git'"}, api},
		"user's home":      {[]string{"ssh", "git@git.test", "git-upload-pack '~ci/api.git'"}, hint{host: "git.test", path: "~ci/api.git"}},
		"quote in it":      {[]string{"ssh", "git@git.test", `git-upload-pack 'acme/it'\''s.git'`}, hint{host: "git.test", path: "acme/it's.git"}},
		"dropbear":         {[]string{"/usr/bin/dbclient", "-p", "2222", "git@git.test", cmd}, port},
		"plink":            {[]string{"plink", "-batch", "-P", "2222", "git@git.test", cmd}, port},
		"wrapper":          {[]string{"python3", "/opt/ssh-wrap", "git@git.test", cmd}, api},

		"no command":          {[]string{"ssh", "-T", "git@git.test"}, hint{host: "git.test"}},
		"another command":     {[]string{"ssh", "git@git.test", "uptime"}, hint{host: "git.test"}},
		"jump":                {[]string{"ssh", "-W", "[git.test]:22", "jump.test"}, hint{host: "jump.test"}},
		"two commands":        {[]string{"ssh", "git@git.test", cmd + "; rm -rf /"}, hint{host: "git.test"}},
		"substitution":        {[]string{"ssh", "git@git.test", "git-upload-pack \"$(id)\""}, hint{host: "git.test"}},
		"open quote":          {[]string{"ssh", "git@git.test", "git-upload-pack 'acme/api.git"}, hint{host: "git.test"}},
		"no path":             {[]string{"ssh", "git@git.test", "git-upload-pack"}, hint{host: "git.test"}},
		"git alone":           {[]string{"ssh", "git@git.test", "git upload-pack"}, hint{host: "git.test"}},
		"options only":        {[]string{"ssh", "git@git.test", "git-upload-pack --strict"}, hint{host: "git.test"}},
		"shell of the forge":  {[]string{"ssh", "git@git.test", "git-shell 'acme/api.git'"}, hint{host: "git.test"}},
		"empty path":          {[]string{"ssh", "git@git.test", "git-upload-pack '/'"}, hint{host: "git.test"}},
		"port out of range":   {[]string{"ssh", "-p", "70000", "git@git.test", cmd}, api},
		"option without":      {[]string{"ssh", "-p"}, hint{}},
		"bare":                {[]string{"ssh"}, hint{}},
		"none":                {nil, hint{}},
		"empty":               {[]string{"", ""}, hint{}},
		"other program":       {[]string{"java", "-jar", "agent.jar"}, hint{}},
		"other, command only": {[]string{"wrap", cmd}, hint{path: "acme/api.git"}},
		"other, option":       {[]string{"wrap", "-x", cmd}, hint{path: "acme/api.git"}},
	} {
		if diff := cmp.Diff(c.want, readHint(c.argv), cmp.AllowUnexported(hint{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestShellWords(t *testing.T) {
	for in, want := range map[string][]string{
		"":                   nil,
		"  a\tb ":            {"a", "b"},
		`'a b'"c d"e\ f`:     {"a bc de f"},
		`''`:                 {""},
		`"a\"b\\c\d"`:        {`a"b\c\d`},
		`'\'`:                {`\`},
		`git-x 'a'\!'b.git'`: {"git-x", "a!b.git"},
	} {
		got, ok := shellWords(in)
		if diff := cmp.Diff(want, got); diff != "" || !ok {
			t.Errorf("%q: %v (-want +got):\n%s", in, ok, diff)
		}
	}
	for _, in := range []string{"'", `"`, `"\`, `\`, "a;b", "a|b", "a&b", "a\nb", "$a", "`a`", `"$a"`, "\"`a`\"", "(a)", "a>b", "a<b", "a*", "a?"} {
		if got, ok := shellWords(in); ok {
			t.Errorf("%q: got %q", in, got)
		}
	}
}

func FuzzReadHint(f *testing.F) {
	f.Add("ssh\x00-o\x00SendEnv=GIT_PROTOCOL\x00-p\x002222\x00git@git.test\x00git-upload-pack '/acme/api.git'")
	f.Add("dbclient\x00-p\x0022\x00git@git.test\x00git-receive-pack '/acme/api.git'")
	f.Add("ssh\x00ssh://git@[::1]:22/\x00git\x00lfs-transfer\x00a/b")
	f.Add("ssh\x00--\x00-p")
	f.Add("wrap\x00-P")
	f.Fuzz(func(t *testing.T, text string) {
		argv := strings.Split(text, "\x00")
		h := readHint(argv)
		if h.port < 0 || h.port > 65535 {
			t.Fatalf("port %d", h.port)
		}
		if !strings.Contains(text, h.host) {
			t.Fatalf("host %q is not in %q", h.host, text)
		}
		if len(h.path) > len(text) {
			t.Fatalf("path %q is longer than %q", h.path, text)
		}
	})
}
