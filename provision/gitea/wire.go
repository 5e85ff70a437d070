package gitea

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/internal/rest"
)

// pageSize is the server's default maximum (MAX_RESPONSE_ITEMS). A server with
// a lower one gives shorter pages, which is no harm.
const pageSize = 50

// createKey is the body of a create request. Left out, read_only means write.
type createKey struct {
	Title    string `json:"title"`
	Key      string `json:"key"`
	ReadOnly bool   `json:"read_only"`
}

// deployKey is a key as the API shows it.
type deployKey struct {
	ID        int64     `json:"id"` // of the link between key and repository
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

func pageQuery(page int) string {
	// Without "page" the server ignores "limit" and sends everything at once.
	return "?limit=" + strconv.Itoa(pageSize) + "&page=" + strconv.Itoa(page)
}

// readPage reads one page. There are no links: pages are counted until the
// entries reach X-Total-Count, or a page is empty.
func readPage(keys []deployKey, number int, h http.Header) (rest.Page, error) {
	page := rest.Page{Total: -1}
	if keys == nil {
		return rest.Page{}, rest.ErrNoList
	}
	for _, k := range keys {
		page.Items = append(page.Items, k.registration())
	}
	if text := h.Get("X-Total-Count"); text != "" {
		total, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return rest.Page{}, errors.New("the forge's X-Total-Count is not a number")
		}
		page.Total = int(total)
	}
	if len(keys) > 0 {
		page.Next = pageQuery(number + 1)
	}
	return page, nil
}
