package machine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxFile bounds what is read of any file, in bytes: all of them hold one short
// line.
const maxFile = 512

// files reads below a folder that stands for the file system's root.
type files struct{ root string }

// line returns the one line that a file holds, without space around it.
func (f files) line(name string) (string, error) {
	file, err := os.Open(filepath.Join(f.root, filepath.FromSlash(name)))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	_ = file.Close()
	if err != nil {
		return "", err
	}
	line := strings.TrimSpace(string(text))
	if line == "" || len(text) > maxFile || strings.ContainsAny(line, "\r\n\x00") {
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
