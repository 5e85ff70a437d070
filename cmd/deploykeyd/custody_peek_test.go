package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// peekAt names the process that TestPeekHelper shall look into.
const peekAt = "DEPLOYKEYD_TEST_PEEK_AT"

// peeking is what somebody found who tried every way to look into a process:
// for each way what the kernel said, empty where it let him.
type peeking struct {
	Own    map[string]string // a process of his own
	Target map[string]string
}

// TestPeekHelper is a program for other users to run: it tries every way to
// look into a process. Without the variable it is nothing.
func TestPeekHelper(t *testing.T) {
	pid, err := strconv.Atoi(os.Getenv(peekAt))
	if err != nil {
		return
	}
	runtime.LockOSThread() // ptrace(2) is about threads
	victim := startVictim(t)
	found := peeking{Own: peek(victim.Process.Pid), Target: peek(pid)}
	if err := errors.Join(victim.Process.Kill(), json.NewEncoder(os.Stdout).Encode(found)); err != nil {
		t.Fatal(err)
	}
	os.Exit(0) // the test's own words would follow
}

// startVictim starts a process that does nothing. It has answered once: what
// the kernel shows of one that is only being executed is not all there yet.
func startVictim(t *testing.T) *exec.Cmd {
	t.Helper()
	victim := exec.CommandContext(t.Context(), "cat")
	victim.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, inErr := victim.StdinPipe()
	out, outErr := victim.StdoutPipe()
	if err := errors.Join(inErr, outErr, victim.Start()); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return victim
}

// peek tries every way to look into a process (ptrace(2), "Ptrace access mode
// checking", and proc(5)).
func peek(pid int) map[string]string {
	said := map[string]string{}
	try := func(what string, err error) {
		said[what] = ""
		if err != nil {
			said[what] = err.Error()
		}
		for _, refusal := range []error{syscall.EPERM, syscall.EACCES} {
			if errors.Is(err, refusal) {
				said[what] = "refused"
			}
		}
	}
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	for _, name := range []string{"environ", "auxv", "maps", "smaps", "smaps_rollup", "numa_maps", "pagemap", "syscall", "stack", "personality", "io"} {
		for _, task := range []string{"", fmt.Sprintf("task/%d", pid)} {
			path := filepath.Join(dir, task, name)
			if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) { // not in this kernel
				continue
			}
			try(filepath.Join(task, name), readSome(path))
		}
	}
	for _, name := range []string{"fd", "fdinfo", "map_files", "ns"} {
		entries, err := os.ReadDir(filepath.Join(dir, name))
		for _, e := range entries[:min(1, len(entries))] {
			_, err = os.Readlink(filepath.Join(dir, name, e.Name()))
			if name == "fdinfo" {
				err = readSome(filepath.Join(dir, name, e.Name()))
			}
		}
		try(name+"/", err)
	}
	for _, name := range []string{"cwd", "root", "exe"} {
		_, err := os.Readlink(filepath.Join(dir, name))
		try(name, err)
	}
	address := mapped(dir)
	try("mem", readMemory(filepath.Join(dir, "mem"), address))
	try("task/mem", readMemory(filepath.Join(dir, "task", strconv.Itoa(pid), "mem"), address))
	peekByCall(pid, address, try)
	return said
}

// peekByCall tries the system calls.
func peekByCall(pid int, address uintptr, try func(string, error)) {
	word := make([]byte, 8)
	_, err := unix.ProcessVMReadv(pid, []unix.Iovec{{Base: &word[0], Len: 8}}, []unix.RemoteIovec{{Base: address, Len: 8}}, 0)
	try("process_vm_readv", err)
	_, err = unix.ProcessVMWritev(pid, []unix.Iovec{{Base: &word[0], Len: 8}}, []unix.RemoteIovec{{Base: address, Len: 8}}, 0)
	if errors.Is(err, syscall.EFAULT) { // allowed: it is no page for writing
		err = nil
	}
	try("process_vm_writev", err)

	pidfd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		var fd int
		if fd, err = unix.PidfdGetfd(pidfd, 0, 0); err == nil {
			_ = unix.Close(fd)
		}
		_ = unix.Close(pidfd)
	}
	try("pidfd_getfd", err)

	err = unix.PtraceAttach(pid)
	if err == nil {
		err = awaitStopped(pid)
	}
	try("PTRACE_ATTACH", err)
	err = unix.PtraceSeize(pid)
	if err == nil {
		_ = unix.PtraceInterrupt(pid)
		err = awaitStopped(pid)
	}
	try("PTRACE_SEIZE", err)
}

// awaitStopped waits for a traced process to stop, and lets it go.
func awaitStopped(pid int) error {
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
		return err
	}
	return unix.PtraceDetach(pid)
}

func readSome(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Read(make([]byte, 8))
	return err
}

func readMemory(path string, address uintptr) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.ReadAt(make([]byte, 8), int64(address))
	return err
}

// mapped returns an address of the process's first mapping, and where its maps
// are closed the one at which programs of Go begin.
func mapped(dir string) uintptr {
	var address uintptr = 0x400000
	if text, err := os.ReadFile(filepath.Join(dir, "maps")); err == nil {
		from, _, _ := strings.Cut(string(text), "-")
		if n, err := strconv.ParseUint(from, 16, 64); err == nil {
			address = uintptr(n)
		}
	}
	return address
}

// peek lets a user try every way to look into a process.
func (s *site) peek(t *testing.T, uid uint32, pid int) peeking {
	t.Helper()
	program := filepath.Join(s.dir, "peek") // a file that every user may run
	if _, err := os.Stat(program); err != nil {
		text, err := os.ReadFile(os.Args[0])
		if err == nil {
			err = os.WriteFile(program, text, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, program, "-test.run=^TestPeekHelper$")
	c.Dir, c.Env = "/", append(os.Environ(), peekAt+"="+strconv.Itoa(pid))
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}, Pdeathsig: syscall.SIGKILL}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("peek as uid %d: %v\n%s", uid, err, out)
	}
	var found peeking
	if err := json.NewDecoder(bytes.NewReader(out)).Decode(&found); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return found
}
