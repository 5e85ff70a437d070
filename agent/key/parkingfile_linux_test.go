package key_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"deploykeyd/agent/key"
)

// memory returns a memory file of some size, with some seals.
func memory(t *testing.T, size int64, seals int) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(fd, size); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "test")
}

func secretMemory(t *testing.T, size int64) *os.File {
	t.Helper()
	fd, err := unix.MemfdSecret(unix.O_CLOEXEC)
	if err != nil {
		t.Fatalf("memfd_secret: %v (the kernel needs CONFIG_SECRETMEM, and no secretmem.enable=0)", err)
	}
	if err := unix.Ftruncate(fd, size); err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "test")
}

func opened(t *testing.T, path string, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestOpenParkingRefuses(t *testing.T) {
	const size = 1 << 20
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(pair[1]) }()
	closed := opened(t, file, os.O_RDONLY)
	_ = closed.Close()
	good := newParking(t)
	readOnly := memory(t, size, unix.F_SEAL_SHRINK)
	defer func() { _ = readOnly.Close() }()
	cases := map[string]*os.File{
		"a file of a disk":           opened(t, file, os.O_RDWR),
		"a device":                   opened(t, "/dev/zero", os.O_RDWR),
		"a directory":                opened(t, "/proc", os.O_RDONLY),
		"a socket":                   os.NewFile(uintptr(pair[0]), "socket"),
		"nothing":                    nil,
		"closed":                     closed,
		"memory that can shrink":     memory(t, size, unix.F_SEAL_GROW),
		"empty memory":               memory(t, 0, unix.F_SEAL_SHRINK),
		"less memory":                memory(t, size-1, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL),
		"more memory":                memory(t, size+1, unix.F_SEAL_SHRINK),
		"memory sealed for writing":  memory(t, size, unix.F_SEAL_SHRINK|unix.F_SEAL_WRITE),
		"memory that is read":        opened(t, fmt.Sprintf("/proc/self/fd/%d", readOnly.Fd()), os.O_RDONLY),
		"secret memory without size": secretMemory(t, 0),
		"less secret memory":         secretMemory(t, 4096),
	}
	for name, f := range cases {
		p, keys, err := key.OpenParking(f)
		if err == nil || p != nil || keys != nil {
			t.Errorf("%s: taken for a parking", name)
		}
		if f != nil && !errors.Is(f.Close(), os.ErrClosed) {
			t.Errorf("%s: left open", name)
		}
	}
	for name, f := range map[string]*os.File{ // empty ones
		"memory": memory(t, size, unix.F_SEAL_SHRINK), "secret memory": secretMemory(t, size), "a parking": duplicate(t, good.File()),
	} {
		p, keys, err := key.OpenParking(f)
		if err != nil || len(keys) != 0 || p.Secret() == (name == "memory") {
			t.Errorf("%s: %v, %v", name, keys, err)
			continue
		}
		_ = p.Close()
	}
}
