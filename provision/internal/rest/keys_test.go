package rest_test

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

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
	f := &forge{replies: []reply{
		ok(`{"Keys":[1,2],"Next":"https://git.acme.example/api/v1/keys?cursor=x"}`),
		ok(`{"Keys":[2,3],"Next":"/api/v1/keys?cursor=y"}`), // 2 has moved on
		ok(`{"Keys":[4],"Next":"count"}`),
		ok(`{"Keys":[5]}`),
	}}
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
	for i, want := range []string{"/api/v1/keys?page=1", "/api/v1/keys?cursor=x", "/api/v1/keys?cursor=y", "/api/v1/keys?page=4"} {
		if got := f.requests[i].URL.RequestURI(); got != want {
			t.Errorf("request %d is %s, want %s", i, got, want)
		}
	}
}

func TestPagesStopAtTheTotal(t *testing.T) {
	f := &forge{replies: []reply{ok(`{"Keys":[1,2],"Next":"count","Total":3}`), ok(`{"Keys":[3],"Next":"count","Total":3}`)}}
	n := 0
	for _, err := range pages(t.Context(), newClient(t, setup{transport: f})) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 3 || f.sent() != 2 {
		t.Errorf("%d keys from %d pages", n, f.sent())
	}
}

// TestPagesOfAListThatChanges takes key 1 away after the first page: key 3 moves
// up to it and would be missed.
func TestPagesOfAListThatChanges(t *testing.T) {
	f := &forge{replies: []reply{
		ok(`{"Keys":[1,2],"Next":"count","Total":4}`), ok(`{"Keys":[4],"Next":"count","Total":3}`),
		ok(`{"Keys":[2,3],"Next":"count","Total":3}`), ok(`{"Keys":[4],"Next":"count","Total":3}`),
	}}
	client := newClient(t, setup{transport: f})
	var ids []string
	for r, err := range pages(t.Context(), client) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.ID)
	}
	if got := strings.Join(ids, " "); got != "1 2 3 4" || f.sent() != 4 {
		t.Errorf("lists %s from %d pages", got, f.sent())
	}
	for i, want := range []string{"page=1", "page=2", "page=1", "page=2"} {
		if got := f.requests[i].URL.RawQuery; got != want {
			t.Errorf("request %d is %s, want %s", i, got, want)
		}
	}
	list := &lister{}
	if err := client.Revoked(t.Context(), list, del(), provision.Registration{ID: "1", Key: keyOf(1)}); err != nil || list.lists != 1 {
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
		}, "kept changing"},
		"an entry without an id":    {[]string{`{"Keys":[1,0]}`}, "without an id"},
		"more than anybody can use": {many, "more than 10000"},
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

// lister is a provision.Forge whose list is given.
type lister struct {
	provision.Forge
	keys  []provision.Registration
	err   error
	lists int
}

func (l *lister) List(context.Context, provision.Target) iter.Seq2[provision.Registration, error] {
	l.lists++
	if l.err != nil {
		return rest.Failed(l.err)
	}
	return func(yield func(provision.Registration, error) bool) {
		for _, k := range l.keys {
			if !yield(k, nil) {
				return
			}
		}
	}
}

func TestRegistered(t *testing.T) {
	client := newClient(t, setup{transport: &forge{replies: []reply{ok("{}")}}})
	key := keyOf(1)
	mine := provision.Registration{ID: "1", Key: key}
	unreadable := &provision.Error{Op: "list", Class: provision.Denied, Status: 403, Message: "no right", Next: "grant it"}
	exists := func() error { return &provision.Error{Op: "register", Class: provision.Exists, Next: "x"} }
	for name, c := range map[string]struct {
		made      provision.Registration
		err       error
		list      lister
		elsewhere provision.Class
		want      provision.Class // empty is success
		uncertain bool
	}{
		"made":                          {made: mine},
		"made another key":              {made: provision.Registration{ID: "1", Key: keyOf(2)}, want: provision.Transient, uncertain: true},
		"made no key":                   {made: provision.Registration{ID: "1"}, want: provision.Transient, uncertain: true},
		"made without an id":            {made: provision.Registration{Key: key}, want: provision.Transient, uncertain: true},
		"there already":                 {err: exists(), list: lister{keys: []provision.Registration{{ID: "9"}, mine}}, elsewhere: provision.InUseElsewhere},
		"elsewhere":                     {err: exists(), list: lister{keys: []provision.Registration{{ID: "9"}}}, elsewhere: provision.InUseElsewhere, want: provision.InUseElsewhere},
		"nowhere":                       {err: exists(), elsewhere: provision.Transient, want: provision.Transient, uncertain: true},
		"there, and the list is closed": {err: exists(), list: lister{err: unreadable}, elsewhere: provision.InUseElsewhere, want: provision.Denied, uncertain: true},
		"refused":                       {err: &provision.Error{Op: "register", Class: provision.Denied}, want: provision.Denied},
	} {
		got, err := client.Registered(t.Context(), &c.list, post(), key, c.made, c.err, c.elsewhere)
		if c.want == "" {
			if err != nil || got != mine {
				t.Errorf("%s gives %+v, %v", name, got, err)
			}
			continue
		}
		e := errorOf(t, err, c.want, c.uncertain)
		if e.Op != "register" || got != (provision.Registration{}) {
			t.Errorf("%s gives %+v, %+v", name, got, e)
		}
		if c.list.err != nil && (e.Status != 403 || e.Next != "grant it" || !strings.Contains(e.Message, "no right")) {
			t.Errorf("%s gives %+v", name, e)
		}
	}
}

func TestRevoked(t *testing.T) {
	mine := provision.Registration{ID: "1", Key: keyOf(1)}
	closed := &provision.Error{Op: "list", Class: provision.NotFound, Status: 404, Next: "check the name"}
	for name, c := range map[string]struct {
		seen  bool
		reply reply
		list  lister
		want  provision.Class // empty is success
		sent  int
		lists int
	}{
		"seen":                       {seen: true, reply: status(204), sent: 1},
		"not seen and there":         {reply: status(204), list: lister{keys: []provision.Registration{mine}}, sent: 1, lists: 1},
		"not seen and not there":     {reply: status(204), lists: 1},
		"not seen and another's":     {reply: status(204), list: lister{keys: []provision.Registration{{ID: "1", Key: keyOf(2)}}}, want: provision.Invalid, lists: 1},
		"not seen and not shown":     {reply: status(204), list: lister{err: closed}, want: provision.NotFound, lists: 1},
		"gone already":               {seen: true, reply: status(404), sent: 1, lists: 1},
		"not found and there":        {seen: true, reply: status(404), list: lister{keys: []provision.Registration{mine}}, want: provision.Denied, sent: 1, lists: 1},
		"not found and not shown":    {seen: true, reply: status(404), list: lister{err: closed}, want: provision.NotFound, sent: 1, lists: 1},
		"forbidden":                  {seen: true, reply: status(403), want: provision.Denied, sent: 1},
		"a success that is not told": {seen: true, reply: status(200), want: provision.Transient, sent: 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := &forge{replies: []reply{c.reply}}
			client := newClient(t, setup{transport: f})
			if c.seen {
				if _, err := client.Registered(t.Context(), &c.list, post(), mine.Key, mine, nil, ""); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // shorter than the first wait
			defer cancel()
			err := client.Revoked(ctx, &c.list, del(), mine)
			if (err == nil) != (c.want == "") || err != nil && provision.ClassOf(err) != c.want {
				t.Errorf("gives %v", err)
			}
			if f.sent() != c.sent || c.list.lists != c.lists {
				t.Errorf("%d deletions and %d lists", f.sent(), c.list.lists)
			}
		})
	}
	client := newClient(t, setup{transport: &forge{replies: []reply{status(204)}}})
	want(t, client.Revoked(t.Context(), &lister{}, del(), provision.Registration{Key: keyOf(1)}), provision.Invalid, false)
}

func TestSeenEndsWithACompleteList(t *testing.T) {
	f := &forge{replies: []reply{ok(`{"Keys":[1,2]}`), ok(`{"Keys":[2]}`), status(204)}}
	client := newClient(t, setup{transport: f})
	for range 2 {
		for _, err := range pages(t.Context(), client) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	list := &lister{}
	if err := client.Revoked(t.Context(), list, del(), provision.Registration{ID: "1", Key: keyOf(1)}); err != nil || list.lists != 1 {
		t.Errorf("what the last list did not show: %v after %d lists", err, list.lists)
	}
	if err := client.Revoked(t.Context(), list, del(), provision.Registration{ID: "2", Key: keyOf(2)}); err != nil || list.lists != 1 {
		t.Errorf("what it did show: %v after %d lists", err, list.lists)
	}
}
