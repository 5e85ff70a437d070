//go:build boot

package boot_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"testing"
	"time"

	"deploykeyd/provision/forgesim"
)

// A credential goes over a network only within TLS, so that the emulated forges,
// which speak plain HTTP, stand behind a proxy with a certificate.

// authority is whom the machines of a test trust.
type authority struct {
	certificate string // PEM
	parent      *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{parent: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the forges' authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, a.parent, a.parent, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return a
}

// issue returns a certificate for a name.
func (a authority) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name},
		NotBefore: a.parent.NotBefore, NotAfter: a.parent.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.parent, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secureURL is what a configuration's url: holds for a forge.
func secureURL(f *forgesim.Forge) string { return "https://" + f.HostName() }

// openAPI opens the forges' APIs to machines.
func (s *site) openAPI(t *testing.T) {
	t.Helper()
	for _, f := range s.sim.Forges() {
		s.servers = append(s.servers, s.serveTLS(t, f))
	}
}

// closeAPI closes them, with all connections.
func (s *site) closeAPI() {
	for _, server := range s.servers {
		_ = server.Close()
	}
	s.servers = nil
}

// serveTLS serves a forge at its address.
func (s *site) serveTLS(t *testing.T, f *forgesim.Forge) *http.Server {
	t.Helper()
	l, err := tls.Listen("tcp", net.JoinHostPort(address(f.Kind()), "443"), &tls.Config{
		Certificates: []tls.Certificate{s.authority.issue(t, f.HostName())}, MinVersion: tls.VersionTLS12,
	})
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", f.Addresses().HTTP
			r.Out.Header.Del("Accept-Encoding") // what it says is read below
		},
		ModifyResponse: func(r *http.Response) error { return sayHTTPS(f, r) },
	}
	server := &http.Server{Handler: proxy, ReadHeaderTimeout: patience}
	go func() { _ = server.Serve(l) }()
	return server
}

// sayHTTPS makes the addresses in a reply those of the proxy: a client follows a
// forge nowhere else.
func sayHTTPS(f *forgesim.Forge, r *http.Response) error {
	from, to := []byte(f.URL()), []byte(secureURL(f))
	for _, values := range r.Header {
		for i := range values {
			values[i] = string(bytes.ReplaceAll([]byte(values[i]), from, to))
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	body = bytes.ReplaceAll(body, from, to)
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	if r.Header.Get("Content-Length") != "" {
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	return nil
}
