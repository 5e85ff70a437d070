package rest_test

import (
	"context"
	"io"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/internal/rest"
)

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

// keysCall is the call that an adapter begins about the target's keys.
func keysCall() rest.Call {
	return rest.Call{Op: rest.Revoke, Target: target, Path: "/repos/acme/app/keys"}
}

func TestRevoke(t *testing.T) {
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
			err := client.Revoke(ctx, &c.list, keysCall(), mine)
			if (err == nil) != (c.want == "") || err != nil && provision.ClassOf(err) != c.want {
				t.Errorf("gives %v", err)
			}
			if f.sent() != c.sent || c.list.lists != c.lists {
				t.Errorf("%d deletions and %d lists", f.sent(), c.list.lists)
			}
			for _, r := range f.requests {
				if r.Method != http.MethodDelete || r.URL.RequestURI() != "/api/v1/repos/acme/app/keys/1" {
					t.Errorf("sent %s %s", r.Method, r.URL)
				}
			}
		})
	}
	for name, list := range map[string]*lister{"there": {keys: []provision.Registration{mine}}, "not shown": {err: closed}} {
		virtual(t, func(t *testing.T, _ func() time.Duration) {
			// The first answer is lost: that the second finds nothing is no proof.
			client := newClient(t, setup{transport: &forge{replies: []reply{{err: io.EOF}, status(404)}}})
			if _, err := client.Registered(t.Context(), list, post(), mine.Key, mine, nil, ""); err != nil {
				t.Fatal(err)
			}
			if err := client.Revoke(t.Context(), list, keysCall(), mine); err == nil || !provision.IsUncertain(err) {
				t.Errorf("%s after a lost answer gives %v", name, err)
			}
		})
	}
	client := newClient(t, setup{transport: &forge{replies: []reply{status(204)}}})
	unclear := &lister{err: &provision.Error{Op: "list", Class: provision.Transient, Uncertain: true}}
	want(t, client.Revoke(t.Context(), unclear, keysCall(), mine), provision.Transient, true)
	want(t, client.Revoke(t.Context(), &lister{}, keysCall(), provision.Registration{Key: keyOf(1)}), provision.Invalid, false)
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
	if err := client.Revoke(t.Context(), list, keysCall(), provision.Registration{ID: "1", Key: keyOf(1)}); err != nil || list.lists != 1 {
		t.Errorf("what the last list did not show: %v after %d lists", err, list.lists)
	}
	if err := client.Revoke(t.Context(), list, keysCall(), provision.Registration{ID: "2", Key: keyOf(2)}); err != nil || list.lists != 1 {
		t.Errorf("what it did show: %v after %d lists", err, list.lists)
	}
}
