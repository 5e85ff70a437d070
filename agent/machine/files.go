package machine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// What is read of a file at most, in bytes.
const (
	maxLine         = 512     // of a file that holds one short line
	maxInstanceData = 4 << 20 // cloud-init's holds the metadata of the cloud as well
)

// files reads below a folder that stands for the file system's root, and from
// the folder of the unit's credentials where there is one.
type files struct{ root, credentials string }

// read returns a file's whole content, which has at most limit bytes.
func (f files) read(name string, limit int) ([]byte, error) {
	file, err := os.Open(filepath.Join(f.root, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, int64(limit)+1))
	_ = file.Close()
	if err == nil && len(text) > limit {
		err = fmt.Errorf("/%s has more than %d bytes", name, limit)
	}
	return text, err
}

// credential returns the one line of a credential of the unit. A machine that
// has none of that name may hand in an empty one.
func (f files) credential(name string) (string, error) {
	if f.credentials == "" {
		return "", fs.ErrNotExist
	}
	return files{root: f.credentials}.line(name)
}

// line returns the one line that a file holds, without space around it.
func (f files) line(name string) (string, error) {
	text, err := f.read(name, maxLine)
	if err != nil {
		return "", err
	}
	line := strings.TrimSpace(string(text))
	if line == "" || strings.ContainsAny(line, "\r\n\x00") {
		return "", fmt.Errorf("/%s holds no single line", name)
	}
	return line, nil
}

// hashed returns a short id made from parts, which it does not reveal: SHA-256
// over each with its length in front, under a name of its own so that no other
// program's hash of the same machine-id is equal.
func hashed(parts ...string) string {
	h := sha256.New()
	_, _ = io.WriteString(h, "deploykeyd machine\n")
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return "m-" + hex.EncodeToString(h.Sum(nil))[:20]
}
