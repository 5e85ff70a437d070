//go:build boot

package boot_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machine is a machine that is switched on.
type machine struct {
	disk   *disk
	log    *log // nil until systemd runs
	nspawn *exec.Cmd
	done   chan struct{} // closed when nspawn has ended
	cgroup string
	leader int // systemd, in this process namespace; 0 until it runs
}

// boot switches a machine on with this disk. It returns when its systemd runs.
func (d *disk) boot(t *testing.T, site *site) *machine {
	t.Helper()
	d.boots++
	console := filepath.Join(filepath.Dir(d.root), fmt.Sprintf("console-%d.log", d.boots))
	out, err := os.Create(console)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	site.plug(t)
	m := &machine{disk: d, done: make(chan struct{}), cgroup: newCgroup(t)}
	// A cgroup of its own: the systemd inside takes its own for the whole
	// hierarchy, and ends whatever other processes it finds there.
	script := `echo $$ >"$0/cgroup.procs" && exec systemd-nspawn "$@"`
	m.nspawn = exec.CommandContext(context.WithoutCancel(t.Context()), "sh", "-c", script, m.cgroup,
		"--directory", d.root, "--boot", "--register=no", "--keep-unit", "--link-journal=no", "--machine=builder",
		"--private-network", "--network-interface=eth0", "--timezone=off", "--resolv-conf=off", "--console=read-only")
	m.nspawn.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	m.nspawn.Stdout, m.nspawn.Stderr = out, out
	if err := m.nspawn.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(m.done)
		_ = m.nspawn.Wait()
	}()
	t.Cleanup(func() {
		m.cutPower(t)
		site.unplug(context.WithoutCancel(t.Context()))
		if t.Failed() {
			t.Logf("boot %d: what its console showed is in %s", d.boots, console)
		}
	})
	m.until(t, "systemd runs", func() bool {
		m.leader = leader(t, m.nspawn.Process.Pid)
		return m.leader != 0
	})
	// Before, the journal may still be moved or begun anew, and who follows it
	// would lose it.
	m.until(t, "the journal is on the disk", func() bool {
		_, err := m.try(t, "systemctl", "--quiet", "is-active", "systemd-journal-flush.service")
		return err == nil
	})
	m.log = followJournal(t, m)
	return m
}

// until looks again and again for what no journal tells, while the machine is on.
func (m *machine) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	awaitTick(t, what, m.done, holds)
}

// awaitTick looks again and again until a condition holds or off is closed.
func awaitTick(t *testing.T, what string, off <-chan struct{}, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-off:
			t.Fatalf("in vain: %s: systemd-nspawn has ended", what)
		case <-deadline:
			t.Fatalf("in vain: %s", what)
		}
	}
}

// leader returns the process that is 1 in the container of a systemd-nspawn, or 0.
func leader(t *testing.T, nspawn int) int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var pids []string
		parent := ""
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(line, ":")
			switch name {
			case "NSpid":
				pids = strings.Fields(value)
			case "PPid":
				parent = strings.TrimSpace(value)
			}
		}
		if len(pids) == 2 && pids[1] == "1" && parent == strconv.Itoa(nspawn) {
			pid, err := strconv.Atoi(pids[0])
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	return 0
}

// in returns a command within the running machine.
func (m *machine) in(ctx context.Context, args ...string) *exec.Cmd {
	enter := []string{
		"--target", strconv.Itoa(m.leader), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd",
		"env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root",
	}
	return exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
}

// try runs a program in the machine, as root.
func (m *machine) try(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return output(ctx, m.in(ctx, args...))
}

// do is try for what must work.
func (m *machine) do(t *testing.T, args ...string) string {
	t.Helper()
	text, err := m.try(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// show returns a property of a unit, of systemd itself without one.
func (m *machine) show(t *testing.T, property string, unit ...string) string {
	t.Helper()
	return strings.TrimSpace(m.do(t, slices.Concat([]string{"systemctl", "show", "--value", "-p", property}, unit)...))
}

// cutPower ends everything on the machine at once. A machine that is off stays
// so.
func (m *machine) cutPower(t *testing.T) {
	t.Helper()
	select {
	case <-m.done:
	default:
		if m.leader == 0 {
			_ = m.nspawn.Process.Kill()
		} else {
			// With its first process the kernel ends all others of the machine.
			_ = syscall.Kill(m.leader, syscall.SIGKILL)
		}
	}
	m.off(t)
}

// powerOff shuts the machine down and waits until it is off.
func (m *machine) powerOff(t *testing.T) {
	t.Helper()
	if _, err := m.try(t, "systemctl", "poweroff"); err != nil {
		t.Fatal(err)
	}
	m.off(t)
}

// off waits until the machine is off.
func (m *machine) off(t *testing.T) {
	t.Helper()
	select {
	case <-m.done:
	case <-time.After(patience):
		t.Fatal("the machine does not go off")
	}
	if m.log != nil {
		m.log.stop()
	}
	removeCgroup(t, m.cgroup)
}

func newCgroup(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/sys/fs/cgroup", "deploykeyd-boot-")
	if err != nil {
		t.Fatalf("a cgroup for the machine: %v", err)
	}
	return dir
}

// removeCgroup removes the cgroup of a machine that is off, and those below it.
func removeCgroup(t *testing.T, dir string) {
	t.Helper()
	awaitTick(t, "the machine's last process ends", nil, func() bool {
		events, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
		return errors.Is(err, fs.ErrNotExist) || strings.Contains(string(events), "populated 0")
	})
	var all []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			all = append(all, path)
		}
		return nil // what cannot be listed shows when its parent is removed
	})
	if err != nil {
		t.Error(err)
	}
	for _, path := range slices.Backward(all) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the machine's cgroup: %v", err)
		}
	}
}
