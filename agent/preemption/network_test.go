package preemption

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// Over real connections, as Watch makes them.
func TestWatchOverTheNetwork(t *testing.T) {
	t.Parallel()
	for cloud, says := range map[Cloud]http.HandlerFunc{
		AWS:   amazon(map[string]string{awsActionPath: `{"action":"terminate","time":"2099-01-01T00:00:00Z"}`}),
		GCP:   google("TRUE", "NONE"),
		Azure: microsoft(event),
	} {
		s := &service{handler: says}
		n, err := Watch(t.Context(), Options{Cloud: cloud, Endpoint: s.listen(t) + "/"})
		if err != nil || n.Cloud != cloud {
			t.Errorf("%s: %+v, %v", cloud, n, err)
		}
	}
}

// The address means another service through a proxy. That none is used cannot be
// seen on loopback, which Go never asks a proxy for.
func TestNoProxy(t *testing.T) {
	t.Parallel()
	c, err := newClient("")
	if err != nil {
		t.Fatal(err)
	}
	if transport, ok := c.http.Transport.(*http.Transport); !ok || transport.Proxy != nil {
		t.Error("the client has a proxy")
	}
}

// Replies that no HTTP server sends, and what is said of them.
func TestRawReplies(t *testing.T) {
	t.Parallel()
	const leak = "LEAKED"
	for name, raw := range map[string]string{
		"no HTTP":         leak + " 220 ready\r\n\r\n",
		"closed":          "",
		"endless header":  "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20),
		"cut body":        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + leak,
		"bad length":      "HTTP/1.1 200 OK\r\nContent-Length: " + leak + "\r\n\r\n",
		"unasked gzip":    "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\n" + leak,
		"redirect beyond": "HTTP/1.1 302 Found\r\nLocation: http://" + leak + ".example/\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := newClient("http://" + rawServer(t, raw))
			if err != nil {
				t.Fatal(err)
			}
			for _, cloud := range Clouds() {
				questions, err := c.questions(cloud)
				if err != nil {
					t.Fatal(err)
				}
				for _, q := range questions {
					n, err := q.ask(t.Context())
					if n != nil || err == nil || strings.Contains(err.Error(), leak) {
						t.Errorf("%s, %s: %+v, %v", cloud, q.about, n, err)
					}
				}
			}
		})
	}
}

// rawServer answers every request with the same bytes.
func rawServer(t *testing.T, raw string) (address string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.WriteString(conn, raw)
			}
			_ = conn.Close()
		}
	}()
	return l.Addr().String()
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]string{
		"":                                  standardEndpoint,
		"http://169.254.169.254/":           standardEndpoint,
		"http://[fd00:ec2::254]":            "http://[fd00:ec2::254]",
		"http://[fe80::1]:80":               "http://[fe80::1]:80",
		"http://127.0.0.1:8080":             "http://127.0.0.1:8080",
		"https://169.254.169.254":           "",
		"http://metadata.google.internal":   "",
		"http://10.0.0.1":                   "",
		"http://8.8.8.8":                    "",
		"http://[2001:db8::1]":              "",
		"http://[::ffff:8.8.8.8]":           "",
		"http://user@169.254.169.254":       "",
		"http://169.254.169.254/latest":     "",
		"http://169.254.169.254?x=y":        "",
		"http://169.254.169.254@evil.test/": "",
		"169.254.169.254":                   "",
	} {
		c, err := newClient(endpoint)
		switch {
		case want == "" && (err == nil || !strings.Contains(err.Error(), standardEndpoint)):
			t.Errorf("%q: %v", endpoint, err)
		case want != "" && (err != nil || c.root != want):
			t.Errorf("%q: %v", endpoint, err)
		}
	}
}

func TestAcknowledge(t *testing.T) {
	t.Parallel()
	var approved []string
	status := http.StatusOK
	s := &service{handler: func(w http.ResponseWriter, r *http.Request) {
		var body struct{ StartRequests []struct{ EventId string } } //nolint:revive // Microsoft's spelling
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Header.Get("Metadata") != "true" || r.URL.RequestURI() != azureEventsPath {
			t.Errorf("%s %v: %v", r.URL, r.Header, err)
		}
		for _, e := range body.StartRequests {
			approved = append(approved, e.EventId)
		}
		w.WriteHeader(status)
	}}
	o := Options{Cloud: Azure, Endpoint: s.listen(t)}
	for _, n := range []Notice{{Cloud: AWS}, {Cloud: Azure, event: "shared", Shared: true}, {Cloud: Azure, event: "e-1"}} {
		if err := Acknowledge(t.Context(), o, n); err != nil {
			t.Error(err)
		}
	}
	if len(approved) != 1 || approved[0] != "e-1" {
		t.Errorf("approved %q", approved)
	}
	status = http.StatusForbidden
	if err := Acknowledge(t.Context(), o, Notice{Cloud: Azure, event: "e-1"}); err == nil {
		t.Error("a refusal is no error")
	}
}
