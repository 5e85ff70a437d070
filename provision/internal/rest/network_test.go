package rest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"deploykeyd/provision"
)

// TestTroubleOnTheWay words what goes wrong below HTTP, over real connections.
func TestTroubleOnTheWay(t *testing.T) {
	fine := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) })
	secure := httptest.NewUnstartedServer(fine)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	plain := httptest.NewServer(fine)
	defer plain.Close()
	banner := serveBanner(t, "SSH-2.0-OpenSSH_9.2\r\n")
	for name, c := range map[string]struct{ root, says, next string }{
		"a certificate of nobody": {secure.URL, "not trusted", "trust store"},
		"no TLS":                  {strings.Replace(plain.URL, "http://", "https://", 1), "does not speak TLS", "scheme or port"},
		"another protocol":        {"https://" + banner, "does not speak TLS", "scheme or port"},
		"not HTTP":                {"http://" + banner, "malformed HTTP", "url"},
	} {
		t.Run(name, func(t *testing.T) {
			limit := 240 * time.Millisecond // shorter than the first wait
			if name == "a certificate of nobody" {
				limit = time.Minute // there is no wait, and the handshake may be slow
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			_, err := newClient(t, setup{root: c.root}).Do(ctx, post(), nil)
			e := errorOf(t, err, provision.Transient, name == "not HTTP")
			if !strings.Contains(e.Message, c.says) || !strings.Contains(e.Next, c.next) {
				t.Errorf("%q, next %q", e.Message, e.Next)
			}
			if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok != (name == "a certificate of nobody") {
				t.Errorf("a bad certificate is recognised: %v", ok)
			}
		})
	}
}

// serveBanner answers whatever each connection says with text.
func serveBanner(t *testing.T, text string) (address string) {
	t.Helper()
	var l net.ListenConfig
	listener, err := l.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1<<10))
			_, _ = io.WriteString(conn, text)
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

func TestNameThatDoesNotResolve(t *testing.T) {
	virtual(t, func(t *testing.T, _ func() time.Duration) {
		lost := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "git.acme.example", IsNotFound: true}}
		f := &forge{replies: []reply{{err: lost}}}
		_, err := newClient(t, setup{transport: f}).Do(t.Context(), post(), nil)
		e := errorOf(t, err, provision.Transient, false)
		if !strings.Contains(e.Message, "git.acme.example cannot be resolved") || !strings.Contains(e.Next, "name servers") {
			t.Errorf("%q, next %q", e.Message, e.Next)
		}
		if _, ok := errors.AsType[*net.DNSError](err); !ok {
			t.Errorf("cannot be recognised: %v", err)
		}
	})
}

func TestCertificateIsNotTriedAgain(t *testing.T) {
	f := &forge{replies: []reply{{err: &tls.CertificateVerificationError{Err: errors.New("x509: signed by nobody")}}}}
	_, err := newClient(t, setup{transport: f}).Do(t.Context(), get(), nil)
	want(t, err, provision.Transient, false)
	if f.sent() != 1 {
		t.Errorf("tried %d times", f.sent())
	}
}
