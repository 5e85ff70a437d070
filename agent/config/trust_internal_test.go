//go:build unix

package config

import (
	"io/fs"
	"os"
	"path/filepath"
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

func (owned) Mode() fs.FileMode { return 0o600 }
func (o owned) Sys() any        { return &syscall.Stat_t{Uid: o.uid} }

func TestTrustInOwner(t *testing.T) {
	us := uint32(os.Geteuid())
	for _, c := range []struct {
		uid  uint32
		fine bool
	}{{0, true}, {us, true}, {us + 12345, false}} {
		err := checkTrust("/etc/d.yaml", owned{uid: c.uid})
		if (err == nil) != c.fine {
			t.Errorf("uid %d gives %v", c.uid, err)
		}
		if err != nil && !strings.Contains(err.Error(), "chown ") {
			t.Errorf("no next step: %v", err)
		}
	}
}

// TestTrustInMode reads each file under its name and through a link, whose own
// mode always allows everything.
func TestTrustInMode(t *testing.T) {
	for _, c := range []struct {
		mode fs.FileMode
		fine bool
	}{{0o400, true}, {0o600, true}, {0o644, true}, {0o755, true}, {0o620, false}, {0o664, false}, {0o602, false}, {0o666, false}} {
		dir := t.TempDir()
		path, link := filepath.Join(dir, "d.yaml"), filepath.Join(dir, "link")
		if err := os.WriteFile(path, []byte(Example()), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, link); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{path, link} {
			_, err := Load(name)
			if (err == nil) != c.fine {
				t.Errorf("mode %04o of %s gives %v", c.mode, name, err)
			}
			if want := "read configuration " + name + ": its mode is"; err != nil &&
				(!strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "chmod go-w "+name)) {
				t.Errorf("no name or no next step: %v", err)
			}
		}
	}
}
