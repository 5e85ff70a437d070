package github

import (
	"net/http"
	"strconv"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/internal/rest"
)

// createKey is the body of a create request. Left out, read_only means write.
type createKey struct {
	Title    string `json:"title"`
	Key      string `json:"key"`
	ReadOnly bool   `json:"read_only"`
}

// deployKey is a key as the API shows it.
type deployKey struct {
	ID        int64     `json:"id"`
	Key       string    `json:"key"`
	Title     string    `json:"title"`
	CreatedAt time.Time `json:"created_at"`
	ReadOnly  bool      `json:"read_only"`
}

func (k deployKey) registration() provision.Registration {
	r := provision.Registration{Title: k.Title, Access: provision.Write, Created: k.CreatedAt.UTC()}
	if k.ID > 0 {
		r.ID = strconv.FormatInt(k.ID, 10)
	}
	if k.ReadOnly {
		r.Access = provision.Read
	}
	// A text that is no key that we can read is somebody else's entry.
	r.Key, _ = provision.ParsePublicKey(k.Key)
	return r
}

// readPage reads one page; a Link header names the next.
func readPage(keys []deployKey, _ int, h http.Header) (rest.Page, error) {
	next, err := rest.NextLink(h)
	page := rest.Page{Next: next, Total: -1}
	if keys == nil {
		return rest.Page{}, rest.ErrNoList
	}
	for _, k := range keys {
		page.Items = append(page.Items, k.registration())
	}
	return page, err
}
