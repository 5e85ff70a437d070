package unixsock

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
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

// finalMode gives the socket file at path the permissions that the umask took
// from it, and returns what the file is. Whatever else is there by now, a
// symbolic link above all, is left alone.
func finalMode(path string, mode fs.FileMode) (fs.FileInfo, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("%w: somebody has put it there just now; choose a directory that is ours alone", ErrNotASocket)
	}
	return info, chmodOpen(fd, mode)
}

// chmodOpen changes the permissions of what was opened with O_PATH, on which
// fchmod(2) does not work.
func chmodOpen(fd int, mode fs.FileMode) error {
	return os.Chmod("/proc/self/fd/"+strconv.Itoa(fd), mode)
}
