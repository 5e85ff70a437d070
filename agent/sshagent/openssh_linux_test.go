package sshagent_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"deploykeyd/agent/key"
	"deploykeyd/agent/sshagent"
	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
	"deploykeyd/provision/hostkey"
)

// forges is a world of real SSH servers, which admit the registered keys only,
// and of real clients.
type forges struct {
	world
	sim    *forgesim.Sim
	config string // of ssh
}

// newForges starts a Gitea with one key for two repositories and a GitHub with
// a key for each of two.
func newForges(t *testing.T, bind sshagent.BindPolicy, users ...string) *forges {
	t.Helper()
	f := startForges(t, forgesim.Options{}, map[string]provision.Kind{"gitea": provision.Gitea, "hub": provision.GitHub}, bind, users...)
	shared := generate(t, key.Ed25519)
	for _, repo := range []provision.Repository{"acme/api", "acme/web"} {
		f.lend(t, "gitea", provision.Gitea, repo, shared)
		f.lend(t, "hub", provision.GitHub, repo, generate(t, key.Ed25519))
	}
	return f
}

// startForges starts SSH servers of the kinds that the entries of the
// configuration have, and lends no key.
func startForges(t *testing.T, o forgesim.Options, named map[string]provision.Kind, bind sshagent.BindPolicy, users ...string) *forges {
	t.Helper()
	o.Kinds = []provision.Kind{provision.Gitea, provision.GitHub}
	sim, err := forgesim.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	f := &forges{sim: sim, world: world{log: &auditLog{}, keys: map[string]*key.Key{}}}
	var entries []sshagent.Forge
	var known []string
	for name, kind := range named {
		forge := sim.Forge(kind)
		pin, err := hostkey.Parse(forge.HostKeys()[0])
		if err != nil {
			t.Fatal(err)
		}
		all := []hostkey.Pin{pin}
		entries = append(entries, sshagent.Forge{Name: name, Kind: kind, SSH: forge.SSH(), HostKeys: all, Bind: bind})
		known = append(known, hostkey.Lines(forge.SSH(), all)...)
	}
	f.serve(t, entries, users...)
	dir := filepath.Dir(f.socket)
	f.config = filepath.Join(dir, "ssh_config")
	writeFile(t, filepath.Join(dir, "known_hosts"), strings.Join(known, "\n")+"\n")
	writeFile(t, f.config, fmt.Sprintf(`IdentityAgent %s
IdentityFile none
UserKnownHostsFile %s
GlobalKnownHostsFile none
StrictHostKeyChecking yes
BatchMode yes
`, f.socket, filepath.Join(dir, "known_hosts")))
	return f
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// lend makes a repository with the key on it and publishes the key.
func (f *forges) lend(t *testing.T, name string, kind provision.Kind, repo provision.Repository, k *key.Key) {
	t.Helper()
	forge := f.sim.Forge(kind)
	if err := forge.AddRepository(string(repo), forgesim.RepositoryOptions{}); err != nil {
		t.Fatal(err)
	}
	forge.AddKey(string(repo), "test", provisionKey(k.Public()), provision.Read)
	f.server.Publish(name, repo, k)
	f.keys[name+" "+string(repo)] = k
}

// signedWith finds in the last audit line which key was used, and for what.
func (f *forges) signedWith(t *testing.T, name string, repo provision.Repository, k *key.Key) {
	t.Helper()
	line := f.log.last(t)
	want := map[string]any{
		"decision": "signed", "forge": name, "repository": string(repo), "bound": true, "key": provisionKey(k.Public()).Fingerprint(),
	}
	for attr, value := range want {
		if line[attr] != value {
			t.Errorf("%s %s: audit %s is %v, want %v", name, repo, attr, line[attr], value)
		}
	}
}

// run runs a program, as another user when uid is not ours.
func (f *forges) run(t *testing.T, uid int, env []string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = "/"
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_SSH_COMMAND=ssh -F " + f.config,
	}, env...)
	if uid != os.Geteuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: 61234}}
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

func (f *forges) lsRemote(t *testing.T, uid int, url string) (string, error) {
	t.Helper()
	return f.run(t, uid, nil, "git", "ls-remote", url, "refs/heads/main")
}

// Real git and real OpenSSH, with URLs as people write them: the key is chosen
// by the host key to which ssh has bound its connection and by the repository
// in its command line.
func TestOpenSSHGetsTheRightKey(t *testing.T) {
	for _, policy := range []sshagent.BindPolicy{sshagent.BindPrefer, sshagent.BindRequire} {
		f := newForges(t, policy)
		for _, name := range []string{"gitea", "hub"} {
			kind := map[string]provision.Kind{"gitea": provision.Gitea, "hub": provision.GitHub}[name]
			at := f.sim.Forge(kind).SSH()
			for _, path := range []string{"/acme/api.git", "/acme/web.git", "/acme/web", "/Acme/API.git"} {
				out, err := f.lsRemote(t, os.Geteuid(), at.String()+path)
				if err != nil || !strings.Contains(out, "refs/heads/main") {
					t.Errorf("%s%s: %v\n%s", at, path, err, out)
					continue
				}
				repo := provision.Repository("acme/api")
				if strings.Contains(path, "web") {
					repo = "acme/web"
				}
				f.signedWith(t, name, repo, f.keys[name+" "+string(repo)])
				if line := f.log.last(t); !strings.Contains(fmt.Sprint(line["command_line"]), path[2:]) {
					t.Errorf("audit line without the command: %v", line)
				}
			}
		}
	}
}

// What is not lent is refused with the reason in the log: on a forge with a key
// per repository no key is shown, and where one key is for all the forge speaks.
func TestOpenSSHIsShownNoOtherKey(t *testing.T) {
	f := newForges(t, sshagent.BindPrefer)
	for _, c := range []struct {
		kind         provision.Kind
		text, reason string
	}{
		{provision.GitHub, "Permission denied (publickey)", `no key for "acme/secret.git"`},
		{provision.Gitea, "not authorized", ""},
	} {
		forge := f.sim.Forge(c.kind)
		if err := forge.AddRepository("acme/secret", forgesim.RepositoryOptions{}); err != nil {
			t.Fatal(err)
		}
		out, err := f.lsRemote(t, os.Geteuid(), forge.SSH().CloneURL("acme/secret"))
		if err == nil || !strings.Contains(out, c.text) {
			t.Errorf("%s: %v\n%s", c.kind, err, out)
		}
		if reason, _ := f.log.last(t)["reason"].(string); !strings.Contains(reason, c.reason) {
			t.Errorf("%s: audit reason %q, want %q", c.kind, reason, c.reason)
		}
	}
}

// OpenSSH binds to the host key that it met. When no forge has it pinned, it
// gets no key although ssh itself was told to trust the host.
func TestOpenSSHAtAnUnpinnedHostGetsNothing(t *testing.T) {
	f := newForges(t, sshagent.BindPrefer)
	other, err := forgesim.Start(t.Context(), forgesim.Options{Kinds: []provision.Kind{provision.Gitea}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	forge := other.Forge(provision.Gitea)
	if err := forge.AddRepository("acme/api", forgesim.RepositoryOptions{}); err != nil {
		t.Fatal(err)
	}
	forge.AddKey("acme/api", "test", provisionKey(f.keys["gitea acme/api"].Public()), provision.Read)
	config, err := os.ReadFile(f.config)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, f.config, strings.Replace(string(config), "StrictHostKeyChecking yes", "StrictHostKeyChecking no", 1))
	out, err := f.lsRemote(t, os.Geteuid(), forge.SSH().CloneURL("acme/api"))
	if err == nil || !strings.Contains(out, "Permission denied (publickey)") {
		t.Errorf("%v\n%s", err, out)
	}
	var reasons []string
	for _, line := range f.log.lines(t) {
		reasons = append(reasons, fmt.Sprint(line["action"], ": ", line["reason"]))
	}
	want := "bind: the host key " + forgesimFingerprint(t, forge) + " is pinned for no forge"
	if len(reasons) != 2 || reasons[0] != want || !strings.Contains(reasons[1], "earlier bind") {
		t.Errorf("audit %q, want %q and then the poison", reasons, want)
	}
}

func forgesimFingerprint(t *testing.T, f *forgesim.Forge) string {
	t.Helper()
	p, err := hostkey.Parse(f.HostKeys()[0])
	if err != nil {
		t.Fatal(err)
	}
	return p.Key.Fingerprint()
}

// Two users of the machine: the one that is listed, by name, clones; the other
// gets nothing and is named in the log.
func TestOnlyListedUsersClone(t *testing.T) {
	listed, stranger := os.Geteuid(), 61234
	users := []string{me()}
	if listed == 0 {
		daemon, err := user.Lookup("daemon") // ssh wants its user to have a name
		if err != nil {
			t.Fatal(err)
		}
		if listed, err = strconv.Atoi(daemon.Uid); err != nil {
			t.Fatal(err)
		}
		users, stranger = []string{daemon.Username}, 0
	}
	f := newForges(t, sshagent.BindPrefer, users...)
	url := f.sim.Forge(provision.GitHub).SSH().CloneURL("acme/web")
	out, err := f.lsRemote(t, listed, url)
	if err != nil || !strings.Contains(out, "refs/heads/main") {
		t.Errorf("the listed user: %v\n%s", err, out)
	}
	if line := f.log.last(t); line["decision"] != "signed" || fmt.Sprint(line["uid"]) != strconv.Itoa(listed) {
		t.Errorf("audit line %v", line)
	}
	if stranger != 0 {
		return // we cannot be anybody else: server_test.go has the refusal of our own user
	}
	for _, uid := range []int{0, 61234} {
		out, err := f.run(t, uid, []string{"SSH_AUTH_SOCK=" + f.socket}, "ssh-add", "-l")
		if err == nil || strings.Contains(out, "SHA256") {
			t.Errorf("uid %d is shown: %v\n%s", uid, err, out)
		}
		line := f.log.last(t)
		if line["decision"] != "refused" || fmt.Sprint(line["uid"]) != strconv.Itoa(uid) {
			t.Errorf("uid %d: audit line %v", uid, line)
		}
	}
	if out, err := f.lsRemote(t, 0, url); err == nil || !strings.Contains(out, "Permission denied (publickey)") {
		t.Errorf("root, who is not listed: %v\n%s", err, out)
	}
}

// The signature that a verification counts is the one that git's ssh has used.
func TestOpenSSHThroughAVerificationSocket(t *testing.T) {
	f := newForges(t, sshagent.BindRequire, "61234")
	fresh := generate(t, key.Ed25519)
	forge := f.sim.Forge(provision.GitHub)
	forge.AddKey("acme/api", "fresh", provisionKey(fresh.Public()), provision.Read)
	v, err := f.server.OpenVerification(folder(t), "hub", "acme/api", fresh)
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"GIT_SSH_COMMAND=ssh -F " + f.config + " -o IdentityAgent=" + v.Path()}
	out, err := f.run(t, os.Geteuid(), env, "git", "ls-remote", forge.SSH().CloneURL("acme/api"))
	if err != nil || v.Signatures() != 1 {
		t.Errorf("%d signatures, %v\n%s", v.Signatures(), err, out)
	}
	if os.Geteuid() == 0 {
		refusesOthers(t, f, v.Path())
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
}

// refusesOthers opens the files of a verification socket to everybody, and
// finds that another user gets nothing all the same.
func refusesOthers(t *testing.T, f *forges, path string) {
	t.Helper()
	for p, mode := range map[string]os.FileMode{filepath.Dir(filepath.Dir(path)): 0o755, filepath.Dir(path): 0o755, path: 0o666} {
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
	}
	out, err := f.run(t, 61234, []string{"SSH_AUTH_SOCK=" + path}, "ssh-add", "-l")
	line := f.log.last(t)
	if err == nil || strings.Contains(out, "SHA256") || line["action"] != "connect" || fmt.Sprint(line["uid"]) != "61234" {
		t.Errorf("%v\n%s\naudit line %v", err, out, line)
	}
}
