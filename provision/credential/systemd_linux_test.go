package credential

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// credentials makes a directory as systemd would, with one credential in it.
func credentials(t *testing.T) (dir, path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "dkd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path = filepath.Join(dir, "deploykeyd_hub")
	if err := os.WriteFile(path, []byte(theToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mode(t, path, 0o400)
	return dir, path
}

func mode(t *testing.T, path string, to os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, to); err != nil {
		t.Fatal(err)
	}
}

// letIn gives a user read access as systemd does: by an access control list
// (acl(5)), in the form that the kernel keeps it in.
func letIn(t *testing.T, path string, uid uint32, bits uint16) {
	t.Helper()
	const all = ^uint32(0)
	list := binary.LittleEndian.AppendUint32(nil, 2) // the version
	for _, e := range []struct {
		tag, bits uint16
		id        uint32
	}{{0x01, bits, all}, {0x02, bits, uid}, {0x04, 0, all}, {0x10, bits, all}, {0x20, 0, all}} {
		list = binary.LittleEndian.AppendUint16(list, e.tag)
		list = binary.LittleEndian.AppendUint16(list, e.bits)
		list = binary.LittleEndian.AppendUint32(list, e.id)
	}
	if err := syscall.Setxattr(path, "system.posix_acl_access", list, 0); err != nil {
		t.Fatal(err)
	}
}

// TestSystemdWithinTheUnit reads as another user, whom the two ways of systemd
// let in.
func TestSystemdWithinTheUnit(t *testing.T) {
	const user = 61234
	for name, let := range map[string]func(t *testing.T, dir, path string){
		"by an access control list": func(t *testing.T, dir, path string) {
			t.Helper()
			letIn(t, path, user, 4)
			letIn(t, dir, user, 5)
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o440 {
				t.Fatalf("the mode is %v, %v", info.Mode(), err)
			}
		},
		"by owner": func(t *testing.T, dir, path string) {
			t.Helper()
			mode(t, dir, 0o500)
			for _, p := range []string{path, dir} {
				if err := os.Chown(p, user, -1); err != nil {
					t.Fatal(err)
				}
			}
		},
		"by nothing": func(*testing.T, string, string) {},
	} {
		t.Run(name, func(t *testing.T) {
			dir, path := credentials(t)
			let(t, dir, path)
			cmd := child(t, "load", "DEPLOYKEYD_TEST_NAME=hub", "CREDENTIALS_DIRECTORY="+dir)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}, Pdeathsig: syscall.SIGKILL}
			out, err := cmd.CombinedOutput()
			want := "the token"
			if name == "by nothing" {
				want = "only the unit's main process may"
			}
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("gives %s, %v", out, err)
			}
		})
	}
}

func TestSystemdRefuses(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(elsewhere, []byte(theToken), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		do   func(t *testing.T, dir, path string)
		want string
	}{
		{"missing", func(t *testing.T, _, path string) { t.Helper(); remove(t, path) }, "LoadCredential=deploykeyd:/etc/deploykeyd/credentials"},
		{"others may read", func(t *testing.T, _, path string) { t.Helper(); mode(t, path, 0o404) }, "0404"},
		{"the group may write", func(t *testing.T, _, path string) { t.Helper(); mode(t, path, 0o460) }, "0460"},
		{"others may write", func(t *testing.T, _, path string) { t.Helper(); mode(t, path, 0o402) }, "0402"},
		{"others may change the directory", func(t *testing.T, dir, _ string) { t.Helper(); mode(t, dir, 0o703) }, "0703"},
		{"the group may change the directory", func(t *testing.T, dir, _ string) { t.Helper(); mode(t, dir, 0o770) }, "0770"},
		{"another's directory", func(t *testing.T, dir, _ string) { t.Helper(); own(t, dir) }, "neither root nor this user"},
		{"another's file", func(t *testing.T, _, path string) { t.Helper(); own(t, path) }, "neither root nor this user"},
		{"a link that leads out", func(t *testing.T, _, path string) {
			t.Helper()
			remove(t, path)
			if err := os.Symlink(elsewhere, path); err != nil {
				t.Fatal(err)
			}
		}, "escapes"},
		{"a directory", func(t *testing.T, _, path string) {
			t.Helper()
			remove(t, path)
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "not a regular file"},
		{"a pipe", func(t *testing.T, _, path string) {
			t.Helper()
			remove(t, path)
			if err := syscall.Mkfifo(path, 0o400); err != nil {
				t.Fatal(err)
			}
		}, "not a regular file"},
		{"several lines", func(t *testing.T, _, path string) {
			t.Helper()
			remove(t, path)
			if err := os.WriteFile(path, []byte(theToken+"\nx\n"), 0o400); err != nil {
				t.Fatal(err)
			}
		}, "restart the unit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, path := credentials(t)
			t.Setenv("CREDENTIALS_DIRECTORY", dir)
			if secret, err := Systemd("hub").Load(t.Context()); err != nil || secret.Reveal() != theToken {
				t.Fatalf("before: %v", err)
			}
			c.do(t, dir, path)
			secret, err := Systemd("hub").Load(t.Context())
			if err == nil || !secret.IsZero() || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) && c.name != "several lines" {
				t.Fatalf("gives %v", err)
			}
			hidden(t, c.name, err.Error(), theToken)
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// own gives a path to a user who is neither root nor, as root runs this, us.
func own(t *testing.T, path string) {
	t.Helper()
	if err := os.Chown(path, 61234, -1); err != nil {
		t.Fatal(err)
	}
}

func TestSystemdOutsideTheUnit(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	folder := t.TempDir()
	path := filepath.Join(folder, "hub.key")
	source := systemd{"hub.key", folder}
	if _, err := source.Load(t.Context()); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "write the token into it") {
		t.Errorf("missing gives %v", err)
	}
	if err := os.WriteFile(path, []byte(theToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if secret, err := source.Load(t.Context()); err != nil || secret.Reveal() != theToken || source.String() != "systemd hub.key" {
		t.Errorf("%s gives %v", source, err)
	}
	mode(t, path, 0o640) // a file's own rules count here
	if _, err := source.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
		t.Errorf("a readable file gives %v", err)
	}
	if s, ok := Systemd("hub").(systemd); !ok || s.folder != "/etc/deploykeyd/credentials" {
		t.Errorf("reads in %q", s.folder)
	}
}

func TestSystemdNames(t *testing.T) {
	for _, name := range []string{"", ".", "..", ".hidden", "a/b", "../x", "a b", "a\nb", "ä", strings.Repeat("x", 245)} {
		for _, dir := range []string{"", t.TempDir()} {
			t.Setenv("CREDENTIALS_DIRECTORY", dir)
			if _, err := Systemd(name).Load(t.Context()); err == nil || !strings.Contains(err.Error(), "not the name of a credential") {
				t.Errorf("%q gives %v", name, err)
			}
		}
	}
	for _, dir := range []string{"relative", "/nonexistent/dkd"} {
		t.Setenv("CREDENTIALS_DIRECTORY", dir)
		if _, err := Systemd("hub").Load(t.Context()); err == nil || !strings.Contains(err.Error(), "CREDENTIALS_DIRECTORY") {
			t.Errorf("%q gives %v", dir, err)
		}
	}
}
