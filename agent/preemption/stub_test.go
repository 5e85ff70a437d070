package preemption

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// service is a stand-in for a metadata service.
type service struct {
	mu      sync.Mutex
	handler http.HandlerFunc
	asked   []string // method, path and query of every request
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.Method+" "+r.URL.RequestURI())
	handler := s.handler
	s.mu.Unlock()
	handler(w, r)
}

// become changes what the service answers.
func (s *service) become(handler http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = handler
}

func (s *service) count(prefix string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, a := range s.asked {
		if strings.HasPrefix(a, prefix) {
			n++
		}
	}
	return n
}

// RoundTrip answers without a network, so that time can be the test's own.
func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.ServeHTTP(w, r)
	}()
	select {
	case <-done:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return w.Result(), nil
}

// client asks the service without a network.
func (s *service) client() *client {
	return &client{root: standardEndpoint, http: &http.Client{Transport: s, CheckRedirect: stay}}
}

// listen serves on this machine and returns the root.
func (s *service) listen(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return server.URL
}

// lines is a log that a test reads.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

const awsSecret = "AQAEAsession-token=="

// amazon answers as IMDSv2 does; items are by path.
func amazon(items map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == awsTokenPath {
			if r.Method != http.MethodPut || r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") != "21600" {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			answer(w, awsSecret)
			return
		}
		if r.Header.Get("X-aws-ec2-metadata-token") != awsSecret {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		item, ok := items[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		answer(w, item)
	}
}

// google answers as Compute Engine's metadata server does, and never waits.
func google(preempted, maintenance string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Metadata-Flavor") != "Google" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Metadata-Flavor", "Google")
		w.Header().Set("ETag", "abc123")
		switch r.URL.Path {
		case gcpRoot + "preempted":
			answer(w, preempted)
		case gcpRoot + "maintenance-event":
			answer(w, maintenance)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}
}

// microsoft answers as the Instance Metadata Service of Azure does.
func microsoft(events string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Metadata") != "true", r.URL.Query().Get("api-version") == "":
			w.WriteHeader(http.StatusBadRequest)
		case r.URL.Path == "/metadata/instance/compute":
			answer(w, `{"location":"westeurope","name":"ci_3","vmId":"02aab8a4-74ef-476e-8182-f6d2ba4166a6"}`)
		case r.URL.Path == "/metadata/scheduledevents":
			answer(w, `{"DocumentIncarnation":1,"Events":[`+events+`]}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}
}

func answer(w http.ResponseWriter, body string) { _, _ = w.Write([]byte(body)) }
