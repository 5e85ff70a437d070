//go:build unix

package sshconfig

import (
	"io/fs"
	"os"
	"syscall"
)

// ownedByUs reports whether a file belongs to root or to our own user.
func ownedByUs(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == 0 || int(st.Uid) == os.Geteuid())
}
