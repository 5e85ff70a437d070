package forgesim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The command with which git-lfs asks over SSH for a way to the HTTP side, and
// its operations (git-lfs, docs/api/server-discovery.md).
const (
	lfsAuthenticate = "git-lfs-authenticate"
	lfsDownload     = "download"
	lfsUpload       = "upload"
)

// lfsLife is how long the answer to git-lfs-authenticate serves.
const lfsLife = 10 * time.Minute

// lfsGrant is what one answer to git-lfs-authenticate permits.
type lfsGrant struct {
	repository *repository
	write      bool
	expires    time.Time
}

// lfsAnswer is the answer to git-lfs-authenticate.
type lfsAnswer struct {
	Href      string            `json:"href"`
	Header    map[string]string `json:"header"`
	ExpiresIn int               `json:"expires_in,omitempty"` // seconds
	ExpiresAt string            `json:"expires_at,omitempty"`
}

// grantLFS answers git-lfs-authenticate for a key that may do what it asks.
func (f *Forge) grantLFS(c start) farewell {
	header, dated := f.dialect.lfsHeader(randomHex(32))
	expires := time.Now().Add(lfsLife)
	f.mu.Lock()
	maps.DeleteFunc(f.store.lfsGrants, func(_ string, g lfsGrant) bool { return time.Now().After(g.expires) })
	f.store.lfsGrants[header] = lfsGrant{repository: c.repository, write: c.write, expires: expires}
	out := lfsAnswer{Href: f.lfsURL(c.repository), Header: map[string]string{"Authorization": header}}
	f.mu.Unlock()
	if dated {
		out.ExpiresIn, out.ExpiresAt = int(lfsLife/time.Second), expires.UTC().Format(time.RFC3339)
	}
	text, err := json.Marshal(out)
	if err != nil {
		panic("forgesim: answer does not marshal: " + err.Error()) // only strings and numbers
	}
	return farewell{stdout: string(text) + "\n"}
}

// lfsURL is the root of a repository's git-lfs API. f.mu is held.
func (f *Forge) lfsURL(r *repository) string {
	return f.url + "/" + escapePath(r.path) + ".git/info/lfs"
}

// lfsRequest is what a request to the git-lfs API is about.
type lfsRequest struct {
	repository string
	rest       []string // of the path, after info/lfs
}

// locateLFS recognises OWNER/NAME.git/info/lfs/… on every forge.
func (*Forge) locateLFS(r *http.Request) (lfsRequest, bool) {
	path := splitPath(r.URL)
	if len(path) < 5 || path[2] != "info" || path[3] != "lfs" {
		return lfsRequest{}, false
	}
	name, git := strings.CutSuffix(path[1], ".git")
	return lfsRequest{repository: path[0] + "/" + name, rest: path[4:]}, git
}

const lfsJSON = "application/vnd.git-lfs+json"

// serveLFS answers a request to the git-lfs API: batch, the basic transfer
// adapter, and that nobody holds a lock. Faults do not meet it.
func (f *Forge) serveLFS(w http.ResponseWriter, r *http.Request, q lfsRequest) {
	if f.sim.pause(r.Context(), f.latency) != nil {
		panic(http.ErrAbortHandler)
	}
	c := &call{
		route:  route{repository: q.repository},
		method: r.Method, url: &url.URL{Path: r.URL.Path}, arrived: time.Now(),
	}
	note := &statusNote{ResponseWriter: w}
	f.answerLFS(note, r, q)
	f.note(c, note.status)
}

// statusNote remembers the status that a handler sends.
type statusNote struct {
	http.ResponseWriter
	status int
}

func (s *statusNote) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

func (f *Forge) answerLFS(w http.ResponseWriter, r *http.Request, q lfsRequest) {
	header := r.Header.Get("Authorization")
	f.mu.Lock()
	g, known := f.store.lfsGrants[header]
	repository, moved := f.store.find(q.repository)
	f.mu.Unlock()
	switch {
	case !known || !time.Now().Before(g.expires):
		w.Header().Set("LFS-Authenticate", `Basic realm="Git LFS"`)
		refuseLFS(w, http.StatusUnauthorized, "Credentials needed")
	case repository == nil || moved || repository != g.repository:
		refuseLFS(w, http.StatusNotFound, "Not found")
	case r.Method == http.MethodPost && slices.Equal(q.rest, []string{"objects", "batch"}):
		f.batch(w, r, g, header)
	case r.Method == http.MethodPost && slices.Equal(q.rest, []string{"locks", "verify"}):
		writeLFS(w, http.StatusOK, map[string]any{"ours": []string{}, "theirs": []string{}})
	case len(q.rest) == 2 && q.rest[0] == "objects" && isLFSOID(q.rest[1]):
		g.transfer(w, r, q.rest[1])
	default:
		refuseLFS(w, http.StatusNotFound, "Not found")
	}
}

// lfsBatch is a batch request. Members that are not read are allowed: this API
// is git-lfs's, whose later versions may send more.
type lfsBatch struct {
	Operation string      `json:"operation"`
	Transfers []string    `json:"transfers"`
	HashAlgo  string      `json:"hash_algo"`
	Objects   []lfsObject `json:"objects"`
}

// lfsObject is an object in a batch request and in its answer.
type lfsObject struct {
	OID           string               `json:"oid"`
	Size          int64                `json:"size"`
	Authenticated bool                 `json:"authenticated,omitempty"`
	Actions       map[string]lfsAction `json:"actions,omitempty"`
	Error         *lfsObjectError      `json:"error,omitempty"`
}

type lfsAction struct {
	Href      string            `json:"href"`
	Header    map[string]string `json:"header"`
	ExpiresIn int               `json:"expires_in"` // seconds
}

type lfsObjectError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// batch says where each object is to be got from or put to.
func (f *Forge) batch(w http.ResponseWriter, r *http.Request, g lfsGrant, header string) {
	var in lfsBatch
	switch status, message := readBatch(w, r, &in); {
	case status != 0:
		refuseLFS(w, status, message)
		return
	case in.Operation == lfsUpload && !g.write:
		refuseLFS(w, http.StatusForbidden, "You may read this repository, not write to it")
		return
	}
	f.mu.Lock()
	root := f.lfsURL(g.repository)
	f.mu.Unlock()
	action := lfsAction{
		Header: map[string]string{"Authorization": header}, ExpiresIn: int(time.Until(g.expires) / time.Second),
	}
	objects := make([]lfsObject, 0, len(in.Objects))
	for _, o := range in.Objects {
		o = lfsObject{OID: o.OID, Size: o.Size}
		action.Href = root + "/objects/" + url.PathEscape(o.OID)
		switch has := g.has(o); {
		case !isLFSOID(o.OID) || o.Size < 0:
			o.Error = &lfsObjectError{http.StatusUnprocessableEntity, "Validation error"}
		case in.Operation == lfsDownload && !has:
			o.Error = &lfsObjectError{http.StatusNotFound, "Object does not exist"}
		case in.Operation == lfsDownload || !has:
			o.Authenticated = true
			o.Actions = map[string]lfsAction{in.Operation: action}
		}
		objects = append(objects, o)
	}
	writeLFS(w, http.StatusOK, map[string]any{"transfer": "basic", "objects": objects})
}

// maxBatch is the largest batch request that is read: git-lfs sends 100 objects
// at a time.
const maxBatch = 1 << 20

// readBatch reads and checks a batch request. The status is zero when it is fine.
func readBatch(w http.ResponseWriter, r *http.Request, in *lfsBatch) (status int, message string) {
	if !isLFSType(r.Header.Get("Accept")) {
		return http.StatusNotAcceptable, "The Accept header needs to be " + lfsJSON
	}
	if !isLFSType(r.Header.Get("Content-Type")) {
		return http.StatusUnsupportedMediaType, "The Content-Type header needs to be " + lfsJSON
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBatch)).Decode(in); err != nil {
		return http.StatusUnprocessableEntity, "Not a batch request"
	}
	switch {
	case in.Operation != lfsDownload && in.Operation != lfsUpload:
		return http.StatusUnprocessableEntity, fmt.Sprintf("Unknown operation %q", in.Operation)
	case len(in.Transfers) > 0 && !slices.Contains(in.Transfers, "basic"):
		return http.StatusUnprocessableEntity, "Only the transfer adapter basic is supported"
	case in.HashAlgo != "" && in.HashAlgo != "sha256":
		return http.StatusConflict, "Only the hash algorithm sha256 is supported"
	}
	return 0, ""
}

func isLFSType(header string) bool {
	t, _, _ := strings.Cut(header, ";")
	return strings.TrimSpace(t) == lfsJSON
}

func refuseLFS(w http.ResponseWriter, status int, message string) {
	writeLFS(w, status, map[string]string{"message": message})
}

func writeLFS(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", lfsJSON)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that has gone needs no answer
}
