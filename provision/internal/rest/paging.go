package rest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"

	"deploykeyd/provision"
)

// MaxItems is the longest list that is read. A longer one is an error, never
// cut: callers conclude from a list what is not on the forge.
const MaxItems = 10_000

// Page is one page of a target's registrations.
type Page struct {
	Items []provision.Registration
	// Next is where the next page is: a URL as the forge gave it, or a query
	// with its "?" in place of this page's. Empty means that this is the last.
	Next string
	// Total is how long the forge says the whole list is; negative where it
	// does not say.
	Total int
}

// ErrNoList is what reading a page gives whose reply holds no list at all: it
// must not count as an empty one.
var ErrNoList = errors.New("the forge's reply holds no list of keys")

// Failed is a list that could not begin.
func Failed(err error) iter.Seq2[provision.Registration, error] {
	return func(yield func(provision.Registration, error) bool) { yield(provision.Registration{}, err) }
}

// Pages yields the registrations on a target, page by page, and remembers them
// for Revoke. The call gives the first page's path; read decodes the page with
// that number, from 1. The list ends with an error rather than early when the
// pages do not add up.
func Pages[P any](ctx context.Context, c *Client, call Call, read func(page P, number int, h http.Header) (Page, error)) iter.Seq2[provision.Registration, error] {
	call.Method, call.Status, call.page = http.MethodGet, http.StatusOK, true
	return func(yield func(provision.Registration, error) bool) {
		w := walk{client: c, call: call, first: call.Path, shown: map[string]bool{}}
		w.begin()
		for w.call.Path != "" {
			var wire P
			header, err := c.Do(ctx, w.call, &wire)
			var page Page
			if err == nil {
				page, err = w.page(read(wire, len(w.paths)+1, header))
			}
			if err != nil {
				yield(provision.Registration{}, err)
				return
			}
			for _, r := range page.Items {
				c.seen.add(call.Target, r) // a caller may stop before the end
				if !yield(r, nil) {
					return
				}
			}
		}
		c.seen.replace(call.Target, w.ids)
	}
}

// maxPasses bounds how often a list is read that changes meanwhile.
const maxPasses = 5

// walk is a list being read. Where pages are counted, a key that goes away
// moves the following ones up, and one of them past the reader. Nothing in the
// pages tells: another key may have come, so that even the total is the same.
// But the key that went away had been seen before, or it would have moved
// nothing past the reader, and the next pass is without it. So a list of
// several pages is complete when two passes in a row have shown the same.
type walk struct {
	client *Client
	first  string                         // the path of the first page
	call   Call                           // for the next page; no path after the last
	shown  map[string]bool                // which ids have been yielded
	passes int                            // how often the list was begun
	before map[string]provision.PublicKey // what the pass before has seen; nil unless it came to its end

	ids   map[string]provision.PublicKey // what this pass has seen
	paths map[string]bool                // which pages this pass has read
	total int                            // what the forge said of the list's length
}

// begin starts a pass.
func (w *walk) begin() {
	w.passes++
	w.call.Path = w.first
	w.ids, w.paths, w.total = map[string]provision.PublicKey{}, map[string]bool{}, -1
}

// again reads the list anew, after a pass that saw before when it came to its
// end. The message is of the error when that was the last pass.
func (w *walk) again(before map[string]provision.PublicKey, message string) error {
	if w.passes == maxPasses {
		return w.broken(message)
	}
	w.before = before
	w.begin()
	return nil
}

// changing is said of a list of which no two passes were alike.
const changing = "the list kept changing while it was read"

// page checks that a page goes on where the last one ended, drops what has been
// yielded before, and turns to the next.
func (w *walk) page(p Page, err error) (Page, error) {
	if err != nil {
		return Page{}, w.broken(err.Error())
	}
	if len(w.paths) > 0 && p.Total != w.total {
		return Page{}, w.again(nil, changing)
	}
	w.paths[w.call.Path] = true
	w.total = p.Total
	count, fresh := len(w.ids), p.Items[:0]
	for _, r := range p.Items {
		if r.ID == "" {
			return Page{}, w.broken("the forge's list has an entry without an id")
		}
		w.ids[r.ID] = r.Key
		if !w.shown[r.ID] {
			w.shown[r.ID] = true
			fresh = append(fresh, r)
		}
	}
	if len(w.ids) > MaxItems {
		return Page{}, w.broken(fmt.Sprintf("the forge's list has more than %d keys", MaxItems))
	}
	p.Items = fresh
	return p, w.turn(p.Next, len(w.ids) > count)
}

// end decides whether the pass that has come to its end may be the last.
func (w *walk) end() error {
	single := len(w.paths) == 1 // one reply is of one moment
	if w.total >= 0 && len(w.ids) != w.total {
		message := fmt.Sprintf("the forge says that its list has %d keys and showed %d", w.total, len(w.ids))
		if single {
			return w.broken(message)
		}
		return w.again(nil, message)
	}
	if single || w.before != nil && maps.Equal(w.ids, w.before) {
		w.call.Path = ""
		return nil
	}
	return w.again(w.ids, changing)
}

// turn finds the next page, or ends the pass.
func (w *walk) turn(to string, progress bool) error {
	if to == "" || w.total >= 0 && len(w.ids) >= w.total {
		return w.end()
	}
	next, err := w.client.below(to)
	if to[0] == '?' {
		next, err = w.call.plainPath()+to, nil
	}
	if err != nil {
		return w.broken(err.Error())
	}
	if !progress || w.paths[next] {
		return w.broken("the forge's list repeats itself")
	}
	w.call.Path = next
	return nil
}

// broken is the end of a list that cannot be believed.
func (w *walk) broken(message string) *provision.Error {
	e := w.client.failure(w.call, provision.Transient, message)
	e.Next = "look at the repository's deploy keys in the forge's web pages; if they are in order, report this list"
	return e
}
