package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"deploykeyd/provision/forgesim"
)

// running is a program under test.
type running struct {
	dir    string
	output lines
	stop   context.CancelFunc
	status chan int
}

// lines is a program's output, which can be waited for.
type lines struct {
	mu    sync.Mutex
	text  bytes.Buffer
	wrote chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.text.Write(p)
	close(l.wrote)
	l.wrote = make(chan struct{})
	return n, err
}

// await waits until the output contains text, and returns all of it.
func (l *lines) await(t *testing.T, text string) string {
	t.Helper()
	for {
		l.mu.Lock()
		got, wrote := l.text.String(), l.wrote
		l.mu.Unlock()
		if strings.Contains(got, text) {
			return got
		}
		select {
		case <-wrote:
		case <-t.Context().Done():
			t.Fatalf("the output never contains %q: %s", text, got)
		}
	}
}

// launch runs the program with the arguments, in which DIR is a folder.
func launch(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{dir: t.TempDir(), stop: cancel, status: make(chan int, 1)}
	r.output.wrote = make(chan struct{})
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "DIR", r.dir)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.status <- run(ctx, args, &r.output, &r.output)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return r
}

// end stops the program as a signal does, and returns its exit status.
func (r *running) end() int {
	r.stop()
	return <-r.status
}

func (r *running) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRun(t *testing.T) {
	r := launch(t, "--config-out", "DIR/new/deploykeyd.yaml", "--control-out", "DIR/control", "--user", "jenkins")
	out := r.output.await(t, "/faults -d")
	control := strings.TrimSpace(r.read(t, "control"))
	for _, want := range []string{"gitea ", "github ", "bitbucket-cloud ", control, "deploykeyd run --config " + r.dir + "/new/deploykeyd.yaml"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, control+"/state", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var state forgesim.State
	if err := json.NewDecoder(resp.Body).Decode(&state); err != nil {
		t.Fatal(err)
	}
	config := r.read(t, "new/deploykeyd.yaml")
	for k, f := range state.Forges {
		for _, want := range append(f.Repositories, "url: "+f.URL, "ssh: "+f.SSH, "kind: "+string(k), `"`+r.dir+"/new/"+string(k)+`.token"`) {
			if !strings.Contains(config, want) {
				t.Errorf("the configuration lacks %q:\n%s", want, config)
			}
		}
		token := filepath.Join(r.dir, "new", string(k)+".token")
		if info, err := os.Stat(token); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", token, info, err)
		}
	}
	if n := strings.Count(config, "{repository: acme/releases, access: write}"); n != 2 {
		t.Errorf("%d writable repositories", n)
	}
	if !strings.Contains(config, `users: ["jenkins"]`) || !strings.Contains(config, `username: "ci@acme.example"`) {
		t.Error(config)
	}
	if status := r.end(); status != exitDone {
		t.Errorf("exit status %d", status)
	}
}

func TestRunWithNames(t *testing.T) {
	r := launch(t, "--names", "--repositories", "acme/one,acme/releases", "--config-out", "DIR/c.yaml", "--dir", "DIR/git", "-v")
	out := r.output.await(t, "/faults -d")
	for _, want := range []string{"  127.0.0.1 gitea.test\n", "  127.0.0.2 github.test\n", "  127.0.0.3 bitbucket-cloud.test\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	config := r.read(t, "c.yaml")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(config, "acme/api") || strings.Count(config, "acme/releases") != 2 || !strings.Contains(config, "git@gitea.test:") || !strings.Contains(config, me.Username) {
		t.Error(config)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "git", "gitea", "acme", "one.git", "HEAD")); err != nil {
		t.Error(err)
	}
	if status := r.end(); status != exitDone {
		t.Errorf("exit status %d", status)
	}
}

// TestRunWithExchanges writes a configuration with an App and an OAuth consumer,
// one entry for each owner, whose secrets only their owner may read.
func TestRunWithExchanges(t *testing.T) {
	r := launch(t, "--credentials", "app,oauth", "--repositories", "acme/api,other/web,acme/web", "--config-out", "DIR/c.yaml", "--user", "jenkins")
	r.output.await(t, "/faults -d")
	config := r.read(t, "c.yaml")
	for _, want := range []string{
		"- name: gitea\n", "- name: github\n", "- name: github-other\n", "- name: bitbucket-cloud\n", "- name: bitbucket-cloud-other\n",
		`token: {file: "` + r.dir + `/gitea.token"}`, "      app_id: 1\n      private_key: {file: \"" + r.dir + "/github.pem\"}\n    repositories:\n      - acme/api\n      - acme/web\n      - {repository: acme/releases, access: write}\n",
		`client_secret: {file: "` + r.dir + `/bitbucket-cloud.secret"}`, `client_secret: {file: "` + r.dir + `/bitbucket-cloud-other.secret"}` + "\n    repositories:\n      - other/web\n",
	} {
		if !strings.Contains(config, want) {
			t.Errorf("the configuration lacks %q:\n%s", want, config)
		}
	}
	if strings.Contains(config, "username") || strings.Count(config, "app_id: 1\n") != 2 || strings.Count(config, "client_id: ") != 2 {
		t.Error(config)
	}
	for _, name := range []string{"github.pem", "bitbucket-cloud.secret", "bitbucket-cloud-other.secret", "gitea.token"} {
		if info, err := os.Stat(filepath.Join(r.dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	block, _ := pem.Decode([]byte(r.read(t, "github.pem")))
	if block == nil || block.Type != "RSA PRIVATE KEY" {
		t.Fatal("github.pem is not in GitHub's form")
	}
	if _, err := x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "github.token")); err == nil {
		t.Error("a token was written that nobody uses")
	}
}

func TestBadCalls(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
		words  string
	}{
		{[]string{"--nonsense"}, exitUsage, "unknown flag"},
		{[]string{"argument"}, exitUsage, "unexpected argument"},
		{[]string{"--http", "gogs=127.0.0.1:0"}, exitUsage, "unknown forge kind"},
		{[]string{"--ssh", "gogs=127.0.0.1:0"}, exitUsage, "unknown forge kind"},
		{[]string{"--credentials", "password"}, exitUsage, "unknown form"},
		{[]string{"--credentials", "app"}, exitUsage, "add --config-out"},
		{[]string{"--control", "0.0.0.0:0"}, exitFailed, "loopback"},
		{[]string{"--repositories", "no-owner"}, exitFailed, "has no owner"},
		{[]string{"--config-out", "/dev/null/x/y"}, exitFailed, "write configuration"},
		{[]string{"--ssh", "gitea=nowhere"}, exitFailed, "listen for SSH"},
	} {
		var stderr bytes.Buffer
		if status := run(t.Context(), c.args, io.Discard, &stderr); status != c.status || !strings.Contains(stderr.String(), c.words) {
			t.Errorf("%v: status %d, %s", c.args, status, stderr.String())
		}
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), []string{"--help"}, &stdout, &stderr); status != exitDone || stderr.Len() != 0 {
		t.Errorf("status %d, %s", status, stderr.String())
	}
	for _, want := range []string{"Examples:", "--config-out", "--latency", "POST   /release"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the help lacks %q", want)
		}
	}
}
