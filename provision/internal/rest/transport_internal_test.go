package rest

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"deploykeyd/provision"
	"deploykeyd/provision/credential"
)

func TestParseRoot(t *testing.T) {
	for in, want := range map[string]string{
		"https://git.acme.example/api/v1":  "https://git.acme.example/api/v1",
		"https://git.acme.example/api/v1/": "https://git.acme.example/api/v1",
		"https://10.0.0.1:8443/x":          "https://10.0.0.1:8443/x",
		"http://127.0.0.1:3000/api/v1":     "http://127.0.0.1:3000/api/v1",
		"http://127.8.9.1/api/v1":          "http://127.8.9.1/api/v1",
		"http://[::1]:3000/api/v1":         "http://[::1]:3000/api/v1",
		"http://localhost/api/v1":          "http://localhost/api/v1",
		"http://gitea.test:3000/api/v1":    "http://gitea.test:3000/api/v1",
	} {
		if root, err := parseRoot(in); err != nil || root.String() != want {
			t.Errorf("%q gives %v, %v", in, root, err)
		}
	}
	for _, in := range []string{
		"", "git.acme.example", "/api/v1", "https://", "https:///api/v1", "https://:443/x", "ftp://git.acme.example", "ssh://git@h",
		"http://git.acme.example/api/v1", "http://10.0.0.1/x", "http://127.0.0.1.evil.example/x", "http://test/x", "http://localhost.evil.example/x",
		"https://user:secret@git.acme.example/x", "https://token-secret@git.acme.example/x", "https://git.acme.example/x?token=secret",
		"https://git.acme.example/x#secret", "https://git.acme.example/\x7fsecret", "http://[::ffff:10.0.0.1]/x",
	} {
		root, err := parseRoot(in)
		if err == nil {
			t.Errorf("%q gives %v", in, root)
			continue
		}
		if strings.Contains(err.Error(), "secret") || !strings.HasPrefix(err.Error(), "url: ") {
			t.Errorf("%q gives %v", in, err)
		}
	}
}

// TestPlainHTTPStaysHere dials as a .test name would that resolves to another
// machine.
func TestPlainHTTPStaysHere(t *testing.T) {
	root := &url.URL{Scheme: "http", Host: "gitea.test"}
	transport := newTransport(root)
	if transport.Proxy != nil {
		t.Error("a proxy would carry plain http away")
	}
	for _, address := range []string{"192.0.2.1:80", "[2001:db8::1]:80"} {
		conn, err := transport.DialContext(t.Context(), "tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		if !errors.Is(err, errNotLoopback) {
			t.Errorf("%s: gives %v", address, err)
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://192.0.2.1/", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err == nil {
		_ = response.Body.Close()
	}
	message, next := explain(t.Context(), err)
	if message != errNotLoopback.Error() || !strings.Contains(next, "https") || !isFinal(&provision.Error{Err: cause(t.Context(), err)}) || !unconnected(err) {
		t.Errorf("is explained as %q, %q", message, next)
	}
	if newTransport(&url.URL{Scheme: "https", Host: "git.acme.example"}).Proxy == nil {
		t.Error("https does not use the proxy")
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Options{Root: "https://git.acme.example"}); err == nil || !strings.Contains(err.Error(), "credential") {
		t.Errorf("no credential gives %v", err)
	}
	if _, err := New(Options{Root: "http://git.acme.example", Credential: credential.Env("X")}); err == nil || !strings.Contains(err.Error(), "https") {
		t.Errorf("plain http gives %v", err)
	}
	c, err := New(Options{Root: "https://git.acme.example", Credential: credential.Env("X")})
	if err != nil || c.transport == nil || c.log == nil {
		t.Errorf("gives %+v, %v", c, err)
	}
}
