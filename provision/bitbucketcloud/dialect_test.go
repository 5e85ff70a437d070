package bitbucketcloud_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/bitbucketcloud"
	"deploykeyd/provision/credential"
)

const (
	keyLine   = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKRA+ciGbh7m9liOp2utE+vpbdh1VGSQwJD/hhjFAMVM"
	tokenName = "DEPLOYKEYD_TEST_BITBUCKET"
)

var target = provision.RepositoryTarget("acme/app")

// serve returns a forge whose server is handle.
func serve(t *testing.T, username string, handle http.HandlerFunc) *bitbucketcloud.Forge {
	t.Helper()
	t.Setenv(tokenName, "0123456789")
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	f, err := bitbucketcloud.New(bitbucketcloud.Options{
		Name: "forge", URL: server.URL, Username: username, Credential: credential.Env(tokenName), UserAgent: "deploykeyd/test",
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func reply(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
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
	for _, o := range []bitbucketcloud.Options{
		{Username: "a:b", Credential: credential.Env(tokenName)},
		{URL: "http://api.bitbucket.org", Credential: credential.Env(tokenName)},
		{Username: "ci@acme.example"},
	} {
		if _, err := bitbucketcloud.New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	if _, err := bitbucketcloud.New(bitbucketcloud.Options{Credential: credential.Env(tokenName)}); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

func TestRequestOnTheWire(t *testing.T) {
	for username, authorization := range map[string]string{
		"":                "Bearer 0123456789",
		"ci@acme.example": "Basic Y2lAYWNtZS5leGFtcGxlOjAxMjM0NTY3ODk=",
	} {
		var got *http.Request
		f := serve(t, username, func(w http.ResponseWriter, r *http.Request) {
			got = r
			reply(w, http.StatusOK, `{"id":123,"key":"`+keyLine+`","comment":"","label":"title","type":"deploy_key","created_on":"2026-09-01T10:00:00.123456+00:00"}`)
		})
		made, err := f.Register(t.Context(), provision.RepositoryTarget("{85d08b4e}/app"), request(t))
		if err != nil {
			t.Fatal(err)
		}
		want := provision.Registration{
			ID: "123", Title: "title", Key: request(t).Key, Access: provision.Read,
			Created: time.Date(2026, 9, 1, 10, 0, 0, 123456000, time.UTC),
		}
		if made != want {
			t.Errorf("gives %+v", made)
		}
		if got.URL.EscapedPath() != "/2.0/repositories/%7B85d08b4e%7D/app/deploy-keys" || got.Header.Get("Authorization") != authorization {
			t.Errorf("asks %s with %v", got.URL, got.Header)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		body   string
		class  provision.Class
		says   string
		next   string
		wait   time.Duration
	}{
		{"bad token", 401, `{"type":"error","error":{"message":"Token is invalid, expired, or not supported for this endpoint."}}`, provision.BadCredential, "expired", "e-mail", 0},
		{"scope", 403, `{"type":"error","error":{"message":"Your credentials lack one or more required privilege scopes.","detail":{"required":["admin:repository:bitbucket"],"granted":["x"]}}}`, provision.Denied, "required: admin:repository:bitbucket", "admin:repository:bitbucket", 0},
		{"detail as text", 403, `{"type":"error","error":{"message":"No.","detail":"because"}}`, provision.Denied, "No.", "scopes", 0},
		{"missing", 404, `{"type":"error","error":{"message":"Repository acme/app not found"}}`, provision.NotFound, "not found", "names", 0},
		{"key elsewhere", 400, `{"type":"error","error":{"message":"Bad request","fields":{"key":["SSH keys must be unique"]}}}`, provision.InUseElsewhere, "must be unique", "keypair", 0},
		{"key elsewhere, in other words", 400, `{"type":"error","error":{"message":"Someone has already registered that SSH key."}}`, provision.InUseElsewhere, "already", "keypair", 0},
		{"label", 400, `{"type":"error","error":{"message":"Bad request","fields":{"label":["too long"]}}}`, provision.Invalid, "label: too long", "", 0},
		{"limit", 429, `Rate limit for this resource has been exceeded.`, provision.RateLimited, "", "", time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := serve(t, "ci@acme.example", func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					reply(w, http.StatusOK, `{"pagelen":100,"values":[]}`)
					return
				}
				reply(w, c.status, c.body)
			})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // less than the wait
			defer cancel()
			_, err := f.Register(ctx, target, request(t))
			e, ok := errors.AsType[*provision.Error](err)
			if !ok || e.Class != c.class || e.Uncertain || e.RetryAfter != c.wait || !strings.Contains(e.Next, c.next) || !strings.Contains(e.Message, c.says) {
				t.Errorf("gives %+v", e)
			}
		})
	}
}

func TestListOfStrangeEntries(t *testing.T) {
	f := serve(t, "", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, `{"size":2,"values":[{"id":1,"key":"ssh-rsa !!!","label":"broken","added_on":"2026-09-01T10:00:00Z","last_used":null,"owner":{}},
			{"id":2,"key":"`+keyLine+`","label":"t"}]}`)
	})
	var all []provision.Registration
	for r, err := range f.List(t.Context(), target) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	if len(all) != 2 || !all[0].Key.IsZero() || all[0].Created.Year() != 2026 || all[1].Key != request(t).Key || !all[1].Created.IsZero() {
		t.Errorf("lists %+v", all)
	}
}

func TestNextPageElsewhere(t *testing.T) {
	for _, next := range []string{"https://evil.example/2.0/x?page=2", "/1.0/x", "//evil.example/2.0/x", ":"} {
		requests := 0
		f := serve(t, "", func(w http.ResponseWriter, _ *http.Request) {
			requests++
			reply(w, http.StatusOK, `{"values":[{"id":1,"key":"`+keyLine+`"}],"next":"`+next+`"}`)
		})
		_, found, err := provision.Find(t.Context(), f, target, provision.PublicKey{})
		if found || err == nil || provision.ClassOf(err) != provision.Transient || requests != 1 {
			t.Errorf("%s gives %v, %v after %d requests", next, found, err, requests)
		}
	}
}

// TestRepliesThatAreNoList are successes by their status: taken for empty lists
// they would say that a key is gone.
func TestRepliesThatAreNoList(t *testing.T) {
	for _, body := range []string{`null`, `{}`, `[]`, `{"type":"error","error":{"message":"x"}}`, `{"values":null}`, `{"values":[null]}`, `{"size":2,"values":[]}`, `{"size":-1,"values":[]}`} {
		f := serve(t, "", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, body) })
		_, found, err := provision.Find(t.Context(), f, target, request(t).Key)
		if found || err == nil || provision.ClassOf(err) != provision.Transient || provision.NextStep(err) == "" {
			t.Errorf("%s gives %v, %v", body, found, err)
		}
	}
}

// TestBadRequestElsewhere is a 400 to what registers no key: it says nothing of
// a key that exists.
func TestBadRequestElsewhere(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		f := serve(t, "", func(w http.ResponseWriter, r *http.Request) {
			if r.Method == method {
				reply(w, http.StatusBadRequest, `{"type":"error","error":{"message":"Bad request"}}`)
				return
			}
			reply(w, http.StatusOK, `{"values":[{"id":1,"key":"`+keyLine+`"}]}`)
		})
		err := f.Revoke(t.Context(), target, provision.Registration{ID: "1", Key: request(t).Key})
		if provision.ClassOf(err) != provision.Invalid || provision.NextStep(err) == "" || provision.IsUncertain(err) {
			t.Errorf("%s gives %v, next %q", method, err, provision.NextStep(err))
		}
	}
}
