package sshagent

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent/unixsock"
)

type hintCase struct {
	argv []string
	want hint
}

func checkHints(t *testing.T, cases map[string]hintCase) {
	t.Helper()
	for name, c := range cases {
		if diff := cmp.Diff(c.want, readHint(c.argv), cmp.AllowUnexported(hint{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

const (
	uploadPack  = "git-upload-pack '/acme/api.git'"
	receivePack = "git-receive-pack 'acme/api.git'"
)

func api(port int) hint { return hint{host: "git.test", port: port, path: "acme/api.git"} }

func argv(args ...string) []string { return args }

func TestReadHint(t *testing.T) {
	checkHints(t, map[string]hintCase{
		// As git starts it for git@git.test:acme/api.git and the like.
		"scp":              {argv("/usr/bin/ssh", "git@git.test", "git-upload-pack 'acme/api.git'"), api(0)},
		"url":              {argv("ssh", "git@git.test", uploadPack), api(0)},
		"protocol 2":       {argv("ssh", "-o", "SendEnv=GIT_PROTOCOL", "git@git.test", uploadPack), api(0)},
		"port":             {argv("ssh", "-o", "SendEnv=GIT_PROTOCOL", "-p", "2222", "git@git.test", uploadPack), api(2222)},
		"port together":    {argv("ssh", "-4Tp2222", "git@git.test", uploadPack), api(2222)},
		"port after":       {argv("ssh", "git@git.test", "-p", "2222", uploadPack), api(2222)},
		"two ports":        {argv("ssh", "-p", "2222", "-p", "22", "git@git.test", uploadPack), api(2222)},
		"no user":          {argv("ssh", "-l", "git", "git.test", uploadPack), api(0)},
		"file and agent":   {argv("ssh", "-F", "/etc/ssh/x", "-oIdentityAgent=/run/a", "-i", "/k", "git@git.test", uploadPack), api(0)},
		"end of options":   {argv("ssh", "-p", "2222", "--", "git@git.test", uploadPack), api(2222)},
		"ssh url":          {argv("ssh", "ssh://git@git.test:2222", uploadPack), api(2222)},
		"ssh url, slash":   {argv("ssh", "ssh://git.test/", uploadPack), api(0)},
		"ipv6 url":         {argv("ssh", "ssh://git@[::1]:2222", uploadPack), hint{host: "::1", port: 2222, path: "acme/api.git"}},
		"ipv6 url no port": {argv("ssh", "ssh://git@[::1]", uploadPack), hint{host: "::1", path: "acme/api.git"}},
		"ipv6":             {argv("ssh", "git@[::1]", uploadPack), hint{host: "::1", path: "acme/api.git"}},
		"words apart":      {argv("ssh", "git@git.test", "git-upload-pack", "acme/api.git"), api(0)},
		"at in the user":   {argv("ssh", "a@b@git.test", uploadPack), api(0)},
		"push":             {argv("ssh", "git@git.test", receivePack), api(0)},
		"archive":          {argv("ssh", "git@git.test", "git-upload-archive 'acme/api.git'"), api(0)},
		"git upload-pack":  {argv("ssh", "git@git.test", "git upload-pack '/acme/api.git'"), api(0)},
		"absolute program": {argv("ssh", "git@git.test", "/usr/lib/git-core/git-upload-pack '/acme/api.git'"), api(0)},
		"options":          {argv("ssh", "git@git.test", "git-upload-pack --strict '/acme/api.git'"), api(0)},
		"lfs":              {argv("ssh", "git@git.test", "git-lfs-authenticate acme/api.git download"), api(0)},
		"lfs, quoted":      {argv("ssh", "-p", "2222", "git@git.test", "git-lfs-authenticate '/acme/api.git' 'upload'"), api(2222)},
		"lfs transfer":     {argv("ssh", "git@git.test", "git-lfs-transfer acme/api.git upload"), api(0)},
		"double quotes":    {argv("ssh", "git@git.test", `git-upload-pack "/acme/api.git"`), api(0)},
		"home":             {argv("ssh", "git@git.test", "git-upload-pack '/~/acme/api.git'"), api(0)},
		"user's home":      {argv("ssh", "git@git.test", "git-upload-pack '~ci/api.git'"), hint{host: "git.test", path: "~ci/api.git"}},
		"slashes":          {argv("ssh", "git@git.test", "git-upload-pack '//acme//api.git//'"), api(0)},
		"quote in it":      {argv("ssh", "git@git.test", `git-upload-pack 'acme/it'\''s.git'`), hint{host: "git.test", path: "acme/it's.git"}},

		"no command":         {argv("ssh", "-T", "git@git.test"), hint{host: "git.test"}},
		"another command":    {argv("ssh", "git@git.test", "uptime"), hint{host: "git.test"}},
		"jump":               {argv("ssh", "-l", "ci", "-p", "2200", "-W", "[git.test]:22", "jump.test"), hint{host: "jump.test", port: 2200}},
		"through a jump":     {argv("ssh", "-J", "ci@jump.test:2200", "git@git.test", uploadPack), api(0)},
		"two commands":       {argv("ssh", "git@git.test", uploadPack+"; rm -rf /"), hint{host: "git.test"}},
		"substitution":       {argv("ssh", "git@git.test", "git-upload-pack \"$(id)\""), hint{host: "git.test"}},
		"open quote":         {argv("ssh", "git@git.test", "git-upload-pack 'acme/api.git"), hint{host: "git.test"}},
		"no path":            {argv("ssh", "git@git.test", "git-upload-pack"), hint{host: "git.test"}},
		"git alone":          {argv("ssh", "git@git.test", "git upload-pack"), hint{host: "git.test"}},
		"options only":       {argv("ssh", "git@git.test", "git-upload-pack --strict"), hint{host: "git.test"}},
		"shell of the forge": {argv("ssh", "git@git.test", "git-shell 'acme/api.git'"), hint{host: "git.test"}},
		"empty path":         {argv("ssh", "git@git.test", "git-upload-pack '/'"), hint{host: "git.test"}},
		"empty quoted path":  {argv("ssh", "git@git.test", "git-upload-pack ''"), hint{host: "git.test"}},
		"port out of range":  {argv("ssh", "-p", "70000", "git@git.test", uploadPack), api(0)},
		"option without":     {argv("ssh", "-p"), hint{}},
		"dash":               {argv("ssh", "-", "git@git.test", uploadPack), hint{host: "-"}},
	})
}

// Programs that are not OpenSSH, and what stands before a program.
func TestReadHintOfOtherPrograms(t *testing.T) {
	checkHints(t, map[string]hintCase{
		"dropbear":          {argv("/usr/bin/dbclient", "-y", "-p", "2222", "git@git.test", uploadPack), api(2222)},
		"dropbear, numbers": {argv("dbclient", "-K", "60", "-I", "9", "-W", "1000", "git@git.test^2222", uploadPack), api(2222)},
		"dropbear, hops":    {argv("dbclient", "-y", "ci@jump.test^2200,git@git.test", uploadPack), api(0)},
		"dropbear, hop":     {argv("dbclient", "-y", "-B", "git.test:22", "ci@jump.test^2200"), hint{host: "jump.test", port: 2200}},
		"dropbear, one for": {argv("dropbearmulti", "dbclient", "-p", "22", "-p", "2222", "git@git.test", uploadPack), api(2222)},
		"dropbear as ssh":   {argv("ssh", "-y", "-p", "2222", "-J", "nc %h", "git@git.test", uploadPack), api(2222)},
		"plink":             {argv("plink", "-batch", "-P", "2222", "git@git.test", uploadPack), api(2222)},
		"plink, values":     {argv("plink", "-ssh", "-i", "k.ppk", "-hostkey", "SHA256:x", "-P", "22", "-P", "2222", "git@git.test", uploadPack), api(2222)},
		"plink, a tunnel":   {argv("plink", "-nc", "git.test:22", "jump.test"), hint{host: "jump.test"}},
		"plink, lfs":        {argv("plink", "-P", "2222", "git@git.test", "git-lfs-transfer", "/acme/api.git", "upload"), api(2222)},
		"tortoise":          {argv("/c/TortoiseGit/bin/TortoisePlink.exe", "-batch", "-P", "2222", "git@git.test", "git-upload-pack", "acme/api.git"), api(2222)},

		"interpreter":       {argv("/usr/bin/python3", "/opt/bin/ssh", "-p", "2222", "git@git.test", uploadPack), api(2222)},
		"loader":            {argv("/lib64/ld-linux-x86-64.so.2", "/usr/bin/ssh", "git@git.test", "-p", "2222", uploadPack), api(2222)},
		"wrapper":           {argv("python3", "/opt/wrap", "git@git.test", uploadPack), api(0)},
		"wrapper, ssh":      {argv("/opt/wrap", "-o", "SendEnv=GIT_PROTOCOL", "-p", "2222", "git@git.test", uploadPack), api(2222)},
		"wrapper, plink":    {argv("/opt/wrap", "-batch", "-P", "2222", "git@git.test", uploadPack), api(2222)},
		"wrapper, no user":  {argv("/opt/wrap", "git.test", receivePack), api(0)},
		"wrapper, url":      {argv("/opt/wrap", "ssh://git@git.test:2222", receivePack), api(2222)},
		"command only":      {argv("wrap", uploadPack), hint{path: "acme/api.git"}},
		"option before":     {argv("wrap", "-x", uploadPack), hint{path: "acme/api.git"}},
		"port before":       {argv("wrap", "-p", "2222", uploadPack), hint{port: 2222, path: "acme/api.git"}},
		"port at the end":   {argv("wrap", "-p", uploadPack), hint{path: "acme/api.git"}},
		"script before":     {argv("python3", "/opt/wrap", uploadPack), hint{path: "acme/api.git"}},
		"after the command": {argv("wrap", "git@git.test", uploadPack, "--verbose"), hint{}},

		"bare":             {argv("ssh"), hint{}},
		"none":             {nil, hint{}},
		"empty":            {argv("", ""), hint{}},
		"empty arguments":  {argv("ssh", "", "", uploadPack), hint{path: "acme/api.git"}},
		"other program":    {argv("java", "-jar", "agent.jar"), hint{}},
		"mux title":        {argv("ssh: /run/user/1000/git-lfs/sock-1a2b [mux]"), hint{}},
		"mux title, rests": {argv("ssh: /run/user/1000/sock/ssh [mux]", "", "", ""), hint{}},
		"title with all":   {argv("ssh git@git.test " + uploadPack), hint{}},
		"control bytes":    {argv("ssh", "git@git.test\x1b[2J", "git-upload-pack 'acme/\napi'"), hint{host: "git.test\x1b[2J", path: "acme/\napi"}},
		"no UTF-8":         {argv("wrap", "git@\xff", "git-upload-pack '\xff/\xfe'"), hint{path: "\xff/\xfe"}},
	})
}

// Programs that speak SSH themselves.
func TestReadHintFromAURL(t *testing.T) {
	const url = "ssh://git@git.test:2222/acme/api.git"
	checkHints(t, map[string]hintCase{
		"jgit":             {argv("java", "-cp", "/usr/share/java/x.jar:y.jar", "org.eclipse.jgit.pgm.Main", "clone", url), api(2222)},
		"dulwich":          {argv("/usr/bin/python3", "/usr/bin/dulwich", "clone", "ssh://git.test/acme/api.git", "target"), api(0)},
		"scp":              {argv("go-git-app", "git@git.test:acme/api.git"), api(0)},
		"scp, slash":       {argv("go-git-app", "git@git.test:/acme/api.git"), api(0)},
		"scp, ipv6":        {argv("go-git-app", "git@[::1]:acme/api.git"), hint{host: "::1", path: "acme/api.git"}},
		"other schemes":    {argv("app", "git+ssh://git@git.test/acme/api.git", "ssh+git://git@git.test/acme/api.git"), api(0)},
		"in an option":     {argv("app", "--url="+url), api(2222)},
		"in a property":    {argv("java", "-Durl="+url, "Main"), api(2222)},
		"percent":          {argv("app", "ssh://git@git.test/%7Ejo/a%70i.git"), hint{host: "git.test", path: "~jo/api.git"}},
		"percent, bad":     {argv("app", "ssh://git@git.test/acme/%zz"), hint{host: "git.test", path: "acme/%zz"}},
		"scp, percent":     {argv("app", "git@git.test:acme/a%70i"), hint{host: "git.test", path: "acme/a%70i"}},
		"password":         {argv("app", "ssh://git:secret@git.test/acme/api.git"), api(0)},
		"named like ssh":   {argv("app", "git@git.test:acme/ssh"), hint{host: "git.test", path: "acme/ssh"}},
		"url called plink": {argv("app", "ssh://git@git.test/acme/plink"), hint{host: "git.test", path: "acme/plink"}},

		"twice":           {argv("app", url, "x", url), api(2222)},
		"two ports":       {argv("app", url, "git@git.test:acme/api.git"), api(0)},
		"two paths":       {argv("app", "git@git.test:acme/api.git", "git@git.test:acme/web.git"), hint{host: "git.test"}},
		"two, and again":  {argv("app", "git@git.test:a/b", "git@Git.test:c/d", "git@git.test:a/b"), hint{host: "git.test"}},
		"two hosts":       {argv("app", "git@git.test:acme/api.git", "git@evil.test:acme/api.git"), hint{}},
		"two hosts, then": {argv("app", "git@git.test:a/b", "git@evil.test:a/b", "git@git.test:a/b"), hint{}},

		"https":          {argv("app", "https://git@git.test/acme/api.git"), hint{}},
		"https, port":    {argv("app", "https://git@git.test:443/acme/api.git"), hint{}},
		"no user":        {argv("app", "git.test:acme/api.git"), hint{}},
		"empty user":     {argv("app", "@git.test:acme/api.git"), hint{}},
		"image":          {argv("app", "registry.test:5000/acme/api@sha256:00"), hint{}},
		"file":           {argv("app", "/a@b:c/d"), hint{}},
		"scheme":         {argv("app", "mailto:jo@git.test:a/b"), hint{}},
		"mail":           {argv("app", "jo@git.test"), hint{}},
		"sentence":       {argv("app", "mail jo@git.test: a/b"), hint{}},
		"new line":       {argv("app", "git@git.test:a/b\n"), hint{}},
		"other alphabet": {argv("app", "git@gît.test:a/b"), hint{}},
		"no path":        {argv("app", "ssh://git@git.test/", "ssh://git@git.test", "git@git.test:", "git@git.test:/"), hint{}},
		"no host":        {argv("app", "ssh:///acme/api.git", "git@:acme/api"), hint{}},
		"slash in host":  {argv("app", "git@a/b:c/d"), hint{}},
		"open bracket":   {argv("app", "git@[::1:a/b", "ssh://"), hint{}},
		"option of ssh":  {argv("app", "-ossh://git@git.test/a/b"), hint{}},
	})
}

// sqQuote quotes as git does (quote.c: sq_quote_buf).
func sqQuote(s string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(s) + "'"
}

func FuzzReadHint(f *testing.F) {
	f.Add("ssh\x00-o\x00SendEnv=GIT_PROTOCOL\x00-p\x002222\x00git@git.test\x00git-upload-pack '/acme/api.git'")
	f.Add("dbclient\x00-p\x0022\x00a@b,git@git.test^22\x00git-receive-pack '/acme/api.git'")
	f.Add("plink\x00-batch\x00-P\x0022\x00git@git.test\x00git-upload-archive 'acme/api.git'")
	f.Add("ssh\x00ssh://git@[::1]:22/\x00git\x00lfs-transfer\x00a/b")
	f.Add("ssh\x00--\x00-p")
	f.Add("wrap\x00-P")
	f.Add("wrap\x00git@git.test\x00git-lfs-authenticate a/it's upload")
	f.Add("java\x00Main\x00clone\x00ssh://git@git.test:22/~jo/a%70i.git\x00git@git.test:a/b")
	f.Add("ssh: /run/ssh [mux]\x00\x00\x00")
	f.Fuzz(func(t *testing.T, text string) {
		checkHint(t, text)
		checkQuoting(t, text)
	})
}

func checkHint(t *testing.T, text string) {
	t.Helper()
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
	if strings.HasPrefix(h.path, "/") || strings.HasSuffix(h.path, "/") || strings.Contains(h.path, "//") {
		t.Fatalf("path %q", h.path)
	}
	if h.path == "" || h.host != "" {
		return
	}
	for i := range argv { // without a host there must be a command
		if _, ok := gitPath(strings.Join(argv[i:], " ")); ok {
			return
		}
	}
	t.Fatalf("a path from nowhere: %q", h.path)
}

// checkQuoting demands that what git quotes comes back as it was.
func checkQuoting(t *testing.T, p string) {
	t.Helper()
	if p == "" || p[0] == '-' { // git itself does not send the latter
		return
	}
	for _, service := range gitServices() {
		if got, ok := gitPath(service + " " + sqQuote(p)); !ok || got != p {
			t.Fatalf("%s: %q came back as %q, %v", service, p, got, ok)
		}
	}
	if strings.ContainsRune(p, 0) {
		return
	}
	want := hint{host: "git.test", path: tidy(p)}
	if len(want.path) > maxPath {
		want = hint{}
	}
	for _, program := range []string{"ssh", "dbclient", "plink", "wrap"} {
		if got := readHint([]string{program, "git@git.test", "git-upload-pack " + sqQuote(p)}); got != want {
			t.Fatalf("%s: %q was read as %+v", program, p, got)
		}
	}
}

// As long as a command line that is read can be.
func TestReadHintOfLongCommandLines(t *testing.T) {
	const size = unixsock.MaxCommandLine
	checkHints(t, map[string]hintCase{
		"one URL many times": {slices.Repeat(argv("git@git.test:acme/api.git"), size/26), api(0)},
		"options":            {append(argv("ssh"), slices.Repeat(argv("-p"), size/3)...), hint{}},
		"many words":         {append(argv("ssh", "git@git.test", "git-upload-pack"), slices.Repeat(argv("-x"), size/3)...), hint{host: "git.test"}},
		"a long path":        {argv("ssh", "git@git.test", "git-upload-pack acme/api.git"+strings.Repeat("/", size)), api(0)},
		"a long host":        {argv("ssh", strings.Repeat("@", size)+"git.test", uploadPack), api(0)},
	})
}
