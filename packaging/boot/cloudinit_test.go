//go:build boot

package boot_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Every example of user-data is what the image's cloud-init takes.
func TestUserDataIsValid(t *testing.T) {
	t.Parallel()
	examples, err := filepath.Abs("../cloud-init")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(examples, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no user-data in %s: %v", examples, err)
	}
	for _, file := range files {
		said, err := cloudInitSchema(t, filepath.Dir(file), filepath.Base(file))
		if err != nil || !strings.HasPrefix(said, "Valid cloud-config") {
			t.Errorf("%s: %v: %s", filepath.Base(file), err, said)
		}
	}
}

// The check can fail.
func TestUserDataThatIsNotValid(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bad.yaml"), []byte("#cloud-config\nwrite_files: {path: /x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := cloudInitSchema(t, dir, "bad.yaml"); err == nil || !strings.Contains(said, "write_files") {
		t.Errorf("%v: %s", err, said)
	}
}

// cloudInitSchema runs cloud-init of the root file system, which is not written
// to, on a file of a folder.
func cloudInitSchema(t *testing.T, dir, name string) (said string, err error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", "sh", "-euc", `
		mount --bind "$1" "$1"
		mount -o remount,bind,ro "$1"
		mount --rbind /proc "$1/proc"
		mount --bind "$2" "$1/mnt"
		exec chroot "$1" cloud-init schema --config-file "/mnt/$3"`, "sh", os.Getenv(rootfsIn), dir, name)
	out, err := c.CombinedOutput()
	return string(out), err
}
