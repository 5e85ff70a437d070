package rest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// errNotLoopback refuses to send a credential in clear over a network.
var errNotLoopback = errors.New("plain http is for this machine's own addresses alone")

// parseRoot reads the root of an API.
func parseRoot(text string) (*url.URL, error) {
	root, err := url.Parse(strings.TrimRight(text, "/"))
	switch {
	case err != nil:
		return nil, errors.New("url: not a URL: write https://host")
	case root.Host == "" || root.Hostname() == "":
		return nil, errors.New("url: no host: write https://host")
	case root.User != nil:
		return nil, errors.New("url: a URL holds no user or password here: put the token into the credential")
	case root.RawQuery != "" || root.ForceQuery || root.Fragment != "":
		return nil, errors.New("url: a query or fragment has no meaning here: remove it")
	case root.Scheme == "http" && !mayBeLoopback(root.Hostname()):
		return nil, fmt.Errorf("url: plain http would send the token in clear to %s: use https", root.Hostname())
	case root.Scheme != "https" && root.Scheme != "http":
		return nil, errors.New("url: write https://host")
	}
	return root, nil
}

// mayBeLoopback reports whether a host is this machine, or is a name under
// .test (RFC 6761), which newTransport lets resolve to this machine alone.
func mayBeLoopback(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback()
	}
	host = strings.ToLower(host)
	return host == "localhost" || strings.HasSuffix(host, ".test")
}

// newTransport returns the transport of one forge. Its limits keep a forge that
// hangs from holding the daemon, and the daemon from flooding the forge.
func newTransport(root *url.URL) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	proxy := http.ProxyFromEnvironment
	if root.Scheme == "http" {
		dialer.ControlContext = loopbackOnly
		proxy = nil
	}
	return &http.Transport{
		Proxy:                  proxy,
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		MaxIdleConns:           16,
		MaxIdleConnsPerHost:    16,
		MaxConnsPerHost:        32,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// loopbackOnly refuses, once the name is resolved, to leave this machine.
func loopbackOnly(_ context.Context, _, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !at.Addr().Unmap().IsLoopback() {
		return errNotLoopback
	}
	return nil
}
