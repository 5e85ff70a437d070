package forgesim_test

import (
	"net/http"
	"testing"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

func TestLimits(t *testing.T) {
	bubble(t, func(t *testing.T, f *forgesim.Forge) {
		refused := http.StatusTooManyRequests
		if f.Kind() == provision.GitHub {
			refused = http.StatusForbidden
		}
		f.SetLimits(provision.Limits{RequestsPerHour: 5, CreatesPerMinute: 1})
		list := func() int {
			return send(t, f, request{method: "GET", path: keysPath(f.Kind(), "acme/api")}).status
		}
		mustCreate(t, f, "first", newPublic(t))
		if a, _, err := register(t, f); err != nil || a.status != refused {
			t.Errorf("second create of a minute: %d, %v", a.status, err)
		}
		time.Sleep(time.Minute) //nolint:forbidigo // virtual time
		mustCreate(t, f, "second", newPublic(t))
		for i, want := range []int{200, 200, refused} {
			if got := list(); got != want {
				t.Errorf("list %d: %d", i, got)
			}
		}
		time.Sleep(time.Hour) //nolint:forbidigo // virtual time
		if got := list(); got != http.StatusOK {
			t.Errorf("an hour later: %d", got)
		}
	})
}
