package credential

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// server is a Doer that plays its replies one after the other, the last one for
// ever, and keeps what it was asked.
type server struct {
	replies []served
	asked   []request
}

type served struct {
	status int
	header map[string]string
	body   string
	err    error
}

type request struct {
	line, authorization, contentType, body string
}

func (s *server) Do(r *http.Request) (*http.Response, error) {
	at := s.replies[min(len(s.asked), len(s.replies)-1)]
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.asked = append(s.asked, request{r.Method + " " + r.URL.String(), r.Header.Get("Authorization"), r.Header.Get("Content-Type"), string(body)})
	if at.err != nil {
		return nil, at.err
	}
	response := &http.Response{StatusCode: at.status, Header: http.Header{"Content-Type": {"application/json; charset=utf-8"}}, Body: io.NopCloser(strings.NewReader(at.body))}
	for name, value := range at.header {
		response.Header.Set(name, value)
	}
	return response, nil
}

// panicDoer panics where it is used.
type panicDoer struct{}

func (panicDoer) Do(*http.Request) (*http.Response, error) { panic("in the exchange") }

func appOptions() AppOptions {
	return AppOptions{Doer: panicDoer{}, ID: "1", Installation: 2, Key: Env("DEPLOYKEYD_TEST_KEY")}
}

// oneLine checks what any error of a source must be.
func oneLine(t *testing.T, err error, secrets ...string) {
	t.Helper()
	if strings.ContainsAny(err.Error(), "\n\r\x1b\x00") {
		t.Errorf("is no plain line: %q", err)
	}
	hidden(t, "the error", err.Error(), secrets...)
}
