package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// folderPrefix begins the names of the proofs' temporary folders.
const folderPrefix = "deploykeyd-verify-"

// Clean removes from dir what proofs of an earlier process, which was killed,
// have left there. No other process may be using dir. It follows no symbolic
// link in dir. A missing dir is no error.
func Clean(dir string) error {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("clean up after proofs: %w", err)
	}
	defer func() { _ = root.Close() }()
	entries, err := fs.ReadDir(root.FS(), ".")
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), folderPrefix) {
			err = errors.Join(err, root.RemoveAll(e.Name()))
		}
	}
	if err != nil {
		return fmt.Errorf("clean up after proofs: %w", err)
	}
	return nil
}
