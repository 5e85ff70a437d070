//go:build unix

package credential

import (
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
)

// owned is a file's description with an owner that a test without root could
// not give to a real file.
type owned struct {
	fs.FileInfo
	uid uint32
}

func (o owned) Sys() any { return &syscall.Stat_t{Uid: o.uid} }

func TestCheckOwner(t *testing.T) {
	us := uint32(os.Geteuid())
	for _, c := range []struct {
		uid  uint32
		fine bool
	}{{0, true}, {us, true}, {us + 12345, false}, {us + 54321, true}} {
		err := checkOwner("/etc/token", owned{uid: c.uid}, us+54321)
		if (err == nil) != c.fine {
			t.Errorf("uid %d gives %v", c.uid, err)
		}
		if err != nil && !strings.Contains(err.Error(), "chown") {
			t.Errorf("no next step: %v", err)
		}
	}
}
