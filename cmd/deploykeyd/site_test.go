package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"deploykeyd/agent"
	"deploykeyd/cmd/deploykeyd/cli"
	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// asProgram makes the test binary be deploykeyd itself, so that tests run it as
// a process of its own.
const asProgram = "DEPLOYKEYD_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	if os.Getenv(asForwarder) != "" {
		fmt.Fprintln(os.Stderr, forwarderMain(os.Args[1], os.Args[2]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// Two users that every Debian system has, for clients other than root.
const (
	listedUser, listedUID = "games", 5
	otherUser, otherUID   = "mail", 8
)

// patience bounds every wait of these tests. It is far above what anything here
// takes, for machines that run much else.
const patience = 60 * time.Second

// site is a place where deploykeyd is installed: three forges, a configuration,
// directories of its own.
type site struct {
	dir    string
	sim    *forgesim.Sim
	config string
}

func newSite(t *testing.T) *site {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests act as several users: run them as root (sudo make test)")
	}
	dir, err := os.MkdirTemp("", "dkd") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := &site{dir: dir, config: filepath.Join(dir, "deploykeyd.yaml")}
	s.startForges(t, forgesim.Options{})
	s.configure(t, "")
	return s
}

// readySite is a site whose daemon is ready.
func readySite(t *testing.T) (*site, *daemon) {
	t.Helper()
	s := newSite(t)
	d := s.start(t)
	d.ready(t)
	return s, d
}

// crashedSite is a site whose daemon was killed when all was ready.
func crashedSite(t *testing.T) *site {
	t.Helper()
	s, d := readySite(t)
	d.signal(t, syscall.SIGKILL)
	d.exit(t)
	return s
}

func (s *site) startForges(t *testing.T, o forgesim.Options) {
	t.Helper()
	sim, err := forgesim.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	for _, f := range sim.Forges() {
		for _, repo := range []string{"acme/api", "acme/web", "acme/releases"} {
			if err := f.AddRepository(repo, forgesim.RepositoryOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.sim = sim
}

// configure writes a configuration for all three forges, ending in the given
// lines.
func (s *site) configure(t *testing.T, more string) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "fleet: test\nmachine: m1\nusers: [%s, root]\n%sforges:\n", listedUser, more)
	for _, f := range s.sim.Forges() {
		username, token := f.Credential()
		file := filepath.Join(s.dir, string(f.Kind())+".token")
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "  - name: %[1]s\n    kind: %[1]s\n    url: %s\n    ssh: %s\n    host_keys: ['%s']\n",
			f.Kind(), f.URL(), f.SSH(), f.HostKeys()[0])
		b.WriteString("    credential:\n")
		if username != "" {
			fmt.Fprintf(&b, "      username: %s\n", username)
		}
		fmt.Fprintf(&b, "      token: {file: %s}\n    repositories:\n      - acme/api\n      - acme/web\n", file)
		if provision.TraitsOf(f.Kind()).WriteAccess {
			b.WriteString("      - {repository: acme/releases, access: write}\n")
		}
	}
	if err := os.WriteFile(s.config, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// rewrite changes the configuration's text.
func (s *site) rewrite(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(from)) {
		t.Fatalf("the configuration does not have %q", from)
	}
	if err := os.WriteFile(s.config, bytes.ReplaceAll(text, []byte(from), []byte(to)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *site) runDir() string      { return filepath.Join(s.dir, "run") }
func (s *site) stateDir() string    { return filepath.Join(s.dir, "state") }
func (s *site) agentSocket() string { return filepath.Join(s.runDir(), "agent.sock") }

// repositorySocket returns where the running daemon says that a repository's
// own socket is.
func (s *site) repositorySocket(t *testing.T, kind provision.Kind, repo provision.Repository) string {
	t.Helper()
	code, stdout, stderr := s.do(t, "status", "--sockets", "--json")
	var list []struct{ Forge, Repository, Socket string }
	if err := json.Unmarshal([]byte(stdout), &list); code != 0 || err != nil {
		t.Fatalf("status --sockets: exit status %d, %v: %s", code, err, stderr)
	}
	for _, l := range list {
		if l.Forge == string(kind) && l.Repository == string(repo) {
			return l.Socket
		}
	}
	t.Fatalf("no socket of %s on %s: %s", repo, kind, stdout)
	return ""
}

func (s *site) journal() string { return filepath.Join(s.stateDir(), "journal.db") }

// program returns a command that runs deploykeyd in this site.
func (s *site) program(ctx context.Context, args ...string) *exec.Cmd {
	args = append(args, "--config", s.config, "--run-dir", s.runDir(), "--state-dir", s.stateDir())
	c := exec.CommandContext(ctx, os.Args[0], args...)
	c.Env = append(os.Environ(), asProgram+"=1")
	return c
}

// do runs a command of deploykeyd to its end.
func (s *site) do(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return finish(t, s.program(ctx, args...))
}

func finish(t *testing.T, c *exec.Cmd) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatalf("%v: %v", c.Args, err)
	} else if ok && exit.ExitCode() < 0 {
		t.Fatalf("%v: %v\n%s", c.Args, err, errs.String())
	}
	return c.ProcessState.ExitCode(), out.String(), errs.String()
}

// daemon is a running deploykeyd.
type daemon struct {
	site *site
	cmd  *exec.Cmd
	log  *lockedBuffer
	done chan struct{}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs the daemon. It is killed at the end of the test if it still runs.
func (s *site) start(t *testing.T) *daemon {
	t.Helper()
	return s.launch(t, s.program(context.WithoutCancel(t.Context()), "run", "--log-level", "debug"))
}

func (s *site) launch(t *testing.T, c *exec.Cmd) *daemon {
	t.Helper()
	d := &daemon{site: s, cmd: c, log: &lockedBuffer{}, done: make(chan struct{})}
	c.Stdout, c.Stderr = d.log, d.log
	if c.SysProcAttr == nil {
		c.SysProcAttr = &syscall.SysProcAttr{}
	}
	c.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.done)
		_ = c.Wait()
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		<-d.done
		if t.Failed() {
			t.Logf("the daemon's log:\n%s", d.log)
		}
	})
	return d
}

// ready waits until "deploykeyd wait" says so.
func (d *daemon) ready(t *testing.T) {
	t.Helper()
	if status, _, stderr := d.site.do(t, "wait", "--timeout", "50s"); status != 0 {
		t.Fatalf("wait: exit status %d\n%s", status, stderr)
	}
}

func (d *daemon) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// exit waits for the end and returns the exit status.
func (d *daemon) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-d.done:
	case <-time.After(patience):
		t.Fatal("the daemon did not end")
	}
	return d.cmd.ProcessState.ExitCode()
}

// terminate ends the daemon as systemd does.
func (d *daemon) terminate(t *testing.T) int {
	t.Helper()
	d.signal(t, syscall.SIGTERM)
	return d.exit(t)
}

// status asks the running daemon.
func (d *daemon) status(t *testing.T) agent.Status {
	t.Helper()
	code, stdout, stderr := d.site.do(t, "status", "--json")
	if code != 0 {
		t.Fatalf("status: exit status %d: %s", code, stderr)
	}
	var s agent.Status
	if err := json.Unmarshal([]byte(stdout), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// until waits for a condition of the status.
func (d *daemon) until(t *testing.T, what string, condition func(agent.Status) bool) agent.Status {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		code, stdout, _ := d.site.do(t, "status", "--json")
		var s agent.Status
		if code == 0 && json.Unmarshal([]byte(stdout), &s) == nil && condition(s) {
			return s
		}
		select {
		case <-tick.C:
		case <-d.done:
			t.Fatalf("the daemon ended while waiting for: %s", what)
		case <-deadline:
			t.Fatalf("in vain: %s; the status is %s", what, stdout)
		}
	}
}

// keys returns how many deploy keys each repository has.
func (s *site) keys() map[string]int {
	n := map[string]int{}
	for _, f := range s.sim.Forges() {
		for _, k := range f.AllKeys() {
			n[string(f.Kind())+" "+k.Repository]++
		}
	}
	return n
}

// onePerPlan is what keys returns when all is as configured.
func onePerPlan() map[string]int {
	return map[string]int{
		"gitea acme/api": 1, "gitea acme/web": 1, "gitea acme/releases": 1,
		"github acme/api": 1, "github acme/web": 1, "github acme/releases": 1,
		"bitbucket-cloud acme/api": 1, "bitbucket-cloud acme/web": 1,
	}
}

// git runs git as a build of the given user does: with the builds' ssh
// configuration and nothing else.
func (s *site) git(t *testing.T, uid uint32, args ...string) (status int, said string) {
	t.Helper()
	return s.gitAs(t, syscall.Credential{Uid: uid, Gid: uid}, args...)
}

func (s *site) gitAs(t *testing.T, who syscall.Credential, args ...string) (status int, said string) {
	t.Helper()
	config := s.clientConfig(t)
	home, err := os.MkdirTemp(s.dir, "home")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, int(who.Uid), int(who.Gid)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, "git", args...)
	c.Dir = home
	c.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_SSH_COMMAND=ssh -o BatchMode=yes -F " + config,
	}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &who}
	status, stdout, stderr := finish(t, c)
	return status, stdout + stderr
}

func (s *site) url(k provision.Kind, repo provision.Repository) string {
	return s.sim.Forge(k).SSH().CloneURL(repo)
}
