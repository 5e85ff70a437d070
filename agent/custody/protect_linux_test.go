package custody_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"deploykeyd/agent/custody"
)

// asProtected makes the test binary protect itself and tell what came of it.
const asProtected = "DEPLOYKEYD_TEST_AS_PROTECTED"

func TestMain(m *testing.M) {
	if os.Getenv(asProtected) != "" {
		os.Exit(tellFacts())
	}
	os.Exit(m.Run())
}

// facts is what a protected process sees of itself.
type facts struct {
	Warnings       []string
	Dumpable       int
	Core           unix.Rlimit
	LockedKiB      int // right after Protect
	FutureKiB      int // how much more is locked after a mapping of futureKiB
	FilledMB       int // resident with a heap of some size
	ReturnedMB     int // resident once that is given back
	ChildCore      string
	ChildLockedKiB string
}

const futureKiB = 1 << 10

func tellFacts() int {
	f := facts{Warnings: custody.Protect().Warnings}
	f.Dumpable, _ = unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	_ = unix.Getrlimit(unix.RLIMIT_CORE, &f.Core)
	f.LockedKiB = statusKiB("VmLck")
	if _, err := unix.Mmap(-1, 0, futureKiB<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON); err != nil {
		f.Warnings = append(f.Warnings, "mmap: "+err.Error())
	}
	f.FutureKiB = statusKiB("VmLck") - f.LockedKiB
	f.FilledMB, f.ReturnedMB = exertRuntime()
	f.ChildCore, f.ChildLockedKiB = child("Max core file size"), child("VmLck:")
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		return 1
	}
	return 0
}

// child returns the last word but one of a line that a child sees of itself.
func child(line string) string {
	c := exec.CommandContext(context.Background(), "cat", "/proc/self/limits", "/proc/self/status")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := c.Output()
	if err != nil {
		return err.Error()
	}
	for l := range strings.Lines(string(out)) {
		if words := strings.Fields(l); strings.HasPrefix(l, line) && len(words) > 1 {
			return words[len(words)-2]
		}
	}
	return "no " + line
}

// exertRuntime does what could fail with locked memory: it grows and shrinks
// heap and stacks in many collections, and gives memory back to the system,
// which madvise(2) refuses for locked pages.
func exertRuntime() (filled, returned int) {
	filled = residentWith(64 << 20)
	for range 10 {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { deep(200) })
		}
		wg.Wait()
		runtime.GC()
	}
	debug.FreeOSMemory()
	return filled, statusKiB("VmRSS") >> 10
}

// residentWith returns what is resident, in MB, while a heap of some bytes is.
func residentWith(size int) int {
	blocks := make([][]byte, size>>16)
	for i := range blocks {
		blocks[i] = bytes.Repeat([]byte{1}, 1<<16)
	}
	defer runtime.KeepAlive(blocks)
	return statusKiB("VmRSS") >> 10
}

//go:noinline
func deep(n int) byte {
	var frame [256]byte
	frame[n%len(frame)] = 1
	if n == 0 {
		return frame[0]
	}
	return deep(n-1) + frame[1]
}

func statusKiB(field string) int {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return -1
	}
	_, rest, _ := strings.Cut(string(text), field+":")
	n := -1
	_, _ = fmt.Sscan(rest, &n)
	return n
}

// protect runs a protected process behind the given command, and returns what
// it tells.
func protect(t *testing.T, wrapper ...string) facts {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests give up rights: run them as root (sudo make test)")
	}
	dir, err := os.MkdirTemp("", "dkd") // other users cannot reach t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program := filepath.Join(dir, "program")
	text, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, text, 0o755); err != nil {
		t.Fatal(err)
	}
	command := append(slices.Clone(wrapper), program)
	c := exec.CommandContext(t.Context(), command[0], command[1:]...)
	c.Dir, c.Env = "/", append(os.Environ(), asProtected+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %v (prlimit, setpriv and unshare are of the package util-linux)\n%s", command, err, stderr.String())
	}
	var f facts
	if err := json.Unmarshal(out, &f); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return f
}

// User news of every Debian system, without any right.
const unprivileged = "--reuid=9 --regid=9 --clear-groups --bounding-set=-all --inh-caps=-all --pdeathsig=KILL"

func TestProtect(t *testing.T) {
	drop := append([]string{"setpriv"}, strings.Fields(unprivileged)...)
	capable := strings.Fields("setpriv --reuid=9 --regid=9 --clear-groups --inh-caps=+ipc_lock --ambient-caps=+ipc_lock --pdeathsig=KILL")
	limit := func(memlock string, rest ...string) []string {
		return append([]string{"prlimit", "--core=unlimited", "--memlock=" + memlock}, rest...)
	}
	type row struct {
		name    string
		wrapper []string
		locked  bool
	}
	cases := []row{
		{"root", limit("65536:65536"), true},
		{"a finite limit", limit("65536:65536", drop...), false},
		{"no locking at all", limit("0:0", drop...), false},
		{"the kernel does not hold us to the limit", limit("65536:65536", capable...), true},
		{"a right of a user namespace does not count", limit("65536:65536", append(slices.Clone(drop), "unshare", "-r")...), false},
	}
	if exec.CommandContext(t.Context(), "prlimit", "--memlock=unlimited:unlimited", "true").Run() == nil {
		cases = append(cases,
			row{"the unit's limit", limit("unlimited:unlimited", drop...), true},
			row{"a soft limit is raised", limit("65536:unlimited", drop...), true},
			row{"a huge finite limit", limit("1125899906842624:1125899906842624", drop...), false})
	} else {
		t.Log("this machine's root may not raise limits (CAP_SYS_RESOURCE): nothing is tried above the present one")
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := protect(t, c.wrapper...)
			if f.Dumpable != 0 || f.Core != (unix.Rlimit{}) || f.ChildCore != "0" {
				t.Errorf("dumpable %d, core limit %+v, a child's %s", f.Dumpable, f.Core, f.ChildCore)
			}
			if f.ChildLockedKiB != "0" {
				t.Errorf("a child has %s KiB locked", f.ChildLockedKiB)
			}
			if f.ReturnedMB > f.FilledMB-40 {
				t.Errorf("resident %d MB before and %d MB after memory was given back", f.FilledMB, f.ReturnedMB)
			}
			if c.locked {
				if len(f.Warnings) != 0 || f.LockedKiB == 0 || f.FutureKiB < futureKiB {
					t.Errorf("locked %d KiB, %d KiB more later, warnings %q", f.LockedKiB, f.FutureKiB, f.Warnings)
				}
				return
			}
			if f.LockedKiB != 0 || f.FutureKiB != 0 {
				t.Errorf("locked %d KiB, %d KiB more later", f.LockedKiB, f.FutureKiB)
			}
			if len(f.Warnings) != 1 || !strings.HasPrefix(f.Warnings[0], "memory is not locked") ||
				!strings.Contains(f.Warnings[0], "swap is o") || !strings.Contains(f.Warnings[0], "LimitMEMLOCK=infinity") {
				t.Errorf("warnings %q", f.Warnings)
			}
		})
	}
}
