package unixsock

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Before anything else is done to it, the file has no more rights than asked for.
func TestPresetModeHoldsFromTheFirstMoment(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir, err := os.MkdirTemp("", "dkd")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for _, mode := range []fs.FileMode{0o600, 0o640, 0o666} {
		path := filepath.Join(dir, mode.String())
		lc := net.ListenConfig{Control: presetMode(mode)}
		l, err := lc.Listen(t.Context(), "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != fs.ModeSocket|mode {
			t.Errorf("mode %v, %v, want %v", info.Mode(), err, mode)
		}
		_ = l.Close()
	}
}

func TestFinalModeFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "shadow"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	t.Chdir(dir) // for a short path
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: "socket"}), os.Chmod("socket", 0o600), os.Symlink("socket", "other")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, file, "other"} {
		if _, err := finalMode(path, 0o666); !errors.Is(err, ErrNotASocket) {
			t.Errorf("%s: got %v", path, err)
		}
	}
	for _, path := range []string{file, "socket"} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s behind a link has mode %v now, %v", path, info.Mode(), err)
		}
	}
}
