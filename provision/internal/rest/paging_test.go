package rest_test

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"deploykeyd/provision"
	"deploykeyd/provision/internal/rest"
)

// page is a page of the list dialect that these tests speak.
type page struct {
	Keys  []int
	Next  string
	Total *int
}

func readPage(p page, number int, _ http.Header) (rest.Page, error) {
	out := rest.Page{Next: p.Next, Total: -1}
	if p.Total != nil {
		out.Total = *p.Total
	}
	if p.Next == "count" {
		out.Next = "?page=" + strconv.Itoa(number+1)
	}
	for _, k := range p.Keys {
		r := provision.Registration{Key: keyOf(k)}
		if k != 0 {
			r.ID = strconv.Itoa(k)
		}
		out.Items = append(out.Items, r)
	}
	return out, nil
}

func keyOf(n int) provision.PublicKey {
	key, err := provision.PublicKeyFromBlob(fmt.Appendf([]byte("\x00\x00\x00\x01x"), "%d", n))
	if err != nil {
		panic(err)
	}
	return key
}

func pages(ctx context.Context, c *rest.Client) iter.Seq2[provision.Registration, error] {
	return rest.Pages(ctx, c, rest.Call{Op: rest.List, Target: target, Path: "/keys?page=1"}, readPage)
}

func TestPages(t *testing.T) {
	pass := []reply{
		ok(`{"Keys":[1,2],"Next":"https://git.acme.example/api/v1/keys?cursor=x"}`),
		ok(`{"Keys":[2,3],"Next":"/api/v1/keys?cursor=y"}`), // 2 has moved on
		ok(`{"Keys":[4],"Next":"count"}`),
		ok(`{"Keys":[5]}`),
	}
	f := &forge{replies: slices.Concat(pass, pass)}
	var ids []string
	for r, err := range pages(t.Context(), newClient(t, setup{transport: f})) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.ID)
	}
	if got := strings.Join(ids, " "); got != "1 2 3 4 5" {
		t.Errorf("lists %s", got)
	}
	if f.sent() != 8 {
		t.Fatalf("%d pages were read, want two passes of 4", f.sent())
	}
	for i, want := range []string{"/api/v1/keys?page=1", "/api/v1/keys?cursor=x", "/api/v1/keys?cursor=y", "/api/v1/keys?page=4"} {
		for _, r := range []int{i, i + 4} {
			if got := f.requests[r].URL.RequestURI(); got != want {
				t.Errorf("request %d is %s, want %s", r, got, want)
			}
		}
	}
}

func TestPagesStopAtTheTotal(t *testing.T) {
	pass := []reply{ok(`{"Keys":[1,2],"Next":"count","Total":3}`), ok(`{"Keys":[3],"Next":"count","Total":3}`)}
	f := &forge{replies: slices.Concat(pass, pass)}
	n := 0
	for _, err := range pages(t.Context(), newClient(t, setup{transport: f})) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 3 || f.sent() != 4 {
		t.Errorf("%d keys from %d pages", n, f.sent())
	}
}

// TestPagesOfAListThatChanges takes key 1 away after the first page: key 3 moves
// up to it and would be missed. Forges differ in what they say of the total.
func TestPagesOfAListThatChanges(t *testing.T) {
	for name, c := range map[string]struct {
		pages []string
		want  string
	}{
		"a total that shrinks": {[]string{
			`{"Keys":[1,2],"Next":"count","Total":4}`, `{"Keys":[4],"Next":"count","Total":3}`,
			`{"Keys":[2,3],"Next":"count","Total":3}`, `{"Keys":[4],"Next":"count","Total":3}`,
			`{"Keys":[2,3],"Next":"count","Total":3}`, `{"Keys":[4],"Next":"count","Total":3}`,
		}, "1 2 3 4"},
		"no total": {[]string{
			`{"Keys":[1,2],"Next":"count"}`, `{"Keys":[4]}`,
			`{"Keys":[2,3],"Next":"count"}`, `{"Keys":[4]}`,
			`{"Keys":[2,3],"Next":"count"}`, `{"Keys":[4]}`,
		}, "1 2 4 3"},
		"a key that comes for the one that goes": {[]string{
			`{"Keys":[1,2],"Next":"count","Total":4}`, `{"Keys":[4,5],"Next":"count","Total":4}`,
			`{"Keys":[2,3],"Next":"count","Total":4}`, `{"Keys":[4,5],"Next":"count","Total":4}`,
			`{"Keys":[2,3],"Next":"count","Total":4}`, `{"Keys":[4,5],"Next":"count","Total":4}`,
		}, "1 2 4 5 3"},
		"a total that is missed once": {[]string{
			`{"Keys":[1,2],"Next":"count","Total":3}`, `{"Keys":[2],"Total":3}`,
			`{"Keys":[2,3],"Next":"count","Total":3}`, `{"Keys":[4],"Total":3}`,
			`{"Keys":[2,3],"Next":"count","Total":3}`, `{"Keys":[4],"Total":3}`,
		}, "1 2 3 4"},
		"what is left has one page": {[]string{
			`{"Keys":[1,2],"Next":"count"}`, `{"Keys":[4]}`, `{"Keys":[3,4]}`,
		}, "1 2 4 3"},
		"a pass that did not end does not count": {[]string{
			`{"Keys":[2,3],"Next":"count","Total":3}`, `{"Keys":[4],"Total":3}`,
			`{"Keys":[2,3],"Next":"count","Total":3}`, `{"Keys":[4],"Total":2}`,
			`{"Keys":[2,3],"Next":"count","Total":3}`, `{"Keys":[4],"Total":3}`,
			`{"Keys":[2,3],"Next":"count","Total":3}`, `{"Keys":[4],"Total":3}`,
		}, "2 3 4"},
	} {
		f := &forge{}
		for _, p := range c.pages {
			f.replies = append(f.replies, ok(p))
		}
		var ids []string
		for r, err := range pages(t.Context(), newClient(t, setup{transport: f})) {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			ids = append(ids, r.ID)
		}
		if got := strings.Join(ids, " "); got != c.want || f.sent() != len(c.pages) {
			t.Errorf("%s: lists %s from %d pages, want %s from %d", name, got, f.sent(), c.want, len(c.pages))
		}
	}
}

func TestPagesAreReadFromTheBeginning(t *testing.T) {
	last := []reply{ok(`{"Keys":[2,3],"Next":"count"}`), ok(`{"Keys":[4]}`)}
	f := &forge{replies: slices.Concat([]reply{ok(`{"Keys":[1,2],"Next":"count"}`), ok(`{"Keys":[4]}`)}, last, last)}
	client := newClient(t, setup{transport: f})
	var ids []string
	for r, err := range pages(t.Context(), client) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.ID)
	}
	if got := strings.Join(ids, " "); got != "1 2 4 3" || f.sent() != 6 {
		t.Errorf("lists %s from %d pages", got, f.sent())
	}
	for i, want := range []string{"page=1", "page=2", "page=1", "page=2", "page=1", "page=2"} {
		if got := f.requests[i].URL.RawQuery; got != want {
			t.Errorf("request %d is %s, want %s", i, got, want)
		}
	}
	list := &lister{}
	if err := client.Revoke(t.Context(), list, keysCall(), provision.Registration{ID: "1", Key: keyOf(1)}); err != nil || list.lists != 1 {
		t.Errorf("what the last pass did not show counts as seen: %v", err)
	}
}

func TestPagesThatCannotBeBelieved(t *testing.T) {
	many := make([]string, 11)
	for i := range many {
		keys := make([]string, 1000)
		for j := range keys {
			keys[j] = strconv.Itoa(i*1000 + j + 1)
		}
		many[i] = fmt.Sprintf(`{"Keys":[%s],"Next":"count"}`, strings.Join(keys, ","))
	}
	for name, c := range map[string]struct {
		pages []string
		want  string
	}{
		"the same page again":  {[]string{`{"Keys":[1,2],"Next":"count"}`}, "repeats itself"},
		"the same place again": {[]string{`{"Keys":[1],"Next":"/api/v1/keys?page=1"}`}, "repeats itself"},
		"nothing and more":     {[]string{`{"Keys":[],"Next":"count"}`}, "repeats itself"},
		"elsewhere":            {[]string{`{"Keys":[1],"Next":"https://evil.example/api/v1/keys"}`}, "not below"},
		"without TLS":          {[]string{`{"Keys":[1],"Next":"http://git.acme.example/api/v1/keys?page=2"}`}, "not below"},
		"outside the API":      {[]string{`{"Keys":[1],"Next":"/login"}`}, "not below"},
		"fewer than promised":  {[]string{`{"Keys":[1],"Total":2}`}, "2 keys and showed 1"},
		"more than promised":   {[]string{`{"Keys":[1,2,3],"Total":2}`}, "2 keys and showed 3"},
		"a total that changes": {[]string{
			`{"Keys":[1,2],"Next":"count","Total":4}`, `{"Keys":[4],"Total":3}`,
			`{"Keys":[1,2],"Next":"count","Total":4}`, `{"Keys":[4],"Total":3}`,
			`{"Keys":[1,2],"Next":"count","Total":4}`, `{"Keys":[4],"Total":3}`,
			`{"Keys":[1,2],"Next":"count","Total":4}`, `{"Keys":[4],"Total":3}`,
			`{"Keys":[1,2],"Next":"count","Total":4}`, `{"Keys":[4],"Total":3}`,
			`{"Keys":[1]}`,
		}, "kept changing"},
		"keys that change": {[]string{
			`{"Keys":[1],"Next":"count"}`, `{"Keys":[2]}`, `{"Keys":[1],"Next":"count"}`, `{"Keys":[3]}`,
			`{"Keys":[1],"Next":"count"}`, `{"Keys":[2]}`, `{"Keys":[1],"Next":"count"}`, `{"Keys":[3]}`,
			`{"Keys":[1],"Next":"count"}`, `{"Keys":[2]}`, `{"Keys":[1]}`,
		}, "kept changing"},
		"pages with fewer than promised": {slices.Repeat([]string{`{"Keys":[1],"Next":"count","Total":3}`, `{"Keys":[2],"Total":3}`}, 5), "3 keys and showed 2"},
		"an entry without an id":         {[]string{`{"Keys":[1,0]}`}, "without an id"},
		"more than anybody can use":      {many, "more than 10000"},
	} {
		var replies []reply
		for _, p := range c.pages {
			replies = append(replies, ok(p))
		}
		f := &forge{replies: replies}
		var last error
		for r, err := range pages(t.Context(), newClient(t, setup{transport: f})) {
			if last != nil {
				t.Errorf("%s: goes on after its error with %+v", name, r)
			}
			last = err
		}
		e := errorOf(t, last, provision.Transient, false)
		if !strings.Contains(e.Message, c.want) || e.Next == "" || e.Op != "list" {
			t.Errorf("%s gives %+v", name, e)
		}
		for _, r := range f.requests {
			if r.URL.Host != "git.acme.example" || r.URL.Scheme != "https" {
				t.Errorf("%s: the credential was sent to %s", name, r.URL)
			}
		}
	}
}

func TestPageOfEightMegabytes(t *testing.T) {
	body := `{"Keys":[1]}`
	for size, fine := range map[int]bool{8 << 20: true, 8<<20 + 1: false} {
		f := &forge{replies: []reply{ok(body + strings.Repeat(" ", size-len(body)))}}
		for _, err := range pages(t.Context(), newClient(t, setup{transport: f})) {
			if (err == nil) != fine {
				t.Errorf("%d bytes give %v", size, err)
			}
		}
	}
}
