package rest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"deploykeyd/provision"
)

func TestForgesWordsAreOneShortLine(t *testing.T) {
	for in, wanted := range map[string]string{
		"no":                          "no",
		"two\nlines\r\n\tand a tab":   "two lines and a tab",
		"bell\a and \x1b[31mred":      "bell and [31mred",
		"right\u202eto left\u200b":    "rightto left",
		"\x00\x01":                    "Unprocessable Entity",
		"a\x00b":                      "a b",
		"line\u2028separator\u0085el": "line separator el",
	} {
		body, err := json.Marshal(map[string]string{"message": in})
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimSpace(strings.Trim(in, "\x00\x01")) == "" {
			body = []byte(`{"message":""}`)
		}
		f := &forge{replies: []reply{{status: 422, header: map[string]string{"Content-Type": jsonType}, body: string(body)}}}
		_, err = newClient(t, setup{transport: f}).Do(t.Context(), post(), nil)
		if e := errorOf(t, err, provision.Invalid, false); e.Message != wanted {
			t.Errorf("%q becomes %q", in, e.Message)
		}
	}
	for _, long := range []string{strings.Repeat("x", 300), strings.Repeat("é", 300), strings.Repeat("x ", 300)} {
		body, _ := json.Marshal(map[string]string{"message": long})
		f := &forge{replies: []reply{{status: 422, header: map[string]string{"Content-Type": jsonType}, body: string(body)}}}
		_, err := newClient(t, setup{transport: f}).Do(t.Context(), post(), nil)
		if e := errorOf(t, err, provision.Invalid, false); len(e.Message) > 200 || len(e.Message) < 190 || !utf8.ValidString(e.Message) || !strings.HasSuffix(e.Message, "…") {
			t.Errorf("%d bytes: %q", len(e.Message), e.Message)
		}
	}
}

func TestForgesWordsWithoutJSON(t *testing.T) {
	for _, c := range []struct {
		reply reply
		want  string
	}{
		{reply{status: 422, header: map[string]string{"Content-Type": "text/plain"}, body: "Retry later\n"}, "Retry later"},
		{reply{status: 422, header: map[string]string{"Content-Type": "text/html"}, body: "<h1>no</h1>"}, "an HTML page instead of JSON"},
		{reply{status: 422, body: "<?xml?>"}, "an HTML page instead of JSON"},
		{reply{status: 422, header: map[string]string{"Content-Type": "application/octet-stream"}, body: "\x7fELF"}, "Unprocessable Entity"},
		{reply{status: 422}, "Unprocessable Entity"},
		{reply{status: 499}, "no reason given"},
	} {
		f := &forge{replies: []reply{c.reply}}
		_, err := newClient(t, setup{transport: f}).Do(t.Context(), post(), nil)
		if e := errorOf(t, err, provision.Invalid, false); e.Message != c.want {
			t.Errorf("%+v gives %q", c.reply, e.Message)
		}
	}
}

// TestEchoedCredential lets the forge, or something on the way, throw the
// credential back in every form it could have.
func TestEchoedCredential(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte("ci@acme.example:" + token))
	for _, useBasic := range []bool{false, true} {
		echoes := []string{token, url.QueryEscape(token), url.PathEscape(token), "Authorization: token " + token, strings.Repeat("x", 190) + token, token[:12], token[8:20]}
		if useBasic {
			echoes = append(echoes, encoded, "Basic "+encoded, url.QueryEscape(encoded))
		}
		for _, echo := range echoes {
			body, _ := json.Marshal(map[string]string{"message": "bad " + echo + " is it"})
			location := (&url.URL{Path: "/" + echo}).String()
			for _, r := range []reply{
				{status: 403, header: map[string]string{"Content-Type": jsonType}, body: string(body)},
				{status: 403, header: map[string]string{"Content-Type": "text/plain"}, body: echo},
				{status: 301, header: map[string]string{"Location": location}},
				{err: &url.Error{Op: "Post", URL: "https://git.acme.example/api?secret=query", Err: &echoError{echo}}},
			} {
				var logged bytes.Buffer
				logger := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
				f := &forge{replies: []reply{r}}
				_, err := newClient(t, setup{transport: f, basic: useBasic, logger: logger}).Do(t.Context(), post(), nil)
				e, _ := err.(*provision.Error) //nolint:errorlint // want has looked already
				want(t, err, e.Class, e.Uncertain)
				text := e.Error() + e.Next + logged.String()
				for _, form := range []string{token, url.QueryEscape(token), url.PathEscape(token), encoded, url.QueryEscape(encoded), token[:12], token[8:20]} {
					if strings.Contains(text, form) {
						t.Errorf("%q comes back: %s", form, text)
					}
				}
			}
		}
	}
}

type echoError struct{ text string }

func (e *echoError) Error() string { return "malformed HTTP response " + e.text }

func TestLogsHaveNoQueryAndNoToken(t *testing.T) {
	var logged bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	client := newClient(t, setup{transport: &forge{replies: []reply{ok("{}")}}, logger: logger})
	if _, err := client.Do(t.Context(), get(), nil); err != nil {
		t.Fatal(err)
	}
	text := logged.String()
	if !strings.Contains(text, "path=/repos/acme/app/keys ") || !strings.Contains(text, "status=200") {
		t.Errorf("the log is %s", text)
	}
	if strings.Contains(text, "secret=query") || strings.Contains(text, token) {
		t.Errorf("the log shows too much: %s", text)
	}
}
