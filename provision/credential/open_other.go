//go:build !unix

package credential

import (
	"errors"
	"io/fs"
	"os"
)

func openFile(path string) (*os.File, error) { return os.Open(path) }

func openWithin(root *os.Root, name string) (*os.File, error) { return root.Open(name) }

// checkOwner refuses: who may read a file cannot be told here.
func checkOwner(string, fs.FileInfo, ...uint32) error {
	return errors.New("credential files are supported on Unix systems alone: use an environment variable")
}
