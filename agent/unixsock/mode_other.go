//go:build !linux

package unixsock

import (
	"io/fs"
	"syscall"
)

// presetMode does nothing: other systems have no way to give a socket its
// permissions before it has a name. Those that the umask allows hold until
// Listen sets the final ones.
func presetMode(fs.FileMode) func(string, string, syscall.RawConn) error { return nil }
