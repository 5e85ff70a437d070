package forgesim

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
)

// maxLFSObject is the largest object that is taken.
const maxLFSObject = 1 << 30

// lfsOID is the name of an object: its SHA-256, in lower case.
var lfsOID = regexp.MustCompile(`^[0-9a-f]{64}$`)

func isLFSOID(s string) bool { return lfsOID.MatchString(s) }

// file is where git-lfs itself would keep an object of a repository.
func (g lfsGrant) file(oid string) string {
	return filepath.Join(g.repository.gitDir, "lfs", "objects", oid[0:2], oid[2:4], oid)
}

// has reports whether the repository has an object, with that very size.
func (g lfsGrant) has(o lfsObject) bool {
	if !isLFSOID(o.OID) {
		return false
	}
	info, err := os.Stat(g.file(o.OID))
	return err == nil && info.Mode().IsRegular() && info.Size() == o.Size
}

// transfer gives out one object or takes one in, as the basic transfer adapter
// does (git-lfs, docs/api/basic-transfers.md).
func (g lfsGrant) transfer(w http.ResponseWriter, r *http.Request, oid string) {
	switch {
	case r.Method == http.MethodGet:
		g.download(w, r, oid)
	case r.Method != http.MethodPut:
		refuseLFS(w, http.StatusMethodNotAllowed, "Method not allowed")
	case !g.write:
		refuseLFS(w, http.StatusForbidden, "You may read this repository, not write to it")
	default:
		switch err := g.upload(http.MaxBytesReader(w, r.Body, maxLFSObject), oid); {
		case err == nil:
			w.WriteHeader(http.StatusOK)
		case errors.Is(err, errLFSContent):
			refuseLFS(w, http.StatusUnprocessableEntity, err.Error())
		default:
			refuseLFS(w, http.StatusInternalServerError, "The object cannot be kept")
		}
	}
}

// download serves ranges as well: git-lfs resumes.
func (g lfsGrant) download(w http.ResponseWriter, r *http.Request, oid string) {
	f, err := os.Open(g.file(oid))
	if err != nil {
		refuseLFS(w, http.StatusNotFound, "Object does not exist")
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		refuseLFS(w, http.StatusInternalServerError, "The object cannot be read")
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// errLFSContent is an upload that is not the object which it claims to be.
var errLFSContent = errors.New("the content does not have this SHA-256")

// upload keeps an object once it has come whole and is what its name says.
func (g lfsGrant) upload(content io.Reader, oid string) error {
	path := g.file(oid)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".incoming")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, sum), content)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != oid {
		return errLFSContent
	}
	return os.Rename(f.Name(), path)
}
