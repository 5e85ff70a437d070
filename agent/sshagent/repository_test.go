package sshagent_test

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent/key"
	"deploykeyd/agent/sshagent"
	"deploykeyd/agent/unixsock"
	"deploykeyd/provision"
)

// serveRepository serves a repository's own socket and returns its path.
func (w *world) serveRepository(t *testing.T, forge string, repo provision.Repository) string {
	t.Helper()
	path := sshagent.SocketPath(filepath.Dir(w.socket), forge, repo)
	l, err := unixsock.Listen(path, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- w.server.ServeRepository(ctx, l, forge, repo) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("ServeRepository: %v", err)
		}
	})
	return path
}

func dialPath(t *testing.T, path string) net.Conn {
	t.Helper()
	c, err := unixsock.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestSocketPath(t *testing.T) {
	// printf 'hub\0acme/api' | sha256sum
	const want = "/run/deploykeyd/r/54f8f8bffced9da2.sock"
	for _, repo := range []provision.Repository{"acme/api", "Acme/API"} {
		if got := sshagent.SocketPath("/run/deploykeyd/r", "hub", repo); got != want {
			t.Errorf("%s: got %s, want %s", repo, got, want)
		}
	}
	seen := map[string]string{}
	for _, c := range [][2]string{{"hub", "acme/api"}, {"hub", "acme/web"}, {"hub2", "acme/api"}, {"hu", "bacme/api"}, {"", "hubacme/api"}} {
		path := sshagent.SocketPath("/r", c[0], provision.Repository(c[1]))
		if other, taken := seen[path]; taken {
			t.Errorf("%v has the path of %s", c, other)
		}
		seen[path] = c[0] + " " + c[1]
	}
}

// Whatever the client says: of a forge with a key for each repository this
// program, whose command line says nothing, is shown none on the shared socket.
func TestRepositorySocketShowsAndSignsForItsRepositoryAlone(t *testing.T) {
	w := newWorld(t)
	c := dialPath(t, w.serveRepository(t, "hub", "Acme/API"))
	if diff := cmp.Diff([]string{"deploykeyd hub acme/api"}, listed(t, c)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	w.must(t, c, login{key: w.keys["api"].Public()}.request(), signAnswer)
	want := map[string]any{"socket": "repository", "forge": "hub", "repository": "acme/api", "decision": "signed", "bound": false}
	line := w.log.last(t)
	for name, value := range want {
		if line[name] != value {
			t.Errorf("audit %s is %v, want %v", name, line[name], value)
		}
	}
	w.must(t, c, bind{host: w.hosts["hub"]}.request(t), success)
	w.must(t, c, login{key: w.keys["api"].Public()}.request(), signAnswer)
	for _, other := range []string{"web", "gitea", "strict"} {
		w.must(t, c, login{key: w.keys[other].Public()}.request(), failure)
		if line := w.log.last(t); line["forge"] != "hub" || line["repository"] != "Acme/API" {
			t.Errorf("asked for key %s: audit line %v", other, line)
		}
	}
}

func TestRepositorySocketFollowsARotation(t *testing.T) {
	w := newWorld(t)
	path := w.serveRepository(t, "hub", "acme/api")
	old, fresh := w.keys["api"], generate(t, key.Ed25519)
	c := dialPath(t, path)
	w.server.Publish("hub", "acme/api", fresh)
	keys, err := client(c).List()
	if err != nil || len(keys) != 1 || string(keys[0].Blob) != string(fresh.Public()) {
		t.Errorf("shown %v, %v", keys, err)
	}
	w.must(t, c, login{key: old.Public()}.request(), signAnswer)
	w.must(t, c, login{key: fresh.Public()}.request(), signAnswer)
	w.server.Withdraw("hub", "acme/api", old)
	w.must(t, c, login{key: old.Public()}.request(), failure)
	w.server.Withdraw("hub", "acme/api", fresh)
	if got := listed(t, c); got != nil {
		t.Errorf("after the last was withdrawn: %v", got)
	}
	if line := w.log.last(t); !strings.Contains(line["reason"].(string), "no key for acme/api is lent on forge hub") || line["next"] == nil {
		t.Errorf("audit line %v", line)
	}
}

// The quota of connections is one for all the sockets together.
func TestRepositorySocketsShareTheUsersQuota(t *testing.T) {
	w := newWorld(t)
	api, web := w.serveRepository(t, "hub", "acme/api"), w.serveRepository(t, "hub", "acme/web")
	for n := range 64 {
		w.must(t, dialPath(t, []string{api, web, w.socket}[n%3]), []byte{listRequest}, listAnswer)
	}
	for _, path := range []string{api, web, w.socket} {
		hungUp(t, dialPath(t, path))
		if line := w.log.last(t); line["reason"] != "too many connections are open" || line["next"] == nil {
			t.Errorf("audit line %v", line)
		}
	}
}

func TestRepositorySocketRefusesOthers(t *testing.T) {
	w := newWorld(t, "61234")
	hungUp(t, dialPath(t, w.serveRepository(t, "hub", "acme/api")))
	line := w.log.last(t)
	if line["action"] != "connect" || line["socket"] != "repository" || !strings.Contains(line["next"].(string), "groups:") {
		t.Errorf("audit line %v", line)
	}
	path := filepath.Join(folder(t), "s")
	l, err := unixsock.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.server.ServeRepository(t.Context(), l, "elsewhere", "acme/api"); err == nil || !strings.Contains(err.Error(), `"elsewhere"`) {
		t.Errorf("unknown forge: %v", err)
	}
	if _, err := unixsock.Dial(t.Context(), path); err == nil {
		t.Error("the socket of an unknown forge still answers")
	}
}
