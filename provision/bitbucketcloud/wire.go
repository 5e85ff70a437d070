package bitbucketcloud

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/internal/rest"
)

// createKey is the body of a create request.
type createKey struct {
	Label string `json:"label"`
	Key   string `json:"key"`
}

// deployKey is a key as the API shows it. The specification's schema says
// added_on where all its samples say created_on.
type deployKey struct {
	ID        int64     `json:"id"`
	Key       string    `json:"key"`
	Label     string    `json:"label"`
	CreatedOn time.Time `json:"created_on"`
	AddedOn   time.Time `json:"added_on"`
}

func (k deployKey) registration() provision.Registration {
	r := provision.Registration{Title: k.Label, Access: provision.Read, Created: k.CreatedOn.UTC()}
	if k.CreatedOn.IsZero() {
		r.Created = k.AddedOn.UTC()
	}
	if k.ID > 0 {
		r.ID = strconv.FormatInt(k.ID, 10)
	}
	// A text that is no key that we can read is somebody else's entry.
	r.Key, _ = provision.ParsePublicKey(k.Key)
	return r
}

// keyPage is one page of a list.
type keyPage struct {
	Size   *int        `json:"size"` // of the whole list; may be left out
	Values []deployKey `json:"values"`
	Next   string      `json:"next"`
}

// readPage reads one page, which holds the URL of the next.
func readPage(keys keyPage, _ int, _ http.Header) (rest.Page, error) {
	page := rest.Page{Next: keys.Next, Total: -1}
	if keys.Values == nil {
		return rest.Page{}, rest.ErrNoList
	}
	if keys.Size != nil {
		if page.Total = *keys.Size; page.Total < 0 {
			return rest.Page{}, errors.New("the size of the forge's list is negative")
		}
	}
	for _, k := range keys.Values {
		page.Items = append(page.Items, k.registration())
	}
	return page, nil
}
