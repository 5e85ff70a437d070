package forgesim_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// TestAppClock lets the forge's clock, not ours, decide about JWT and token.
func TestAppClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, provision.GitHub)
		key := withApp(t, f)
		token := issued(t, f, key, 1, "")
		list := bearer("GET", "/repos/acme/api/keys", token, "")
		for offset, want := range map[time.Duration]int{-2 * time.Minute: 401, -time.Minute: 201, 8 * time.Minute: 201, 9 * time.Minute: 401} {
			remove := f.Inject(forgesim.Fault{Name: forgesim.WrongDate, Offset: offset, Op: forgesim.OpToken})
			if a := exchange(t, f, key, 1, ""); a.status != want {
				t.Errorf("clock off by %v: %d %s", offset, a.status, a.body)
			}
			remove()
		}
		remove := f.Inject(forgesim.Fault{Name: forgesim.WrongDate, Offset: time.Hour})
		if a := send(t, f, list); a.status != 401 || !strings.Contains(a.body, "Bad credentials") {
			t.Errorf("by a clock of an hour later: %d %s", a.status, a.body)
		}
		remove()
		<-time.After(time.Hour - time.Second)
		if a := send(t, f, list); a.status != 200 {
			t.Errorf("in its last second: %d %s", a.status, a.body)
		}
		<-time.After(time.Second)
		if a := send(t, f, list); a.status != 401 {
			t.Errorf("after an hour: %d %s", a.status, a.body)
		}
	})
}

func TestSetAppKeys(t *testing.T) {
	f := open(t, provision.GitHub)
	old, renewed := withApp(t, f), newAppKey(t)
	token := issued(t, f, old, 1, "")
	f.SetAppKeys(appID, &renewed.PublicKey)
	if a := exchange(t, f, old, 1, ""); a.status != 401 {
		t.Errorf("with the old key: %d", a.status)
	}
	issued(t, f, renewed, 1, "")
	if a := send(t, f, bearer("GET", "/repos/acme/api/keys", token, "")); a.status != 200 {
		t.Errorf("a token that the old key got: %d", a.status)
	}
}

func TestInstallationDeletedAndSuspended(t *testing.T) {
	f := open(t, provision.GitHub)
	key := withApp(t, f)
	token, other := issued(t, f, key, 1, ""), issued(t, f, key, 2, "")
	r := create(f.Kind(), "x", newPublic(t))
	r.token = &forgesim.Token{Secret: token}
	if a := send(t, f, r); a.status != http.StatusCreated {
		t.Fatal(a.status, a.body)
	}
	list := bearer("GET", "/repos/acme/api/keys", token, "")
	f.SuspendInstallation(1, true)
	for _, a := range []answer{exchange(t, f, key, 1, ""), send(t, f, list)} {
		if a.status != 403 || !strings.Contains(a.body, `"This installation has been suspended"`) {
			t.Errorf("suspended: %d %s", a.status, a.body)
		}
	}
	f.SuspendInstallation(1, false)
	if a := send(t, f, list); a.status != 200 {
		t.Errorf("no longer suspended: %d", a.status)
	}
	f.DeleteInstallation(1)
	if a := send(t, f, list); a.status != 401 {
		t.Errorf("token of a deleted installation: %d", a.status)
	}
	if a := exchange(t, f, key, 1, ""); a.status != 404 {
		t.Errorf("deleted: %d %s", a.status, a.body)
	}
	if len(f.AllKeys()) != 1 || len(f.IssuedTokens()) != 1 || f.IssuedTokens()[0] != other {
		t.Errorf("left: keys %v, tokens %d", f.AllKeys(), len(f.IssuedTokens()))
	}
}
