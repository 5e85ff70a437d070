//go:build boot

package boot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// output runs a program to its end and returns what it printed.
func output(ctx context.Context, c *exec.Cmd) (stdout string, err error) {
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(err, context.Cause(ctx))
		}
		return out.String(), fmt.Errorf("%v: %w\n%s%s", c.Args, err, out.String(), errs.String())
	}
	return out.String(), nil
}

// must runs a program of this machine within its namespaces and fails the test
// when it fails.
func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	text, err := output(ctx, exec.CommandContext(ctx, name, args...))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// disk is the disk of one machine: what is written to it outlives its boots, the
// cached root file system below it is never written to.
type disk struct {
	root  string // where it is mounted while the test runs
	boots int
}

// newDisk returns the disk of a machine without deploykeyd: a build user, a CI
// agent that is started at boot, and a network card. It is removed after a test
// that went well.
func newDisk(t *testing.T, site *site) *disk {
	t.Helper()
	disks, err := filepath.Abs(filepath.Join(cacheDir, "disks"))
	if err == nil {
		err = os.MkdirAll(disks, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(disks, strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))+"-")
	if err != nil {
		t.Fatal(err)
	}
	d := &disk{root: filepath.Join(dir, "root")}
	upper, work := filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	for _, folder := range []string{d.root, upper, work} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("overlay", d.root, "overlay", 0, "lowerdir="+os.Getenv(rootfsIn)+",upperdir="+upper+",workdir="+work); err != nil {
		t.Fatalf("mount the disk: %v", err)
	}
	t.Cleanup(func() { d.remove(t, dir) })
	d.furnish(t, site)
	return d
}

// remove takes the disk away. Of a test that failed it stays, as the folder
// upper; the container has ended before.
func (d *disk) remove(t *testing.T, dir string) {
	t.Helper()
	if err := syscall.Unmount(d.root, 0); err != nil {
		t.Errorf("unmount the disk: %v", err)
		return
	}
	if t.Failed() {
		t.Logf("what the machine wrote is kept in %s", filepath.Join(dir, "upper"))
		return
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

// furnish makes the bare root file system a build machine.
func (d *disk) furnish(t *testing.T, site *site) {
	t.Helper()
	d.write(t, "etc/hosts", 0o644, "127.0.0.1 localhost\n"+site.hosts())
	d.write(t, "usr/local/share/ca-certificates/forges.crt", 0o644, site.authority.certificate)
	d.do(t, "update-ca-certificates")
	d.write(t, "etc/network/interfaces.d/eth0", 0o644,
		"auto eth0\niface eth0 inet static\n  address "+machineAddress+"/24\n")
	d.write(t, "etc/network/interfaces", 0o644, "auto lo\niface lo inet loopback\nsource interfaces.d/*\n")
	d.write(t, "usr/local/bin/jenkins-agent", 0o755, read(t, "testdata/jenkins-agent"))
	d.write(t, "etc/systemd/system/jenkins-agent.service", 0o644, read(t, "testdata/jenkins-agent.service"))
	d.do(t, "useradd", "--create-home", "--shell", "/bin/bash", "jenkins")
	d.do(t, "systemctl", "enable", "jenkins-agent.service")
}

// seed gives cloud-init the identity and the user-data of the next boot.
func (d *disk) seed(t *testing.T, instance, userData string) {
	t.Helper()
	const seed = "var/lib/cloud/seed/nocloud/"
	d.write(t, seed+"meta-data", 0o644, "instance-id: "+instance+"\nlocal-hostname: builder\n")
	d.write(t, seed+"user-data", 0o600, userData)
}

// write writes a file of the disk.
func (d *disk) write(t *testing.T, name string, mode os.FileMode, text string) {
	t.Helper()
	path := filepath.Join(d.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

// read returns a file of the disk.
func (d *disk) read(t *testing.T, name string) string {
	t.Helper()
	return read(t, filepath.Join(d.root, name))
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// do runs a program on the disk while nothing is booted from it, as one who
// makes an image does.
func (d *disk) do(t *testing.T, args ...string) string {
	t.Helper()
	script := `mount -t proc proc "$0/proc" && exec chroot "$0" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"`
	return must(t, "unshare", append([]string{"--mount", "sh", "-c", script, d.root}, args...)...)
}

// install installs a package as one who makes an image does.
func (d *disk) install(t *testing.T, deb string) {
	t.Helper()
	d.write(t, "tmp/deploykeyd.deb", 0o644, read(t, deb))
	d.do(t, "dpkg", "-i", "/tmp/deploykeyd.deb")
	if err := os.Remove(filepath.Join(d.root, "tmp/deploykeyd.deb")); err != nil {
		t.Fatal(err)
	}
}

// files returns the names of everything on the disk that pick picks, below the
// folders that are the disk's own.
func (d *disk) files(t *testing.T, pick func(name string) bool) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(d.root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // gone meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(d.root, path)
		if err != nil {
			return err
		}
		if entry.IsDir() && (name == "proc" || name == "sys" || name == "dev" || name == "run" || name == "tmp") {
			return fs.SkipDir
		}
		if pick(name) {
			found = append(found, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
