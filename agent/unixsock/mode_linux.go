package unixsock

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// presetMode gives a socket its permissions before it has a name: bind(2) makes
// the file with the socket's own mode, less the umask. So there is no moment at
// which somebody may connect who may not later.
func presetMode(mode fs.FileMode) func(string, string, syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var chmodErr error
		err := c.Control(func(fd uintptr) { chmodErr = unix.Fchmod(int(fd), uint32(mode.Perm())) })
		if err != nil {
			return err
		}
		return chmodErr
	}
}
