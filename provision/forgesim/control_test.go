package forgesim_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// control makes a request to the control API.
func control(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	c := own(t)
	resp, err := c.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func startControl(t *testing.T) (*forgesim.Sim, string) {
	t.Helper()
	s := start(t, forgesim.Options{})
	for _, f := range s.Forges() {
		addRepositories(t, f, "acme/api")
	}
	url, err := s.ServeControl(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return s, url
}

func TestControlState(t *testing.T) {
	s, url := startControl(t)
	f := s.Forge(provision.GitHub)
	public, private := newKey(t)
	key := f.AddKey("acme/api", "x", public, provision.Write)
	status, body := control(t, "GET", url+"/state", "")
	var state forgesim.State
	if err := json.Unmarshal([]byte(body), &state); err != nil || status != http.StatusOK {
		t.Fatal(status, err)
	}
	got := state.Forges[provision.GitHub]
	same := cmp.Comparer(func(a, b provision.PublicKey) bool { return a == b })
	if d := cmp.Diff([]forgesim.Key{key}, got.Keys, same); d != "" || len(state.Forges) != 3 || got.URL != f.URL() || got.SSH != f.SSH().String() {
		t.Errorf("%s\n%s", d, body)
	}
	if _, err := try(t, f, own(t), request{method: "GET", path: "/meta"}); err != nil {
		t.Fatal(err)
	}
	if status, body := control(t, "GET", url+"/requests", ""); status != http.StatusOK || !strings.Contains(body, `"path": "/meta"`) {
		t.Errorf("%d %s", status, body)
	}
	c, err := dial(f, private)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := advertise(c); err != nil {
		t.Fatal(err)
	}
	if err := f.Await(t.Context(), func() bool { return len(f.Commands()) == 1 }); err != nil {
		t.Fatal(err)
	}
	if status, body := control(t, "GET", url+"/commands", ""); status != http.StatusOK || !strings.Contains(body, "git-upload-pack") || !strings.Contains(body, public.String()) {
		t.Errorf("%d %s", status, body)
	}
}

func TestControlFaults(t *testing.T) {
	s, url := startControl(t)
	for body, want := range map[string]int{
		`{"forge": "gitea", "name": "late-effect", "op": "register", "repository": "acme/api", "times": 2, "delay": "3s"}`: 204,
		`{"name": "too-many-requests", "retry_after": "2s", "status": 429}`:                                                204,
		`{"forge": "github", "name": "wrong-date", "offset": "-5h"}`:                                                       204,
		`{"forge": "gitlab", "name": "no-date"}`:                                                                           400,
		`{"name": "unheard-of"}`:                                                                                           400,
		`{"name": "no-date", "delay": "soon"}`:                                                                             400,
		`{"name": "no-date", "unknown": 1}`:                                                                                400,
		``:                                                                                                                 400,
	} {
		if status, text := control(t, "POST", url+"/faults", body); status != want {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
	limit := forgesim.Fault{Name: forgesim.TooManyRequests, RetryAfter: 2 * time.Second, Status: 429}
	if d := cmp.Diff([]forgesim.Fault{limit}, s.Forge(provision.BitbucketCloud).Faults()); d != "" {
		t.Error(d)
	}
	for k, n := range map[provision.Kind]int{provision.Gitea: 2, provision.GitHub: 2} {
		if got := s.Forge(k).Faults(); len(got) != n {
			t.Errorf("%s has %+v", k, got)
		}
	}
	if status, _ := control(t, "DELETE", url+"/faults", ""); status != 204 {
		t.Error(status)
	}
	for _, f := range s.Forges() {
		if got := f.Faults(); len(got) != 0 {
			t.Errorf("%s still has %+v", f.Kind(), got)
		}
	}
}

func TestControlRelease(t *testing.T) {
	s, url := startControl(t)
	f := s.Forge(provision.Gitea)
	control(t, "POST", url+"/faults", `{"name": "hold-reply"}`)
	done := make(chan error)
	go func() {
		_, err := try(t, f, own(t), create(f.Kind(), "x", newPublic(t)))
		done <- err
	}()
	if err := f.Await(t.Context(), func() bool { return f.Held() == 1 }); err != nil {
		t.Fatal(err)
	}
	if status, body := control(t, "POST", url+"/release", ""); status != 200 || !strings.Contains(body, `"released": 1`) {
		t.Errorf("%d %s", status, body)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestControlIsLoopbackOnly(t *testing.T) {
	s := start(t, forgesim.Options{Kinds: []provision.Kind{provision.Gitea}})
	for _, address := range []string{"0.0.0.0:0", ":0", "127.0.0.1", "192.0.2.1:0", "localhost.example:0"} {
		if _, err := s.ServeControl(t.Context(), address); err == nil {
			t.Errorf("%s is served", address)
		}
	}
}
