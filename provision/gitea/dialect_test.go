package gitea_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/credential"
	"deploykeyd/provision/gitea"
)

const (
	keyLine   = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKRA+ciGbh7m9liOp2utE+vpbdh1VGSQwJD/hhjFAMVM"
	tokenName = "DEPLOYKEYD_TEST_GITEA"
	jsonType  = "application/json;charset=utf-8"
)

var target = provision.RepositoryTarget("acme/app")

// serve returns a forge whose server is handle.
func serve(t *testing.T, prefix string, handle http.HandlerFunc) *gitea.Forge {
	t.Helper()
	t.Setenv(tokenName, "0123456789")
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	f, err := gitea.New(gitea.Options{Name: "forge", URL: server.URL + prefix, Credential: credential.Env(tokenName), UserAgent: "deploykeyd/test"})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func reply(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}

func request(t *testing.T) provision.KeyRequest {
	t.Helper()
	key, err := provision.ParsePublicKey(keyLine)
	if err != nil {
		t.Fatal(err)
	}
	return provision.KeyRequest{Title: "title", Key: key, Access: provision.Read}
}

func TestNewRefuses(t *testing.T) {
	for _, url := range []string{"", "git.acme.example", "http://git.acme.example", "https://user:secret@git.acme.example"} {
		_, err := gitea.New(gitea.Options{URL: url, Credential: credential.Env(tokenName)})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q gives %v", url, err)
		}
	}
	if _, err := gitea.New(gitea.Options{URL: "https://git.acme.example"}); err == nil {
		t.Error("no credential is accepted")
	}
}

func TestRequestOnTheWire(t *testing.T) {
	var got *http.Request
	f := serve(t, "/sub/", func(w http.ResponseWriter, r *http.Request) {
		got = r
		reply(w, http.StatusCreated, `{"id":2,"key":"`+keyLine+` somebody@host","title":"title","created_at":"2026-09-01T12:00:00+02:00","read_only":true}`)
	})
	made, err := f.Register(t.Context(), target, request(t))
	if err != nil {
		t.Fatal(err)
	}
	want := provision.Registration{
		ID: "2", Title: "title", Key: request(t).Key, Access: provision.Read, Created: time.Date(2026, 9, 1, 10, 0, 0, 0, time.UTC),
	}
	if made != want {
		t.Errorf("gives %+v", made)
	}
	if got.URL.Path != "/sub/api/v1/repos/acme/app/keys" || got.Header.Get("Authorization") != "token 0123456789" {
		t.Errorf("asks %s with %v", got.URL, got.Header)
	}
}

// TestRefusals holds the texts of Gitea and Forgejo against their classes.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		class  provision.Class
		next   string
	}{
		{401, `{"message":"invalid username, password or token"}`, provision.BadCredential, "token"},
		{403, `{"message":"user should be an owner or a collaborator with admin write of a repository"}`, provision.Denied, "administrator"},
		{403, `{"message":"token does not have at least one of required scope(s), required=[write:repository], token scope=read:repository"}`, provision.Denied, "write:repository"},
		{403, `{"message":"token does not have at least one of required scope(s): [write:repository]"}`, provision.Denied, "write:repository"},
		{404, `{"errors":null,"message":"not found"}`, provision.NotFound, "name"},
		{404, `{"errors":["user redirect does not exist [name: x]"],"message":"GetUserByName"}`, provision.NotFound, "name"},
		{422, `{"message":"A key with the same name already exists"}`, provision.TitleClash, "title"},
		{422, `{"message":"Key content has been used as non-deploy key"}`, provision.InUseElsewhere, "keypair"},
		{422, `{"message":"SSH is disabled"}`, provision.PolicyForbids, "SSH"},
		{422, `{"message":"Invalid key content: key length is not enough: got 1024, needs 3071"}`, provision.Invalid, "key type"},
		{422, `{"message":"[Title]: Required"}`, provision.Invalid, ""},
	} {
		f := serve(t, "", func(w http.ResponseWriter, _ *http.Request) { reply(w, c.status, c.body) })
		_, err := f.Register(t.Context(), target, request(t))
		e, ok := errors.AsType[*provision.Error](err)
		if !ok || e.Class != c.class || e.Uncertain || e.Status != c.status || !strings.Contains(e.Next, c.next) || e.Message == "" {
			t.Errorf("%s gives %+v", c.body, e)
		}
	}
}

// TestAddedAndNotListed is a forge that contradicts itself.
func TestAddedAndNotListed(t *testing.T) {
	f := serve(t, "", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			reply(w, http.StatusUnprocessableEntity, `{"message":"This key has already been added to this repository"}`)
			return
		}
		w.Header().Set("X-Total-Count", "0")
		reply(w, http.StatusOK, `[]`)
	})
	_, err := f.Register(t.Context(), target, request(t))
	if provision.ClassOf(err) != provision.Transient || !provision.IsUncertain(err) {
		t.Errorf("gives %v", err)
	}
}

// TestForeignID is what Gitea says to the id of another repository's key. It
// comes as a server error, and must not be repeated like one.
func TestForeignID(t *testing.T) {
	deletions := 0
	f := serve(t, "", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			deletions++
			reply(w, http.StatusInternalServerError, `{"message":"deploy key 1 does not belong to repository 3"}`)
			return
		}
		w.Header().Set("X-Total-Count", "1")
		reply(w, http.StatusOK, `[{"id":1,"key":"`+keyLine+`","title":"title","read_only":true}]`)
	})
	err := f.Revoke(t.Context(), target, provision.Registration{ID: "1", Key: request(t).Key})
	if provision.ClassOf(err) != provision.Invalid || provision.IsUncertain(err) || deletions != 1 {
		t.Errorf("gives %v after %d deletions", err, deletions)
	}
}

func TestListOfStrangeEntries(t *testing.T) {
	f := serve(t, "", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Total-Count", "4")
		reply(w, http.StatusOK, `[{"id":1,"key":"","key_type":"token","title":"a token"},
			{"id":2,"key":"ssh-rsa !!!","title":"broken","read_only":false,"repository":{"id":1}},
			{"id":3,"key":"command=\"x\" `+keyLine+`"},
			{"id":4,"key":"`+keyLine+`","read_only":true}]`)
	})
	var all []provision.Registration
	for r, err := range f.List(t.Context(), target) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	if len(all) != 4 || !all[0].Key.IsZero() || !all[1].Key.IsZero() || !all[2].Key.IsZero() || all[3].Key != request(t).Key {
		t.Errorf("lists %+v", all)
	}
	if all[1].Access != provision.Write || all[3].Access != provision.Read || all[1].Title != "broken" {
		t.Errorf("lists %+v", all)
	}
}

// TestListsThatCannotBeBelieved ends in an error, never early: callers conclude
// from a list that a key is gone.
func TestListsThatCannotBeBelieved(t *testing.T) {
	const one = `[{"id":1,"key":"` + keyLine + `"}]`
	for name, handle := range map[string]http.HandlerFunc{
		"pages are ignored": func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, one) },
		"a total that is none": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Total-Count", "many")
			reply(w, http.StatusOK, one)
		},
		"an end before the total": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Total-Count", "3")
			if r.URL.Query().Get("page") == "1" {
				reply(w, http.StatusOK, one)
				return
			}
			reply(w, http.StatusOK, `[]`)
		},
		"an object": func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, `{}`) },
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, "", handle)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, found, err := provision.Find(ctx, f, target, provision.PublicKey{})
			if err == nil || found || provision.ClassOf(err) != provision.Transient {
				t.Errorf("gives %v, %v", found, err)
			}
		})
	}
}

// TestListWithoutTotal counts pages until one is empty.
func TestListWithoutTotal(t *testing.T) {
	f := serve(t, "", func(w http.ResponseWriter, r *http.Request) {
		page := r.URL.Query().Get("page")
		if page == "3" {
			reply(w, http.StatusOK, `[]`)
			return
		}
		reply(w, http.StatusOK, `[{"id":`+page+`,"key":"`+keyLine+`"}]`)
	})
	n := 0
	for _, err := range f.List(t.Context(), target) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("lists %d keys", n)
	}
}

// TestRepliesThatAreNoList are successes by their status: taken for empty lists
// they would say that a key is gone.
func TestRepliesThatAreNoList(t *testing.T) {
	for _, body := range []string{`null`, `{}`, `[null]`} {
		f := serve(t, "", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, body) })
		_, found, err := provision.Find(t.Context(), f, target, request(t).Key)
		if found || err == nil || provision.ClassOf(err) != provision.Transient || provision.NextStep(err) == "" {
			t.Errorf("%s gives %v, %v", body, found, err)
		}
	}
}
