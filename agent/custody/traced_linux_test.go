package custody_test

import (
	"encoding/json"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Whoever traces the process before it protects itself is named.
func TestProtectTellsOfATracer(t *testing.T) {
	runtime.LockOSThread() // the thread that starts the process is its tracer
	defer runtime.UnlockOSThread()
	out, err := os.CreateTemp(t.TempDir(), "facts")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p, err := os.StartProcess(os.Args[0], os.Args[:1], &os.ProcAttr{
		Env: append(os.Environ(), asProtected+"=1"), Files: []*os.File{nil, out, out},
		Sys: &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := letRun(p.Pid); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	var f facts
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatalf("%v: %q", err, text)
	}
	if len(f.Warnings) != 1 || !strings.HasPrefix(f.Warnings[0], "process "+strconv.Itoa(syscall.Gettid())+" traces this one") {
		t.Errorf("warnings %q", f.Warnings)
	}
}

// letRun passes a traced process its signals until it ends.
func letRun(pid int) error {
	for {
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || status.Exited() || status.Signaled() {
			return err
		}
		signal := status.StopSignal()
		if signal == syscall.SIGTRAP { // the stop at its start
			signal = 0
		}
		if err := syscall.PtraceCont(pid, int(signal)); err != nil {
			return err
		}
	}
}
