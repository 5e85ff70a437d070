package sshagent_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"deploykeyd/agent/key"
	"deploykeyd/agent/sshagent"
	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
	"deploykeyd/provision/hostkey"
)

// reads has real git read a repository, and finds that it was with that key.
func (f *forges) reads(t *testing.T, name string, kind provision.Kind, repo provision.Repository, k *key.Key) {
	t.Helper()
	out, err := f.lsRemote(t, os.Geteuid(), f.sim.Forge(kind).SSH().CloneURL(repo))
	if err != nil || !strings.Contains(out, "refs/heads/main") {
		t.Errorf("%s %s: %v\n%s", name, repo, err, out)
		return
	}
	f.signedWith(t, name, repo, k)
}

// getsNothing has real git try to read what it may not, and returns the reason
// in the log.
func (f *forges) getsNothing(t *testing.T, url string, args ...string) string {
	t.Helper()
	before := len(f.log.lines(t))
	env := []string{"GIT_SSH_COMMAND=ssh -F " + f.config + " " + strings.Join(args, " ")}
	out, err := f.run(t, os.Geteuid(), env, "git", "ls-remote", url)
	if err == nil {
		t.Errorf("%s was read:\n%s", url, out)
	}
	for _, line := range f.log.lines(t)[before:] {
		if line["decision"] == "signed" {
			t.Errorf("%s: signed: %v", url, line)
		}
	}
	reason, _ := f.log.last(t)["reason"].(string)
	return reason
}

// Two accounts on one GitHub: one host, one port, one host key, two entries.
func TestOpenSSHWithTwoEntriesOnOneServer(t *testing.T) {
	for _, policy := range []sshagent.BindPolicy{sshagent.BindPrefer, sshagent.BindRequire} {
		f := startForges(t, forgesim.Options{}, map[string]provision.Kind{"one": provision.GitHub, "two": provision.GitHub}, policy)
		for _, repo := range []provision.Repository{"acme/api", "acme/web"} {
			f.lend(t, "one", provision.GitHub, repo, generate(t, key.Ed25519))
		}
		for _, repo := range []provision.Repository{"beta/api", "beta/web"} {
			f.lend(t, "two", provision.GitHub, repo, generate(t, key.ECDSAP256))
		}
		for entry, k := range f.keys {
			name, repo, _ := strings.Cut(entry, " ")
			f.reads(t, name, provision.GitHub, provision.Repository(repo), k)
		}
		forge := f.sim.Forge(provision.GitHub)
		for _, repo := range []provision.Repository{"acme/secret", "gamma/api"} {
			if err := forge.AddRepository(string(repo), forgesim.RepositoryOptions{}); err != nil {
				t.Fatal(err)
			}
			if reason := f.getsNothing(t, forge.SSH().CloneURL(repo)); !strings.Contains(reason, "no key for") {
				t.Errorf("%s: reason %q", repo, reason)
			}
		}
	}
}

// Two forges on one host with different ports. The host key that ssh has met
// tells them apart, whatever host and port the command line names.
func TestOpenSSHWithTwoPortsOnOneHost(t *testing.T) {
	address := forgesim.Listen{SSH: "127.0.0.1:0"}
	f := startForges(t, forgesim.Options{Listen: map[provision.Kind]forgesim.Listen{provision.Gitea: address, provision.GitHub: address}},
		map[string]provision.Kind{"gitea": provision.Gitea, "hub": provision.GitHub}, sshagent.BindPrefer)
	hub, gitea := f.sim.Forge(provision.GitHub), f.sim.Forge(provision.Gitea)
	if a, b := hub.SSH(), gitea.SSH(); a.Host != b.Host || a.Port == b.Port {
		t.Fatalf("%v and %v", a, b)
	}
	f.lend(t, "gitea", provision.Gitea, "acme/api", generate(t, key.Ed25519))
	f.lend(t, "hub", provision.GitHub, "acme/api", generate(t, key.Ed25519))
	f.lend(t, "hub", provision.GitHub, "acme/web", generate(t, key.Ed25519))
	f.reads(t, "gitea", provision.Gitea, "acme/api", f.keys["gitea acme/api"])
	f.reads(t, "hub", provision.GitHub, "acme/api", f.keys["hub acme/api"])

	// ssh says that it goes to the Gitea and is sent to the GitHub.
	// Of two values it takes the first.
	elsewhere := fmt.Sprintf("ssh -o Port=%d -o HostName=%s -o HostKeyAlias=%s -F %s", hub.SSH().Port, hub.SSH().Host, hub.SSH().KnownHost(), f.config)
	for _, claim := range []string{gitea.SSH().CloneURL("acme/web"), "ssh://git@work.test:7999/acme/web.git"} {
		env := []string{"GIT_SSH_COMMAND=" + elsewhere}
		out, err := f.run(t, os.Geteuid(), env, "git", "ls-remote", claim)
		if err != nil {
			t.Errorf("%s: %v\n%s", claim, err, out)
			continue
		}
		f.signedWith(t, "hub", "acme/web", f.keys["hub acme/web"])
	}
	if err := hub.AddRepository("acme/only", forgesim.RepositoryOptions{}); err != nil {
		t.Fatal(err)
	}
	// Bound to the GitHub, it is not shown the Gitea's key, which is for all.
	if reason := f.getsNothing(t, hub.SSH().CloneURL("acme/only")); !strings.Contains(reason, `no key for "acme/only`) {
		t.Errorf("reason %q", reason)
	}
}

// From the moment when the new key is published, git logs in with it; the old
// one may go from the forge then.
func TestOpenSSHAmidARotation(t *testing.T) {
	for name, kind := range map[string]provision.Kind{"gitea": provision.Gitea, "hub": provision.GitHub} {
		f := newForges(t, sshagent.BindRequire)
		old, fresh := f.keys[name+" acme/api"], generate(t, key.Ed25519)
		f.reads(t, name, kind, "acme/api", old)
		forge := f.sim.Forge(kind)
		var left string
		for _, k := range forge.Keys("acme/api") {
			left = k.ID
		}
		forge.AddKey("acme/api", "fresh", provisionKey(fresh.Public()), provision.Read)
		f.reads(t, name, kind, "acme/api", old)
		f.server.Publish(name, "acme/api", fresh)
		f.reads(t, name, kind, "acme/api", fresh)
		f.reads(t, name, kind, "acme/web", f.keys[name+" acme/web"])
		f.server.Withdraw(name, "acme/api", old)
		if !forge.DeleteKey("acme/api", left) {
			t.Fatal("the old key is not on the forge")
		}
		f.reads(t, name, kind, "acme/api", fresh)
		if signatures, _, _ := f.server.Used(name, "acme/api"); signatures != 4 {
			t.Errorf("%s: %d signatures counted for acme/api, want 4", name, signatures)
		}
	}
}

// The repository's own socket serves those of whose wish nothing can be told.
func TestClientsThroughTheRepositorysOwnSocket(t *testing.T) {
	f := startForges(t, forgesim.Options{}, map[string]provision.Kind{"hub": provision.GitHub}, sshagent.BindPrefer)
	for _, repo := range []provision.Repository{"acme/api", "acme/web"} {
		f.lend(t, "hub", provision.GitHub, repo, generate(t, key.Ed25519))
	}
	hub := f.sim.Forge(provision.GitHub)
	own := f.serveRepository(t, "hub", "acme/web")

	out, err := f.run(t, os.Geteuid(), []string{"SSH_AUTH_SOCK=" + own}, "ssh-add", "-l")
	if want := provisionKey(f.keys["hub acme/web"].Public()).Fingerprint(); err != nil || !strings.Contains(out, want) || strings.Count(out, "\n") != 1 {
		t.Errorf("ssh-add: %v\n%s", err, out)
	}
	ls := func(repo provision.Repository) (string, error) {
		env := []string{"GIT_SSH_COMMAND=ssh -F " + f.config + " -o IdentityAgent=" + own}
		return f.run(t, os.Geteuid(), env, "git", "ls-remote", hub.SSH().CloneURL(repo))
	}
	if out, err := ls("acme/web"); err != nil || !strings.Contains(out, "refs/heads/main") {
		t.Errorf("%v\n%s", err, out)
	}
	f.signedWith(t, "hub", "acme/web", f.keys["hub acme/web"])
	if line := f.log.last(t); line["socket"] != "repository" {
		t.Errorf("audit line %v", line)
	}
	// Whoever names another repository logs in as this one, and the forge refuses.
	if out, err := ls("acme/api"); err == nil {
		t.Errorf("another repository was read:\n%s", out)
	}
	f.signedWith(t, "hub", "acme/web", f.keys["hub acme/web"])

	// A program that speaks SSH by itself, as JGit and libgit2 do: on the shared
	// socket it is told where to go, on the repository's own it is served.
	if out, err := inProcess(t, f, f.socket, "acme/web"); err == nil {
		t.Errorf("through the shared socket:\n%s", out)
	}
	if line := f.log.last(t); !strings.Contains(fmt.Sprint(line["next"]), "set sockets: repository for forge hub") {
		t.Errorf("audit line %v", line)
	}
	if out, err := inProcess(t, f, own, "acme/web"); err != nil || !strings.Contains(out, "refs/heads/main") {
		t.Errorf("%v\n%s", err, out)
	}
}

// inProcess asks the GitHub for a repository's refs without starting ssh.
func inProcess(t *testing.T, f *forges, socket, repo string) (string, error) {
	t.Helper()
	hub := f.sim.Forge(provision.GitHub)
	pin, err := hostkey.Parse(hub.HostKeys()[0])
	if err != nil {
		t.Fatal(err)
	}
	host, err := ssh.ParsePublicKey(pin.Key.Blob())
	if err != nil {
		t.Fatal(err)
	}
	keys := agent.NewClient(dialPath(t, socket))
	c, err := ssh.Dial("tcp", fmt.Sprintf("%s:%d", hub.SSH().Host, hub.SSH().Port), &ssh.ClientConfig{
		User: "git", Auth: []ssh.AuthMethod{ssh.PublicKeysCallback(keys.Signers)}, HostKeyCallback: ssh.FixedHostKey(host),
	})
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	s, err := c.NewSession()
	if err != nil {
		return "", err
	}
	s.Stdin = strings.NewReader("0000") // wants nothing
	out, err := s.CombinedOutput("git-upload-pack '/" + repo + ".git'")
	return string(out), err
}
