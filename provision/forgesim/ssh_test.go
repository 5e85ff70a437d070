package forgesim_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// sshArgs are the arguments with which ssh reaches a forge.
func sshArgs(f *forgesim.Forge, more ...string) []string {
	a := f.SSH()
	return append([]string{"ssh", "-T", "-p", strconv.Itoa(a.Port), a.User + "@" + a.Host}, more...)
}

// startOne returns one forge with sockets that has acme/api and acme/web.
func startOne(t *testing.T, k provision.Kind) *forgesim.Forge {
	t.Helper()
	f := start(t, forgesim.Options{Kinds: []provision.Kind{k}}).Forge(k)
	addRepositories(t, f, "acme/api", "acme/web")
	return f
}

// TestGit clones and pushes with real git through real OpenSSH.
func TestGit(t *testing.T) {
	for _, k := range kinds() {
		t.Run(string(k), func(t *testing.T) {
			f := startOne(t, k)
			c := newClient(t)
			f.AddKey("acme/api", "x", c.public, provision.Write)
			url := f.SSH().CloneURL("acme/api")
			if out, err := c.run(t, f, "git", "clone", "-q", "--depth=1", "--filter=tree:0", url, "work"); err != nil {
				t.Fatal(out)
			}
			readme, err := os.ReadFile(filepath.Join(c.dir, "work", "README.md"))
			if err != nil || string(readme) != "# acme/api\n" {
				t.Errorf("README.md is %q, %v", readme, err)
			}
			if out, err := c.run(t, f, "git", "-C", "work", "push", "-q", "origin", "HEAD:refs/tags/v2"); err != nil {
				t.Error(out)
			}
			out, err := c.run(t, f, "git", "ls-remote", "-q", url)
			if err != nil || !strings.Contains(out, "refs/tags/v2") || !strings.Contains(out, "refs/heads/main") || !strings.Contains(out, "refs/tags/v1.0.0") {
				t.Errorf("%s, %v", out, err)
			}
			if used := f.Keys("acme/api")[0].Used; time.Since(used) > time.Hour {
				t.Errorf("last used %v", used)
			}
		})
	}
}

func TestGitProtocolV2(t *testing.T) {
	f := startOne(t, provision.Gitea)
	c := newClient(t)
	f.AddKey("acme/api", "x", c.public, provision.Read)
	for protocol, want := range map[string]string{"version=2": "version 2", "": "refs/heads/main"} {
		args := sshArgs(f, "git-upload-pack '/acme/api.git'")
		args = append([]string{"ssh", "-o", "SetEnv=GIT_PROTOCOL=" + protocol}, args[1:]...)
		if out, _ := c.run(t, f, args...); !strings.Contains(out, want) {
			t.Errorf("%q: %q", protocol, out)
		}
	}
}

func TestGitArchive(t *testing.T) {
	for k, works := range map[provision.Kind]bool{provision.Gitea: true, provision.GitHub: false, provision.BitbucketCloud: true} {
		f := startOne(t, k)
		c := newClient(t)
		f.AddKey("acme/api", "x", c.public, provision.Read)
		if out, err := c.run(t, f, "git", "archive", "-o", "x.tar", "--remote="+f.SSH().CloneURL("acme/api"), "main"); (err == nil) != works {
			t.Errorf("%s: %s, %v", k, out, err)
		}
	}
}

// TestRefusalsOverSSH checks what each forge says to whom it does not serve.
func TestRefusalsOverSSH(t *testing.T) {
	type expected struct {
		words string
		exit  int
	}
	for k, want := range map[provision.Kind]map[string]expected{
		provision.Gitea: {
			"elsewhere": {"error:\nerror: Public (Deploy) Key: 1:dk-a is not authorized to read acme/web.\nerror:\n", 1},
			"missing":   {"error: Cannot find repository: acme/nosuch\n", 1},
			"readonly":  {"error: Deploy Key: 1:dk-a is not authorized to write to acme/api.\n", 1},
			"archived":  {"error: Repo: acme/old is archived.\n", 1},
			"shell":     {"Hi there! You've successfully authenticated with the deploy key named dk-a, but Gitea does not provide shell access.\n", 0},
			"word":      {"error:\nerror: Too few arguments\nerror:\n", 1},
			"no path":   {"error: Invalid repository path\n", 1},
			"command":   {"error: Unknown git command\n", 1},
			"syntax":    {"error: Error parsing arguments\n", 1},
			"path":      {"error: Invalid repo name\n", 1},
			"slashes":   {"error: Invalid repo name\n", 1},
			"ending":    {"error: Invalid repo name\n", 1},
			"home":      {"error: Cannot find repository: ~acme/api\n", 1},
			"transfer":  {"error: LFS SSH transfer is not enabled\n", 1},
			"lfs":       {"error: Unknown LFS verb\n", 1},
			"upload":    {"error: Deploy Key: 1:dk-a is not authorized to write to acme/api.\n", 1},
		},
		provision.GitHub: {
			"elsewhere": {"ERROR: Repository not found.\n", 1},
			"missing":   {"ERROR: Repository not found.\n", 1},
			"readonly":  {"ERROR: The key you are authenticating with has been marked as read only.\n", 1},
			"archived":  {"ERROR: This repository was archived so it is read-only.\n", 1},
			"shell":     {"You've successfully authenticated, but GitHub does not provide shell access.\n", 1},
			"word":      {"Invalid command: 'whoami'\n", 1},
			"no path":   {"Invalid command: 'git-foo acme'\n", 1},
			"command":   {"Invalid command: 'git-foo acme/api'\n", 1},
			"syntax":    {"Invalid command: 'git-upload-pack 'x'\n", 1},
			"path":      {"0064ERR \n  etc/../passwd is not a valid repository name\n  Visit https://support.github.com/ for help", 1},
			"slashes":   {"ERR \n  /acme/api is not a valid repository name\n", 1},
			"ending":    {"refs/heads/main", 128},
			"home":      {"ERROR: Repository not found.\n", 1},
			"transfer":  {"Invalid command: 'git-lfs-transfer acme/api.git upload'\n", 1},
			"lfs":       {"Invalid command: 'git-lfs-authenticate acme/api.git'\n", 1},
			"upload":    {"ERROR: The key you are authenticating with has been marked as read only.\n", 1},
		},
		provision.BitbucketCloud: {
			"elsewhere": {"repository access denied. deployment key is not associated with the requested repository\n", 1},
			"missing":   {"repository access denied. deployment key is not associated with the requested repository\n", 1},
			"readonly":  {"repository access denied. access via a deployment key is read-only.\n", 1},
			"archived":  {"repository access denied. access via a deployment key is read-only.\n", 1},
			"shell":     {"authenticated via ssh key.\n", 0},
			"word":      {"Invalid command.", 1},
			"no path":   {"Invalid command.", 1},
			"command":   {"Invalid command.", 1},
			"syntax":    {"Invalid command.", 1},
			"path":      {"Invalid command.", 1},
			"slashes":   {"Invalid command.", 1},
			"ending":    {"refs/heads/main", 128},
			"home":      {"deployment key is not associated with the requested repository\n", 1},
			"transfer":  {"Invalid command.", 1},
			"lfs":       {"Invalid command.", 1},
			"upload":    {"repository access denied. access via a deployment key is read-only.\n", 1},
		},
	} {
		t.Run(string(k), func(t *testing.T) {
			f := startOne(t, k)
			if err := f.AddRepository("acme/old", forgesim.RepositoryOptions{Archived: true}); err != nil {
				t.Fatal(err)
			}
			c := newClient(t)
			f.AddKey("acme/api", "dk-a", c.public, provision.Read)
			f.AddKey("acme/old", "dk-b", c.public, provision.Write)
			for name, command := range map[string]string{
				"elsewhere": "git-upload-pack '/acme/web.git'",
				"missing":   "git-upload-pack 'acme/nosuch.git'",
				"readonly":  "git-receive-pack '/acme/api.git'",
				"archived":  "git-receive-pack '/acme/old.git'",
				"shell":     "",
				"word":      "whoami",
				"no path":   "git-foo acme",
				"command":   "git-foo acme/api",
				"syntax":    "git-upload-pack 'x",
				"path":      "git-upload-pack '/etc/../passwd'",
				"slashes":   "git-upload-pack '//acme/api.git'",
				"ending":    "git-upload-pack 'acme/api.git/'",
				"home":      "git-upload-pack '~acme/api.git'",
				"transfer":  "git-lfs-transfer acme/api.git upload",
				"lfs":       "git-lfs-authenticate acme/api.git",
				"upload":    "git-lfs-authenticate /acme/api.git upload",
			} {
				args := sshArgs(f)
				if command != "" {
					args = append(args, command)
				}
				out, err := c.run(t, f, args...)
				if !strings.Contains(out, want[name].words) || exitStatus(t, err) != want[name].exit {
					t.Errorf("%s: %q, %v", name, out, err)
				}
			}
		})
	}
}

// TestUnknownKeys admits nobody but registered keys as the user git.
func TestUnknownKeys(t *testing.T) {
	f := startOne(t, provision.Gitea)
	c := newClient(t)
	refused := func(what string, args ...string) {
		t.Helper()
		out, err := c.run(t, f, args...)
		if exitStatus(t, err) != 255 || !strings.Contains(out, "Permission denied (publickey).") {
			t.Errorf("%s: %q, %v", what, out, err)
		}
	}
	refused("unknown", sshArgs(f)...)
	f.AddUserKey(c.public)
	refused("an account's", sshArgs(f)...)
	k := f.AddKey("acme/api", "x", c.public, provision.Read)
	refused("wrong user", "ssh", "-T", "-p", strconv.Itoa(f.SSH().Port), "root@"+f.SSH().Host)
	if out, err := c.run(t, f, sshArgs(f)...); err != nil {
		t.Errorf("registered: %q, %v", out, err)
	}
	if !f.DeleteKey("acme/api", k.ID) || f.DeleteKey("acme/api", k.ID) {
		t.Error("DeleteKey does not tell what was there")
	}
	refused("deleted", sshArgs(f)...)
}

func TestRenamedRepositoryOverSSH(t *testing.T) {
	f := startOne(t, provision.GitHub)
	c := newClient(t)
	f.AddKey("acme/api", "x", c.public, provision.Read)
	f.Rename("acme/api", "acme/new")
	for _, path := range []provision.Repository{"acme/api", "acme/new", "ACME/New"} {
		if out, err := c.run(t, f, "git", "ls-remote", f.SSH().CloneURL(path)); err != nil {
			t.Errorf("%s: %s", path, out)
		}
	}
}

func TestEmptyRepositoryAndFiles(t *testing.T) {
	f := start(t, forgesim.Options{Kinds: []provision.Kind{provision.Gitea}}).Forge(provision.Gitea)
	c := newClient(t)
	for path, o := range map[string]forgesim.RepositoryOptions{
		"acme/empty": {Empty: true}, "acme/files": {Files: map[string]string{"dir/a file": "text"}},
	} {
		if err := f.AddRepository(path, o); err != nil {
			t.Fatal(err)
		}
		f.AddKey(path, "x", c.public, provision.Read)
		if out, err := c.run(t, f, "git", "clone", "-q", f.SSH().CloneURL(provision.Repository(path)), filepath.Base(path)); err != nil {
			t.Fatal(out)
		}
	}
	if text, err := os.ReadFile(filepath.Join(c.dir, "files", "dir", "a file")); err != nil || string(text) != "text" {
		t.Errorf("%q, %v", text, err)
	}
	if out, err := c.run(t, f, "git", "-C", "empty", "rev-parse", "HEAD"); err == nil {
		t.Errorf("the empty repository has %s", out)
	}
}

func TestDelayedSSH(t *testing.T) {
	f := startOne(t, provision.Gitea)
	c := newClient(t)
	remove := f.Inject(forgesim.Fault{Name: forgesim.DelayedSSH, Delay: time.Hour, Repository: "acme/api"})
	f.AddKey("acme/api", "x", c.public, provision.Read)
	if out, err := c.run(t, f, sshArgs(f)...); exitStatus(t, err) != 255 {
		t.Errorf("at once: %q, %v", out, err)
	}
	f.AddKey("acme/web", "y", c.public, provision.Read)
	if out, err := c.run(t, f, sshArgs(f, "git-upload-pack 'acme/api'")...); exitStatus(t, err) != 1 || !strings.Contains(out, "not authorized to read acme/api") {
		t.Errorf("known by another repository: %q, %v", out, err)
	}
	remove()
	if out, err := c.run(t, f, "git", "ls-remote", f.SSH().CloneURL("acme/api")); err != nil {
		t.Errorf("without the fault: %q", out)
	}
}

func TestFaultsOverSSH(t *testing.T) {
	f := startOne(t, provision.Gitea)
	c := newClient(t)
	f.AddKey("acme/api", "x", c.public, provision.Read)
	lsRemote := []string{"git", "ls-remote", f.SSH().CloneURL("acme/api")}
	f.Inject(forgesim.Fault{Name: forgesim.CutBefore, Op: forgesim.OpSSH, Times: 1})
	if out, err := c.run(t, f, lsRemote...); exitStatus(t, err) != 128 || strings.Contains(out, "refs/heads/main") {
		t.Errorf("cut before: %q, %v", out, err)
	}
	f.Inject(forgesim.Fault{Name: forgesim.CutAfterEffect, Op: forgesim.OpSSH, Times: 1, Repository: "acme/api"})
	if out, err := c.run(t, f, sshArgs(f, "git-upload-pack 'acme/api'")...); exitStatus(t, err) != 255 {
		t.Errorf("cut after: %q, %v", out, err)
	}
	f.Inject(forgesim.Fault{Name: forgesim.SlowReply, Op: forgesim.OpSSH, Times: 1, Delay: 300 * time.Millisecond})
	from := time.Now()
	if out, err := c.run(t, f, lsRemote...); err != nil || time.Since(from) < 300*time.Millisecond {
		t.Errorf("slow: %q, %v after %v", out, err, time.Since(from))
	}
	f.Inject(forgesim.Fault{Name: forgesim.HoldReply, Op: forgesim.OpSSH, Times: 1})
	done := make(chan error)
	go func() {
		_, err := c.run(t, f, lsRemote...)
		done <- err
	}()
	if err := f.Await(t.Context(), func() bool { return f.Held() == 1 }); err != nil {
		t.Fatal(err)
	}
	f.Release()
	if err := <-done; err != nil {
		t.Errorf("held: %v", err)
	}
}

// TestCloseEndsConnections closes a Sim under an idle connection and a held
// command.
func TestCloseEndsConnections(t *testing.T) {
	s, err := forgesim.Start(t.Context(), forgesim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := s.Forge(provision.Gitea)
	addRepositories(t, f, "acme/api")
	c := newClient(t)
	f.AddKey("acme/api", "x", c.public, provision.Read)
	f.Inject(forgesim.Fault{Name: forgesim.HoldReply, Op: forgesim.OpSSH})
	idle, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", f.Addresses().SSH)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	done := make(chan error)
	go func() {
		_, err := c.run(t, f, "git", "ls-remote", f.SSH().CloneURL("acme/api"))
		done <- err
	}()
	if err := f.Await(t.Context(), func() bool { return f.Held() == 1 }); err != nil {
		t.Fatal(err)
	}
	dir := f.GitDir("acme/api")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil {
		t.Error("the held command succeeded")
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the temporary folder is still there")
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// TestFolderIsKept starts twice on one folder: same host key, same commits.
func TestFolderIsKept(t *testing.T) {
	dir := t.TempDir()
	c := newClient(t)
	var hostKey string
	for i := range 2 {
		s, err := forgesim.Start(t.Context(), forgesim.Options{Dir: dir, Kinds: []provision.Kind{provision.Gitea}})
		if err != nil {
			t.Fatal(err)
		}
		f := s.Forge(provision.Gitea)
		addRepositories(t, f, "acme/api")
		f.AddKey("acme/api", "x", c.public, provision.Write)
		out, err := c.run(t, f, "git", "clone", "-q", f.SSH().CloneURL("acme/api"), fmt.Sprint("work", i))
		if err != nil {
			t.Fatal(out)
		}
		if i == 0 {
			hostKey = f.HostKeys()[0]
			if out, err := c.run(t, f, "git", "-C", "work0", "push", "-q", "origin", "HEAD:refs/heads/kept"); err != nil {
				t.Fatal(out)
			}
		} else if out, err := c.run(t, f, "git", "-C", "work1", "rev-parse", "origin/kept"); err != nil || f.HostKeys()[0] != hostKey {
			t.Errorf("%s, host key %s, before %s", out, f.HostKeys()[0], hostKey)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
