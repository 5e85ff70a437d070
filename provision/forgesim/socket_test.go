package forgesim_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// own returns a client over sockets that shares nothing with other tests and
// repeats nothing.
func own(t *testing.T) http.Client {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true}
	t.Cleanup(tr.CloseIdleConnections)
	return http.Client{Transport: tr}
}

// TestFaultsOverSockets repeats over real connections what is not the same
// there: how a connection ends, and what net/http adds to a reply.
func TestFaultsOverSockets(t *testing.T) {
	f := startOne(t, provision.Gitea)
	c := own(t)
	for _, fault := range []forgesim.FaultName{forgesim.CutBefore, forgesim.CutAfterEffect, forgesim.LateEffect} {
		before := count(f)
		f.Inject(forgesim.Fault{Name: fault, Times: 1})
		if a, err := try(t, f, c, create(f.Kind(), string(fault), newPublic(t))); !errors.Is(err, io.EOF) {
			t.Errorf("%s: %+v, %v", fault, a, err)
		}
		want := before + 1
		if fault == forgesim.CutBefore {
			want = before
		}
		if err := f.Await(t.Context(), func() bool { return count(f) == want }); err != nil {
			t.Errorf("%s: %v", fault, err)
		}
	}
	f.Inject(forgesim.Fault{Name: forgesim.TruncatedReply, Times: 1})
	if a, err := try(t, f, c, create(f.Kind(), "truncated", newPublic(t))); !errors.Is(err, io.ErrUnexpectedEOF) || a.status != http.StatusCreated || a.body == "" {
		t.Errorf("truncated: %+v, %v", a, err)
	}
	f.Inject(forgesim.Fault{Name: forgesim.NoDate, Times: 1})
	if a, err := try(t, f, c, create(f.Kind(), "no date", newPublic(t))); err != nil || a.header.Get("Date") != "" {
		t.Errorf("no date: %+v, %v", a, err)
	}
	f.Inject(forgesim.Fault{Name: forgesim.WrongDate, Times: 1, Offset: 48 * time.Hour})
	a, err := try(t, f, c, create(f.Kind(), "wrong date", newPublic(t)))
	date, _ := http.ParseTime(a.header.Get("Date"))
	if err != nil || time.Until(date) < 47*time.Hour || len(a.header.Values("Date")) != 1 {
		t.Errorf("wrong date: %+v, %v", a, err)
	}
}

func TestOversizedReplyOverSockets(t *testing.T) {
	f := startOne(t, provision.Gitea)
	f.Inject(forgesim.Fault{Name: forgesim.OversizedReply, Times: 1})
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.URL()+keysPath(f.Kind(), "acme/api"), nil)
	if err != nil {
		t.Fatal(err)
	}
	authenticate(q, f, nil)
	c := own(t)
	resp, err := c.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || n < 32<<20 || n != resp.ContentLength {
		t.Errorf("%d bytes of %d, %v", n, resp.ContentLength, err)
	}
}

// TestHeldClientGoesAway kills the client of a held reply: the work is done, and
// the forge notices that nobody waits any more.
func TestHeldClientGoesAway(t *testing.T) {
	f := startOne(t, provision.Gitea)
	f.Inject(forgesim.Fault{Name: forgesim.HoldReply})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", f.Addresses().HTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, token := f.Credential()
	r := create(f.Kind(), "x", newPublic(t))
	q, err := http.NewRequestWithContext(t.Context(), r.method, f.URL()+r.path, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Authorization", "token "+token)
	if err := q.Write(conn); err != nil {
		t.Fatal(err)
	}
	if err := f.Await(t.Context(), func() bool { return f.Held() == 1 }); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil || count(f) != 1 {
		t.Fatal(err, count(f))
	}
	if err := f.Await(t.Context(), func() bool { return f.Held() == 0 }); err != nil {
		t.Fatal(err)
	}
}

func TestTransportWithSockets(t *testing.T) {
	f := startOne(t, provision.GitHub)
	if a := send(t, f, create(f.Kind(), "x", newPublic(t))); a.status != http.StatusCreated {
		t.Error(a.status, a.body)
	}
}

// TestRepositoryObjects reads what other programs learn the SSH address from.
func TestRepositoryObjects(t *testing.T) {
	s := start(t, forgesim.Options{})
	for k, path := range map[provision.Kind]string{
		provision.Gitea: "/api/v1/repos/acme/api", provision.GitHub: "/api/v3/repos/acme/api", provision.BitbucketCloud: "/2.0/repositories/acme/api",
	} {
		f := s.Forge(k)
		addRepositories(t, f, "acme/api")
		a, err := try(t, f, own(t), request{method: "GET", path: path})
		if err != nil || a.status != http.StatusOK || !strings.Contains(a.body, `"`+f.SSH().CloneURL("acme/api")+`"`) || !strings.Contains(a.body, `"full_name":"acme/api"`) {
			t.Errorf("%s: %d %s, %v", k, a.status, a.body, err)
		}
		if k != provision.BitbucketCloud && !strings.Contains(a.body, `"permissions":{"admin":true`) {
			t.Errorf("%s: %s", k, a.body)
		}
	}
}
