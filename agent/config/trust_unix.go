//go:build unix

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// checkTrust refuses a file that somebody other than root and this process's
// user could have written: it says who may use the keys and where the
// credentials are sent.
func checkTrust(path string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("its owner cannot be read: put it on a local file system")
	}
	if uid := os.Geteuid(); stat.Uid != 0 && int64(stat.Uid) != int64(uid) {
		return fmt.Errorf("it belongs to uid %d, neither root nor the uid %d of this process: chown %d %s", stat.Uid, uid, uid, path)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("its mode is %04o, so that others than its owner may change it: chmod go-w %s", mode, path)
	}
	return nil
}
