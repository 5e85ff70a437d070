package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// Real SSH clients at real sockets: what works with each, and that what does not
// is refused for the reason in the log. It makes the table of docs/clients.md.
func TestClients(t *testing.T) {
	t.Parallel()
	lab := newLab(t)
	clients := clients()
	var versions []string
	for _, c := range clients {
		versions = append(versions, c.version(t, lab))
	}
	var trials []*trial
	for i, c := range clients {
		for _, where := range places() {
			if where.applies == nil || where.applies(c) {
				trials = append(trials, &trial{lab: lab, client: c, row: i, place: where, gid: firstGID + len(trials)})
			}
		}
	}
	t.Run("trials", func(t *testing.T) {
		for _, r := range trials {
			t.Run(r.name(), func(t *testing.T) {
				t.Parallel()
				r.run(t)
			})
		}
	})
	if t.Failed() {
		return
	}
	// The end of a daemon is the end of its log.
	for _, d := range []*daemon{lab.all, lab.github, lab.require} {
		if code := d.terminate(t); code != 0 {
			t.Errorf("exit status %d", code)
		}
	}
	for _, r := range trials {
		r.check(t)
	}
	if t.Failed() {
		return
	}
	checkTable(t, table(clients, versions, trials))
}

// firstGID is the group of the first trial. Each has one that no other process
// of the machine has, so that its lines in the log are known by it.
const firstGID = 1_900_000_000

// lab is where clients are tried.
type lab struct {
	dir     string
	gogit   string // go-git's program
	all     *daemon
	github  *daemon // with one forge, so that nothing is shown to who names no repository
	require *daemon
}

func newLab(t *testing.T) *lab {
	t.Helper()
	s := newSite(t)
	only, require := newSite(t), newSite(t)
	only.startForges(t, forgesim.Options{Kinds: []provision.Kind{provision.GitHub}})
	only.configure(t, "")
	for _, k := range []provision.Kind{provision.Gitea, provision.GitHub, provision.BitbucketCloud} {
		require.requireBind(t, k)
	}
	only.rewrite(t, "    kind: github\n", "    kind: github\n    sockets: repository\n")
	l := &lab{dir: s.dir, gogit: filepath.Join(s.dir, "gogit")}
	l.all, l.github, l.require = s.start(t), only.start(t), require.start(t)

	// Readable for the listed user, wherever the repository is.
	if err := os.CopyFS(filepath.Join(l.dir, "clients"), os.DirFS("testdata/clients")); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", l.gogit, ".")
	build.Dir = "testdata/gogit"
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build of go-git's program: %v\n%s", err, out)
	}
	for _, d := range []*daemon{l.all, l.github, l.require} {
		d.ready(t)
		d.site.clientFiles(t)
	}
	return l
}

// clientFiles makes two folders that can stand in for /etc/ssh: "right" with
// what "deploykeyd ssh-config --write" writes, and "wrong" with another host key
// pinned for every forge.
func (s *site) clientFiles(t *testing.T) {
	t.Helper()
	foreign, err := forgesim.New(forgesim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = foreign.Close() }()
	for _, pins := range []string{right, wrong} {
		folder := s.etc(pins)
		conf, known := filepath.Join(folder, "ssh_config.d/50-deploykeyd.conf"), filepath.Join(folder, "deploykeyd_known_hosts")
		if err := os.MkdirAll(filepath.Dir(conf), 0o755); err != nil {
			t.Fatal(err)
		}
		if code, _, stderr := s.do(t, "ssh-config", "--write", "--file", conf, "--known-hosts", known); code != 0 {
			t.Fatalf("ssh-config: %s", stderr)
		}
		write(t, filepath.Join(folder, "ssh_config"), "Include /etc/ssh/ssh_config.d/*.conf\n")
		if pins == wrong {
			text := read(t, known)
			for _, f := range s.sim.Forges() {
				text = strings.ReplaceAll(text, f.HostKeys()[0], foreign.Forge(f.Kind()).HostKeys()[0])
			}
			write(t, known, text)
		}
	}
}

const right, wrong = "right", "wrong"

func (s *site) etc(pins string) string { return filepath.Join(s.dir, "etc-"+pins) }

// known returns the known_hosts file of such a folder.
func (s *site) known(t *testing.T, pins string) string {
	t.Helper()
	return read(t, filepath.Join(s.etc(pins), "deploykeyd_known_hosts"))
}

// trial is one client at one place.
type trial struct {
	lab    *lab
	client client
	row    int
	place  place
	gid    int

	forge  *forgesim.Forge
	socket string
	pins   string // which the client finds: right or wrong

	clone  result
	tag    result
	tagged bool     // the forge has the tag
	lines  []string // of the log, about this trial
}

func (r *trial) name() string { return r.client.name + "/" + r.place.name }
func (r *trial) site() *site  { return r.place.daemon(r.lab).site }
func (r *trial) url() string  { return r.forge.SSH().CloneURL(releases) }

// releases is the repository that every trial reads, and writes to.
const releases = "acme/releases"

// fingerprint returns the pinned host key as "ssh-keygen -l" writes it.
func (r *trial) fingerprint(t *testing.T) string {
	t.Helper()
	_, known, _ := strings.Cut(r.site().known(t, r.pins), r.forge.SSH().KnownHost()+" ")
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(known)) //nolint:dogsled // only the key counts
	if err != nil {
		t.Fatal(err)
	}
	return ssh.FingerprintSHA256(key)
}

// run lets the client clone and, where that went well, tag.
func (r *trial) run(t *testing.T) {
	r.forge = r.site().sim.Forge(r.place.kind)
	r.pins = right
	if r.place.wrongPin {
		r.pins = wrong
	}
	r.socket = r.site().agentSocket()
	if r.place.own {
		r.socket = r.site().repositorySocket(t, r.place.kind, releases)
	}
	j := jail{etc: r.site().etc(r.pins), home: r.makeHome(t), gid: r.gid, env: []string{"SSH_AUTH_SOCK=" + r.socket}}
	if r.client.env != nil {
		j.env = append(j.env, r.client.env(t, r)...)
	}
	url, stdin := r.url(), ""
	if r.client.urlElsewhere && !r.place.urlArgument {
		url, stdin = "-", url+"\n"
	}
	r.clone = j.run(t, stdin, r.client.clone(r, url))
	if r.clone.status == 0 && !r.place.urlArgument {
		r.tag = j.run(t, "", r.client.tag(r, fmt.Sprint("v", r.gid)))
	}
	tags := command(t, "git", "--git-dir", r.forge.GitDir(releases), "tag", "--list", fmt.Sprint("v", r.gid))
	r.tagged = tags != ""
}

// makeHome makes the home directory that the client finds.
func (r *trial) makeHome(t *testing.T) string {
	t.Helper()
	home := r.site().userDir(t, fmt.Sprint("home", r.gid))
	dotSSH := filepath.Join(home, ".ssh")
	if err := os.Mkdir(dotSSH, 0o755); err != nil {
		t.Fatal(err)
	}
	if known := r.client.knownHosts; known != nil {
		write(t, filepath.Join(dotSSH, "known_hosts"), known(r.site().known(t, r.pins)))
	}
	if r.place.own && r.client.openSSH {
		write(t, filepath.Join(dotSSH, "config"), fmt.Sprintf("Host %s\n    IdentityAgent %s\n", r.forge.SSH().Host, r.socket))
	}
	return home
}

// check holds what happened against what is expected.
func (r *trial) check(t *testing.T) {
	t.Helper()
	mark := fmt.Sprintf(" gid=%d ", r.gid)
	for line := range strings.Lines(r.place.daemon(r.lab).log.String()) {
		if strings.Contains(line, `msg="agent request"`) && strings.Contains(line, mark) {
			r.lines = append(r.lines, line)
		}
	}
	want := r.place.expect(r.client)
	switch {
	case want.works:
		r.checkWorks(t)
	case r.clone.status == 0 || r.tagged || slices.ContainsFunc(r.lines, isSigned):
		r.fail(t, "it works, but must not")
	case want.reason == "" && len(r.lines) > 0:
		r.fail(t, "the agent was asked")
	case want.reason != "" && !r.logged(want.reason):
		r.fail(t, "the reason %q is not in the log", want.reason)
	}
	if !strings.Contains(r.clone.said, want.says) {
		r.fail(t, "the client does not say %q", want.says)
	}
}

func (r *trial) checkWorks(t *testing.T) {
	t.Helper()
	if r.clone.status != 0 || r.tag.status != 0 || !r.tagged && !r.place.urlArgument {
		r.fail(t, "it does not work")
	}
	if len(r.lines) == 0 {
		r.fail(t, "nothing in the log")
	}
	for _, line := range r.lines {
		if !isSigned(line) {
			r.fail(t, "a request was refused")
		}
		if strings.Contains(line, " bound=true ") != r.client.binds {
			r.fail(t, "the session is bound: not %v", r.client.binds)
		}
	}
	if c := r.client.logs; !slices.ContainsFunc(r.lines, func(l string) bool { return strings.Contains(l, c) }) {
		r.fail(t, "the log does not have %q", c)
	}
}

// logged reports whether something was refused for that reason.
func (r *trial) logged(reason string) bool {
	return slices.ContainsFunc(r.lines, func(l string) bool {
		return strings.Contains(l, " decision=refused ") && strings.Contains(l, fmt.Sprintf(" reason=%q", reason))
	})
}

func isSigned(line string) bool {
	return strings.HasSuffix(strings.TrimSpace(line), " decision=signed")
}

func (r *trial) fail(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Errorf("%s: %s\nclone: exit status %d: %s\ntag: exit status %d: %s\nlog:\n%s", r.name(), fmt.Sprintf(format, args...),
		r.clone.status, r.clone.said, r.tag.status, r.tag.said, strings.Join(r.lines, ""))
}
