//go:build !linux

package unixsock

import (
	"io/fs"
	"os"
	"syscall"
)

// presetMode does nothing: other systems have no way to give a socket its
// permissions before it has a name. Those that the umask allows hold until
// Listen sets the final ones.
func presetMode(fs.FileMode) func(string, string, syscall.RawConn) error { return nil }

// finalMode gives the socket file at path its permissions, and returns what the
// file is.
func finalMode(path string, mode fs.FileMode) (fs.FileInfo, error) {
	if err := os.Chmod(path, mode); err != nil {
		return nil, err
	}
	return os.Lstat(path)
}
