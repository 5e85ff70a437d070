package rest_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/credential"
	"deploykeyd/provision/internal/rest"
)

func newDoer(t *testing.T, root string, transport http.RoundTripper) *rest.Doer {
	t.Helper()
	d, err := rest.NewDoer(rest.Options{
		Forge: "forge", Root: root, Transport: transport, UserAgent: "deploykeyd/test",
		Header: http.Header{"X-Version": {"1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func ask(ctx context.Context, t *testing.T, d *rest.Doer, url string) (rest.Reply, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("grant"))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("client", token)
	response, err := d.Do(r)
	if err != nil {
		return rest.Reply{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return rest.Reply{Status: response.StatusCode, Header: response.Header, Body: body}, err
}

// exchangeError checks that err is an exchange's and shows no secret.
func exchangeError(t *testing.T, err error) *credential.Error {
	t.Helper()
	e, ok := errors.AsType[*credential.Error](err)
	if !ok {
		t.Fatalf("gives %v", err)
	}
	for _, secret := range []string{token, url.QueryEscape(token), base64.StdEncoding.EncodeToString([]byte("client:" + token)), "secret=query"} {
		if strings.Contains(e.Error()+e.Next, secret) {
			t.Errorf("shows %q: %v", secret, e)
		}
	}
	if strings.ContainsAny(e.Error(), "\n\r") {
		t.Errorf("is no plain line: %q", e.Error())
	}
	return e
}

func TestDoer(t *testing.T) {
	f := &forge{replies: []reply{{status: 401, header: map[string]string{"Content-Type": jsonType, "X-One": "1"}, body: `{"error":"x"}`}}}
	r, err := ask(t.Context(), t, newDoer(t, "https://git.acme.example/api", f), "https://git.acme.example/site/token")
	if err != nil || string(r.Body) != `{"error":"x"}` || r.Status != http.StatusUnauthorized || r.Header.Get("X-One") != "1" {
		t.Errorf("gives %d %s, %v", r.Status, r.Body, err)
	}
	for name, value := range map[string]string{"Accept": "application/json", "User-Agent": "deploykeyd/test", "X-Version": "1"} {
		if got := f.requests[0].Header.Get(name); got != value {
			t.Errorf("%s is %q", name, got)
		}
	}
	if f.sent() != 1 || f.bodies[0] != "grant" {
		t.Errorf("sent %v", f.bodies)
	}
}

func TestDoerStaysAtItsServer(t *testing.T) {
	f := &forge{replies: []reply{ok("{}")}}
	d := newDoer(t, "https://git.acme.example/api", f)
	for _, url := range []string{"http://git.acme.example/api", "https://evil.example/api", "https://git.acme.example:8443/api"} {
		_, err := ask(t.Context(), t, d, url)
		if e := exchangeError(t, err); e.Reason != credential.Refused || f.sent() != 0 {
			t.Errorf("%s gives %v", url, e)
		}
	}
	for _, root := range []string{"http://git.acme.example", "git.acme.example", "https://u:p@git.acme.example"} {
		if _, err := rest.NewDoer(rest.Options{Root: root}); err == nil {
			t.Errorf("%s is accepted", root)
		}
	}
}

func TestDoerFollowsNoRedirect(t *testing.T) {
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	r, err := ask(t.Context(), t, newDoer(t, server.URL, nil), server.URL+"/token")
	if err != nil || r.Status != http.StatusTemporaryRedirect || requests.Load() != 1 {
		t.Errorf("gives %d, %v after %d requests", r.Status, err, requests.Load())
	}
}

func TestDoerTrouble(t *testing.T) {
	dns := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Name: "git.acme.example", Err: "no such host"}}
	basic := base64.StdEncoding.EncodeToString([]byte("client:" + token))
	for name, c := range map[string]struct {
		reply reply
		says  string
	}{
		"no name":          {reply{err: &url.Error{Op: "Post", URL: "https://x/?secret=query", Err: dns}}, "cannot be resolved"},
		"cut":              {reply{status: 200, body: "{", cut: true}, "cut"},
		"too much":         {reply{status: 200, body: strings.Repeat("x", 1<<20+1)}, "larger"},
		"hangs":            {reply{delay: time.Hour}, "within 30s"},
		"echo":             {reply{err: &echoError{token}}, "malformed"},
		"echo of a header": {reply{err: &echoError{"Basic " + basic}}, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T, _ func() time.Duration) {
				f := &forge{replies: []reply{c.reply}}
				_, err := ask(t.Context(), t, newDoer(t, "https://git.acme.example", f), "https://git.acme.example/token?secret=query")
				e := exchangeError(t, err)
				if e.Reason != credential.Trouble || !strings.Contains(e.Message, c.says) || e.Next == "" || f.sent() != 1 {
					t.Errorf("gives %+v after %d requests", e, f.sent())
				}
			})
		})
	}
	virtual(t, func(t *testing.T, passed func() time.Duration) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := ask(ctx, t, newDoer(t, "https://git.acme.example", &forge{replies: []reply{{delay: time.Hour}}}), "https://git.acme.example/token")
		if e := exchangeError(t, err); !errors.Is(e, context.DeadlineExceeded) || passed() != time.Second {
			t.Errorf("gives %v after %v", e, passed())
		}
	})
}

// TestDoerSharesItsClock shows a time once to the exchange and once to the
// client, and each of them then goes by it.
func TestDoerSharesItsClock(t *testing.T) {
	for _, first := range []string{"exchange", "client", "nobody"} {
		virtual(t, func(t *testing.T, _ func() time.Duration) {
			f := &forge{replies: []reply{dated(200, date)}}
			d := newDoer(t, "https://git.acme.example", f)
			client, err := rest.New(rest.Options{
				Kind: provision.GitHub, Forge: "forge", Root: "https://git.acme.example", Credential: &source{tokens: []string{token}},
				Authorize: func(*http.Request, credential.Secret) {}, Refine: func(rest.Reply, *provision.Error) {}, Doer: d,
			})
			if err != nil {
				t.Fatal(err)
			}
			want := at
			switch first {
			case "exchange":
				_, err = ask(t.Context(), t, d, "https://git.acme.example/token")
			case "client":
				_, err = client.Do(t.Context(), get(), nil)
			case "nobody":
				want = time.Now()
			}
			if err != nil || !d.Now().Equal(want) {
				t.Errorf("%s: it is %v, %v", first, d.Now(), err)
			}
			if now, err := client.Time(t.Context()); err != nil || !now.Equal(at) || first != "nobody" && f.sent() != 1 {
				t.Errorf("%s: the client has %v, %v after %d requests", first, now, err, f.sent())
			}
		})
	}
	f := &forge{replies: []reply{withDate(reply{status: 401, body: "<html>"}, date)}}
	d := newDoer(t, "https://git.acme.example", f)
	if _, err := ask(t.Context(), t, d, "https://git.acme.example/token"); err != nil || time.Since(d.Now()).Abs() > time.Minute {
		t.Errorf("a login page tells the time: %v, %v", d.Now(), err)
	}
}

// TestG8StacksShowNoCredential takes every goroutine's stack, as a panic prints
// it, while credentials are on their way.
func TestG8StacksShowNoCredential(t *testing.T) {
	var stacks []string
	seen := roundTripper(func(r *http.Request) (*http.Response, error) {
		text := make([]byte, 1<<20)
		stacks = append(stacks, string(text[:runtime.Stack(text, true)]))
		if r.Header.Get("Authorization") == "" {
			t.Error("no credential was sent")
		}
		return nil, io.EOF
	})
	if _, err := ask(t.Context(), t, newDoer(t, "https://git.acme.example", seen), "https://git.acme.example/token"); err == nil {
		t.Error("no error")
	}
	for _, basic := range []bool{false, true} {
		if _, err := newClient(t, setup{transport: seen, basic: basic}).Do(t.Context(), post(), nil); err == nil {
			t.Error("no error")
		}
	}
	if len(stacks) != 3 {
		t.Fatalf("%d stacks", len(stacks))
	}
	for _, text := range stacks {
		if !strings.Contains(text, "RoundTrip") {
			t.Fatalf("no stack: %s", text)
		}
		for i := 0; i+8 <= len(token); i++ {
			part := token[i : i+8]
			for _, form := range []string{part, hexList(part), hexWord(part)} {
				if strings.Contains(strings.ReplaceAll(text, "?", ""), form) {
					t.Fatalf("shows %s: %s", form, text)
				}
			}
		}
	}
}

// roundTripper is a transport that is a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// hexList is eight bytes as a stack shows an array's, hexWord as it shows a
// number's.
func hexList(part string) string {
	list := make([]string, len(part))
	for i := range len(part) {
		list[i] = fmt.Sprintf("0x%x", part[i])
	}
	return strings.Join(list, ", ")
}

func hexWord(part string) string {
	return fmt.Sprintf("0x%x", binary.LittleEndian.Uint64([]byte(part)))
}
