//go:build unix

package cli

import (
	"os"
	"syscall"
)

// ownerOf returns whom a directory belongs to.
func ownerOf(dir string) (uid uint32, ok bool) {
	info, err := os.Stat(dir)
	if err != nil {
		return 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return stat.Uid, true
}
