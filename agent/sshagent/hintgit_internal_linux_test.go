package sshagent

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"deploykeyd/provision"
)

// fakeSSH stands in the place of an SSH client: it keeps its command line as
// the kernel shows it, with the shell as the first argument, and fails.
const fakeSSH = `#!/bin/sh
cat /proc/$$/cmdline >"$(mktemp "${0%/*}/record/XXXXXXXX")"
exit 255
`

// recording is a folder with that under several names, and a work tree.
type recording struct {
	dir string
	env []string
}

func newRecording(t *testing.T) *recording {
	t.Helper()
	r := &recording{dir: t.TempDir()}
	for _, sub := range []string{"record", "home", "work"} {
		if err := os.Mkdir(filepath.Join(r.dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"ssh", "plink", "tortoiseplink", "wrap"} {
		if err := os.WriteFile(r.program(name), []byte(fakeSSH), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r.env = []string{
		"PATH=" + os.Getenv("PATH"), "LC_ALL=C",
		"HOME=" + filepath.Join(r.dir, "home"), "TMPDIR=" + filepath.Join(r.dir, "home"),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@test", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@test",
	}
	return r
}

func (r *recording) program(name string) string { return filepath.Join(r.dir, name) }

// git runs git with more in its environment and returns what it wrote.
func (r *recording) git(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = filepath.Join(r.dir, "work")
	cmd.Env = slices.Concat(r.env, env)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

func (r *recording) mustGit(t *testing.T, args ...string) {
	t.Helper()
	if out, err := r.git(t, nil, args...); err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
}

// take returns the command lines kept since the last call, without the shell.
func (r *recording) take(t *testing.T) [][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(r.dir, "record", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var lines [][]string
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")[1:])
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	return lines
}

// check demands that every command line says where it goes, whether it is that
// of the client alone or of a shell that runs it.
func (r *recording) check(t *testing.T, what string, lines [][]string, u gitURL) {
	t.Helper()
	if len(lines) == 0 {
		t.Errorf("%s: no SSH client was started", what)
	}
	for _, line := range lines {
		for _, argv := range [][]string{line, slices.Insert(slices.Clone(line), 0, "/bin/sh")} {
			h := readHint(argv)
			if h.host != u.host || h.port != u.port {
				t.Errorf("%s: %q goes to %s:%d, want %s:%d", what, argv, h.host, h.port, u.host, u.port)
			}
			repo, err := provision.ParseClonePath(u.kind, h.path)
			if repo != u.want || (err == nil) != (u.want != "") {
				t.Errorf("%s: %q is after %q (%v), want %q", what, argv, repo, err, u.want)
			}
		}
	}
}

// gitURL is a clone URL and what it means. Git LFS is not asked for those that
// it does not understand itself.
type gitURL struct {
	url   string
	host  string
	port  int
	kind  provision.Kind
	want  provision.Repository // empty: no forge has such a one
	noLFS bool
}

func gitURLs() []gitURL {
	const (
		hub    = provision.GitHub
		lab    = provision.GitLab
		server = provision.BitbucketDataCenter
		cloud  = provision.BitbucketCloud
		tea    = provision.Gitea
	)
	return []gitURL{
		{url: "git@git.test:acme/api.git", host: "git.test", kind: hub, want: "acme/api"},
		{url: "git.test:acme/api", host: "git.test", kind: hub, want: "acme/api"},
		{url: "git@git.test:/acme/api.git", host: "git.test", kind: hub, want: "acme/api"},
		{url: "git@git.test:acme/api.git/", host: "git.test", kind: tea, want: "acme/api"},
		{url: "git@git.test:Acme/API.git", host: "git.test", kind: tea, want: "Acme/API"},
		{url: "[git.test]:acme/api.git", host: "git.test", kind: tea, want: "acme/api", noLFS: true},
		{url: "[git.test:2222]:acme/api.git", host: "git.test", port: 2222, kind: tea, want: "acme/api"},
		{url: "git@[git.test:2222]:acme/api.git", host: "git.test", port: 2222, kind: tea, want: "acme/api", noLFS: true},
		{url: "[git@git.test:2222]:acme/api.git", host: "git.test", port: 2222, kind: tea, want: "acme/api"},
		{url: "git@[::1]:acme/api.git", host: "::1", kind: tea, want: "acme/api", noLFS: true},
		{url: "git@git.test:~/acme/api.git", host: "git.test", kind: tea, want: "acme/api"},
		{url: "git@git.test:g/sub/deep/api.git", host: "git.test", kind: lab, want: "g/sub/deep/api"},
		{url: "git@git.test:{8f}/{9a}.git", host: "git.test", kind: cloud, want: "{8f}/{9a}"},
		{url: "git@git.test:acme/a%70i.git", host: "git.test", kind: hub, noLFS: true}, // which decodes it
		{url: "git@git.test:acme/it's!.git", host: "git.test", kind: hub},
		{url: "git@git.test:acme/a b.git", host: "git.test", kind: hub, noLFS: true},
		{url: "ssh://git@git.test/acme/api.git", host: "git.test", kind: hub, want: "acme/api"},
		{url: "ssh://git.test/acme/api/", host: "git.test", kind: hub, want: "acme/api"},
		{url: "ssh://git@git.test:2222/acme/api.git", host: "git.test", port: 2222, kind: tea, want: "acme/api"},
		{url: "ssh://git@git.test:/acme/api.git", host: "git.test", kind: tea, want: "acme/api", noLFS: true},
		{url: "ssh://git@[::1]:2222/acme/api.git", host: "::1", port: 2222, kind: tea, want: "acme/api", noLFS: true},
		{url: "ssh://git@git.test//acme//api.git", host: "git.test", kind: tea, want: "acme/api"},
		{url: "ssh://git@git.test/~/acme/api.git", host: "git.test", kind: tea, want: "acme/api"},
		{url: "ssh://git@git.test/ac%6De/a%70i.git", host: "git.test", kind: tea, want: "acme/api"},
		{url: "ssh://git@git.test/g/sub/api.git", host: "git.test", kind: lab, want: "g/sub/api"},
		{url: "ssh://git@git.test:7999/PROJ/api.git", host: "git.test", port: 7999, kind: server, want: "PROJ/api"},
		{url: "ssh://git@git.test:7999/scm/proj/api.git", host: "git.test", port: 7999, kind: server, want: "proj/api"},
		{url: "ssh://git@git.test:7999/~jo/api.git", host: "git.test", port: 7999, kind: server, want: "~jo/api"},
		{url: "ssh://git@git.test:7999/%7Ejo/api.git", host: "git.test", port: 7999, kind: server, want: "~jo/api"},
		{url: "git+ssh://git@git.test/acme/api.git", host: "git.test", kind: hub, want: "acme/api"},
	}
}

// Every form of URL, as git and Git LFS pass it on.
func TestReadHintOfEveryURLForm(t *testing.T) {
	needGitLFS(t)
	r := newRecording(t)
	r.mustGit(t, "init", "-q")
	env := []string{"GIT_SSH=" + r.program("ssh")}
	for _, u := range gitURLs() {
		out, _ := r.git(t, env, "ls-remote", u.url)
		r.check(t, u.url+"\n"+out, r.take(t), u)
		if u.noLFS {
			continue
		}
		out, _ = r.git(t, env, "-c", "remote.origin.url="+u.url, "-c", "lfs.ssh.retries=1", "lfs", "locks")
		lines := r.take(t)
		r.check(t, "Git LFS: "+u.url+"\n"+out, lines, u)
		for _, service := range []string{"git-lfs-transfer", "git-lfs-authenticate"} {
			if !slices.ContainsFunc(lines, func(argv []string) bool { return strings.HasPrefix(argv[len(argv)-1], service+" ") }) {
				t.Errorf("Git LFS does not ask for %s: %q", service, lines)
			}
		}
	}
}

func needGitLFS(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("git-lfs"); err != nil {
		t.Fatalf("git-lfs is missing: install the package git-lfs: %v", err)
	}
}

// Every way in which git can be told which SSH client to use, and of which kind
// it is. What is run in between has left when the client asks for a key.
func TestReadHintOfEveryWayToRunSSH(t *testing.T) {
	r := newRecording(t)
	command := func(c, variant string) []string {
		return []string{"GIT_SSH_COMMAND=" + c, "GIT_SSH_VARIANT=" + variant}
	}
	ssh, wrap := r.program("ssh"), r.program("wrap")
	for name, c := range map[string]struct {
		env, args []string
		noPort    bool
	}{
		"GIT_SSH":             {env: []string{"GIT_SSH=" + ssh}},
		"GIT_SSH_COMMAND":     {env: []string{"GIT_SSH_COMMAND=" + ssh + " -x -i '/a b' -oUser=git"}},
		"core.sshCommand":     {args: []string{"-c", "core.sshCommand=" + ssh + " -v"}},
		"plink":               {env: []string{"GIT_SSH=" + r.program("plink")}},
		"plink with values":   {env: []string{"GIT_SSH_COMMAND=" + r.program("plink") + " -i k -hostkey x"}},
		"tortoiseplink":       {env: []string{"GIT_SSH=" + r.program("tortoiseplink")}},
		"variant ssh":         {env: command(wrap, "ssh")},
		"variant putty":       {env: command(wrap, "putty")},
		"variant plink":       {env: command(wrap, "plink")},
		"variant tortoise":    {env: command(wrap, "tortoiseplink")},
		"variant simple":      {env: command(wrap, "simple"), noPort: true},
		"unknown":             {env: []string{"GIT_SSH=" + wrap}, noPort: true},
		"env and timeout":     {env: command("env A=b timeout 60 "+ssh, "ssh")},
		"a shell":             {env: command(`sh -c 'exec "$0" "$@"' `+ssh, "ssh")},
		"a shell that stays":  {env: command(`sh -c '"$0" "$@"; exit $?' `+ssh, "ssh")},
		"protocol 0":          {env: []string{"GIT_SSH=" + ssh}, args: []string{"-c", "protocol.version=0"}},
		"a URL that is short": {env: []string{"GIT_SSH=" + ssh}, args: []string{"-c", "url.ssh://git@git.test/acme/api.git.insteadOf=x:"}},
	} {
		for _, u := range []gitURL{
			{url: "ssh://git@git.test:2222/acme/api.git", host: "git.test", port: 2222, kind: provision.Gitea, want: "acme/api"},
			{url: "git@git.test:acme/api.git", host: "git.test", kind: provision.Gitea, want: "acme/api"},
			{url: "git.test:acme/api.git", host: "git.test", kind: provision.Gitea, want: "acme/api"},
		} {
			if u.port != 0 && c.noPort {
				continue // git refuses it
			}
			out, _ := r.git(t, c.env, slices.Concat(c.args, []string{"ls-remote", u.url})...)
			// To learn what an unknown client can, git starts it with -G first.
			lines := slices.DeleteFunc(r.take(t), func(argv []string) bool { return argv[1] == "-G" })
			r.check(t, name+": "+u.url+"\n"+out, lines, u)
		}
	}
}

// workTree makes a repository with a submodule and a file of Git LFS.
func (r *recording) workTree(t *testing.T) {
	t.Helper()
	r.mustGit(t, "init", "-q")
	for name, text := range map[string]string{
		".gitmodules":    "[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib.git\n",
		".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
		"x.bin":          "large",
	} {
		if err := os.WriteFile(filepath.Join(r.dir, "work", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.mustGit(t, "lfs", "install", "--local")
	r.mustGit(t, "add", ".")
	r.mustGit(t, "update-index", "--add", "--cacheinfo", "160000,4b825dc642cb6eb9a060e54bf8d69288fbee4904,lib")
	r.mustGit(t, "commit", "-qm", "x")
}

// Every command of git that connects. URL stands for the repository's.
func TestReadHintOfEveryGitCommand(t *testing.T) {
	needGitLFS(t)
	r := newRecording(t)
	r.workTree(t)
	env := []string{"GIT_SSH=" + r.program("ssh"), "XDG_RUNTIME_DIR=" + filepath.Join(r.dir, "home")}
	for _, at := range []gitURL{
		{url: "git@git.test:acme/", host: "git.test", kind: provision.GitHub, want: "acme/api"},
		{url: "ssh://git@git.test:2222/acme/", host: "git.test", port: 2222, kind: provision.Gitea, want: "acme/api"},
	} {
		r.mustGit(t, "config", "remote.origin.url", at.url+"api.git")
		for service, commands := range map[string][]string{
			"git-upload-pack": {
				"clone URL", "clone -4 --depth 1 URL", "clone -6 --bare --filter=tree:0 URL", "ls-remote URL", "fetch origin",
				"pull origin main", "remote update", "remote show origin", "fetch --upload-pack=/opt/git-upload-pack origin",
			},
			"git-receive-pack":   {"-c lfs.locksverify=false push --no-verify origin HEAD:main", "send-pack URL HEAD"},
			"git-upload-archive": {"archive --remote=URL HEAD"},
			"git-lfs-transfer":   {"lfs push --all origin", "lfs fetch --all", "lfs locks", "lfs lock x.bin"},
		} {
			for _, command := range commands {
				out, _ := r.git(t, env, strings.Fields(strings.ReplaceAll(command, "URL", at.url+"api.git"))...)
				lines := r.take(t)
				r.check(t, command+"\n"+out, lines, at)
				if !slices.ContainsFunc(lines, func(argv []string) bool { return strings.Contains(argv[len(argv)-1], service+" ") }) {
					t.Errorf("git %s starts no %s: %q", command, service, lines)
				}
			}
		}
		out, _ := r.git(t, env, "submodule", "update", "--init")
		at.want = "acme/lib"
		r.check(t, "submodule\n"+out, r.take(t), at)
		r.mustGit(t, "submodule", "deinit", "-f", "lib")
	}
}
