//go:build unix

package credential

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// openFile opens without waiting: a named pipe with no writer would hang here.
func openFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// openWithin is openFile for a name below root, which no link may lead out of.
func openWithin(root *os.Root, name string) (*os.File, error) {
	return root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// checkOwner allows root's files, our own and those of the trusted uids: any
// other owner could exchange the credential for one of an account that it
// controls.
func checkOwner(path string, info fs.FileInfo, trusted ...uint32) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("its owner cannot be read: put it on a local file system")
	}
	if uid := os.Geteuid(); stat.Uid != 0 && int64(stat.Uid) != int64(uid) && !slices.Contains(trusted, stat.Uid) {
		return fmt.Errorf("it belongs to uid %d, neither root nor the uid %d of this process: run this as uid %d, or chown %d %s", stat.Uid, uid, stat.Uid, uid, path)
	}
	return nil
}
