package forgesim

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"deploykeyd/provision"
)

// TestLFSGrantExpires uses an answer to git-lfs-authenticate until its end.
func TestLFSGrantExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, err := New(Options{Kinds: []provision.Kind{provision.GitHub}})
		if err != nil {
			t.Fatal(err)
		}
		defer sim.Close()
		f := sim.Forge(provision.GitHub)
		if err := f.AddRepository("acme/api", RepositoryOptions{}); err != nil {
			t.Fatal(err)
		}
		var a lfsAnswer
		if err := json.Unmarshal([]byte(f.grantLFS(start{repository: f.mustFind("acme/api")}).stdout), &a); err != nil {
			t.Fatal(err)
		}
		ask := func() int {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, a.Href+"/locks/verify", nil)
			r.Header.Set("Authorization", a.Header["Authorization"])
			w := httptest.NewRecorder()
			q, ok := f.locateLFS(r)
			if !ok {
				t.Fatalf("%s is not found", a.Href)
			}
			f.serveLFS(w, r, q)
			return w.Code
		}
		<-time.After(lfsLife - time.Second)
		if status := ask(); status != http.StatusOK {
			t.Errorf("in its last second: %d", status)
		}
		<-time.After(time.Second)
		if status := ask(); status != http.StatusUnauthorized {
			t.Errorf("after its end: %d", status)
		}
	})
}
