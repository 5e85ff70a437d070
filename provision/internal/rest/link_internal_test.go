package rest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestNextLink(t *testing.T) {
	for _, c := range []struct {
		name, want string
		headers    []string
		bad        bool
	}{
		{name: "none"},
		{name: "empty", headers: []string{""}},
		{name: "GitHub", want: "https://h/k?page=2", headers: []string{`<https://h/k?page=2>; rel="next", <https://h/k?page=5>; rel="last"`}},
		{name: "the last page", headers: []string{`<https://h/k?page=4>; rel="prev", <https://h/k?page=1>; rel="first"`}},
		{name: "in the second", want: "b", headers: []string{`<a>; rel="prev", <b>; rel="next"`}},
		{name: "in the second header", want: "b", headers: []string{`<a>; rel="prev"`, `<b>; rel="next"`}},
		{name: "without quotes", want: "a", headers: []string{`<a>;rel=next`}},
		{name: "in other letters", want: "a", headers: []string{`<a> ; REL = "Next"`}},
		{name: "several relations", want: "a", headers: []string{`<a>; rel="prev next"`}},
		{name: "not a relation", headers: []string{`<a>; rel="nextish"; title="next"`}},
		{name: "commas and semicolons in quotes", want: "b", headers: []string{`<a>; title="x, <z>; rel=next; \" y"; rel=prev, <b>; rel=next`}},
		{name: "comma in the target", want: "a,b;c", headers: []string{`<a,b;c>; rel="next"`}},
		{name: "no parameters", want: "b", headers: []string{`<a>, <b>; rel=next`}},
		{name: "no target", headers: []string{`a; rel="next"`}, bad: true},
		{name: "no end", headers: []string{`<a; rel="next"`}, bad: true},
		{name: "an open quote", headers: []string{`<a>; title="x, <b>; rel=next`}, bad: true},
	} {
		got, err := NextLink(http.Header{"Link": c.headers})
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("%s: gives %q, %v", c.name, got, err)
		}
	}
}

func FuzzNextLink(f *testing.F) {
	for _, s := range []string{`<https://h/k?page=2>; rel="next"`, `<a>; title="\`, `<`, `<>`, `,,`, `<a>;;rel=next,`, `<a>; rel="next`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		next, err := NextLink(http.Header{"Link": {s}})
		if err != nil && next != "" || !strings.Contains(s, next) {
			t.Errorf("%q gives %q, %v", s, next, err)
		}
	})
}

func rootClient(t testing.TB, root string) *Client {
	t.Helper()
	u, err := url.Parse(root)
	if err != nil {
		t.Fatal(err)
	}
	return &Client{root: u}
}

func TestBelow(t *testing.T) {
	client := rootClient(t, "https://git.acme.example/api/v3")
	for in, want := range map[string]string{
		"https://git.acme.example/api/v3/repositories/1/keys?page=2": "/repositories/1/keys?page=2",
		"https://GIT.acme.example/api/v3/x":                          "/x",
		"/api/v3/repos/a/b/keys?page=2":                              "/repos/a/b/keys?page=2",
		"https://git.acme.example/api/v3/%7Bu%7D/x":                  "/%7Bu%7D/x",
	} {
		if got, err := client.below(in); err != nil || got != want {
			t.Errorf("%q gives %q, %v", in, got, err)
		}
	}
	for _, in := range []string{
		"", "https://git.acme.example/api/v3", "https://git.acme.example/api/v4/x", "https://git.acme.example/api/v30/x",
		"https://evil.example/api/v3/x", "http://git.acme.example/api/v3/x", "https://git.acme.example:8443/api/v3/x",
		"https://git.acme.example.evil.example/api/v3/x", "https://git.acme.example@evil.example/api/v3/x",
		"https://u:p@git.acme.example/api/v3/x", "//evil.example/api/v3/x", "https://git.acme.example/api/v3/../v4/x",
		"https://git.acme.example/api/v3/%2e%2e/v4/x", "https://git.acme.example/api/v3/..", "file:///api/v3/x", "::", "%zz", "\x00",
	} {
		if got, err := client.below(in); err == nil {
			t.Errorf("%q gives %q", in, got)
		}
	}
}

func FuzzBelow(f *testing.F) {
	for _, s := range []string{"https://h/api/v3/x?y=1", "/api/v3/%2e%2e/x", "//h/api/v3/x", "https://h/api/v3//evil", "https://h/api/v3/\\x", "?x"} {
		f.Add(s)
	}
	client := rootClient(f, "https://h/api/v3")
	f.Fuzz(func(t *testing.T, s string) {
		path, err := client.below(s)
		if err != nil {
			return
		}
		u, err := url.Parse(client.root.String() + path)
		if err != nil {
			t.Fatalf("%q gives %q, which is no URL: %v", s, path, err)
		}
		if u.Scheme != "https" || u.Host != "h" || u.User != nil || !strings.HasPrefix(u.Path, "/api/v3/") || strings.Contains(u.Path+"/", "/../") {
			t.Errorf("%q gives %q, which leads to %s", s, path, u)
		}
	})
}
