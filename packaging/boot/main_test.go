//go:build boot

package boot_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What the tests need of the network's far side is made before they leave it:
// these name it to the process that has namespaces of its own.
const (
	rootfsIn   = "DEPLOYKEYD_BOOT_ROOTFS"
	packagesIn = "DEPLOYKEYD_BOOT_PACKAGES"
)

// cacheDir is where this tree keeps what the tests make.
const cacheDir = "../../.cache/boot"

// patience bounds every single wait. It is far above what anything here takes,
// for machines that run much else.
const patience = 90 * time.Second

// TestMain runs the tests in namespaces of their own. The process namespace is
// what ends every machine with the tests, even when they are killed.
func TestMain(m *testing.M) {
	if os.Getenv(rootfsIn) != "" {
		os.Exit(m.Run())
	}
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "boot:", err)
		os.Exit(1)
	}
}

// prepare makes the root file system and the packages and executes the tests. It
// returns only on an error.
func prepare() error {
	unshare, err := tools()
	if err != nil {
		return err
	}
	from := time.Now()
	rootfs, err := exec.Command("./rootfs.sh", cacheDir).Output() //nolint:noctx // the tests' own limit bounds it
	if err != nil {
		return explain("rootfs.sh", err)
	}
	fmt.Fprintf(os.Stderr, "root file system: %v\n", time.Since(from).Round(time.Second))
	from = time.Now()
	packages, err := filepath.Abs(filepath.Join(cacheDir, "packages"))
	if err != nil {
		return err
	}
	if err := makePackages(packages); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "packages: %v\n", time.Since(from).Round(time.Second))
	// With a writable /sys, systemd-nspawn waits for udev to know the network card,
	// and udev knows nothing of this namespace.
	//
	// The unified hierarchy of cgroups, whatever this machine has: in a container
	// the older one does not always say when a service has ended.
	//
	// The shell stays as the first process and takes the exit statuses of processes
	// whose parents have ended: a machine cannot go off before somebody does.
	script := `mount -o remount,bind,ro /sys && mount -t cgroup2 cgroup2 /sys/fs/cgroup && "$0" "$@"; exit $?`
	args := []string{
		"unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc",
		"sh", "-c", script, os.Args[0],
	}
	env := append(os.Environ(), rootfsIn+"="+strings.TrimSpace(string(rootfs)), packagesIn+"="+packages)
	return syscall.Exec(unshare, append(args, os.Args[1:]...), env)
}

// tools says what is missing, and where unshare is.
func tools() (unshare string, err error) {
	if os.Geteuid() != 0 {
		return "", errors.New("these tests boot machines: run them as root (sudo make boot-test)")
	}
	for _, tool := range [][2]string{
		{"systemd-nspawn", "systemd-container"},
		{"journalctl", "systemd"},
		{"debootstrap", "debootstrap"},
		{"ip", "iproute2"},
		{"nsenter", "util-linux"},
		{"git", "git"},
		{"unshare", "util-linux"},
	} {
		if unshare, err = exec.LookPath(tool[0]); err != nil {
			return "", fmt.Errorf("%s is missing: apt-get install %s", tool[0], tool[1])
		}
	}
	return unshare, nil
}

// The versions of the two packages.
const firstVersion, secondVersion = "v0.1.0", "v0.2.0"

// makePackages makes the deb twice, as two versions.
func makePackages(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for _, version := range []string{firstVersion, secondVersion} {
		c := exec.Command("../package.sh", filepath.Join(dir, version), //nolint:noctx // the tests' own limit bounds it
			"--version", version, "--arch", runtime.GOARCH, "--only", "deb", "--only", "rpm")
		if _, err := c.Output(); err != nil {
			return explain("package.sh", err)
		}
	}
	return nil
}

func explain(script string, err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return fmt.Errorf("%s: %w: %s", script, err, exit.Stderr)
	}
	return fmt.Errorf("%s: %w", script, err)
}

// deb returns the package of a version.
func deb(t *testing.T, version string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(os.Getenv(packagesIn), version, "*.deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the package %s: %q, %v", version, found, err)
	}
	return found[0]
}
