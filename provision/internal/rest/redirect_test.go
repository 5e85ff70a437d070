package rest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"deploykeyd/provision"
	"deploykeyd/provision/internal/rest"
)

// TestRedirectsAreRefused uses the real client: it is net/http that would turn
// a POST or DELETE into a GET whose 200 looks like success.
func TestRedirectsAreRefused(t *testing.T) {
	var followed atomic.Int32
	var code atomic.Int32
	var location atomic.Value
	location.Store("")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/api/v1/repos/acme/app/keys") {
			followed.Add(1)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusOK)
			return
		}
		w.Header()["Location"] = []string{location.Load().(string)}
		w.WriteHeader(int(code.Load()))
	}))
	defer server.Close()
	client := newClient(t, setup{root: server.URL + "/api/v1"})
	for _, status := range []int{300, 301, 302, 303, 304, 307, 308} {
		for to, shown := range map[string]string{
			"/api/v1/repos/acme/new/keys":                                    "/api/v1/repos/acme/new/keys",
			"https://elsewhere.example/repositories/1/keys?access_token=abc": "/repositories/1/keys",
			"/a%20b":  "another place",
			"%zz":     "another place",
			":::":     "another place",
			"":        "another place",
			"/<html>": "another place",
		} {
			code.Store(int32(status))
			location.Store(to)
			for _, call := range []rest.Call{get(), post(), del()} {
				_, err := client.Do(t.Context(), call, nil)
				e := errorOf(t, err, provision.Moved, false)
				if e.Status != status || !strings.Contains(e.Message, shown) || strings.ContainsAny(e.Message, "?<") || !strings.Contains(e.Next, "configuration") {
					t.Errorf("%s %d to %q: %+v", call.Method, status, to, e)
				}
			}
		}
	}
	if n := followed.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}
