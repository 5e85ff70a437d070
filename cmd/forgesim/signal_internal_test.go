package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets this test binary be the program forgesim as well.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"forgesim": main})
}

// TestSignals ends the program as a service manager and a terminal do.
func TestSignals(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		var stdout, stderr lines
		stdout.wrote, stderr.wrote = make(chan struct{}), make(chan struct{})
		tmp := t.TempDir()
		cmd := exec.CommandContext(t.Context(), "forgesim")
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + tmp}
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stdout.await(t, "forgesim is up")
		if left, err := os.ReadDir(tmp); err != nil || len(left) != 1 || !strings.HasPrefix(left[0].Name(), "forgesim") {
			t.Errorf("while it runs its folder is %v, %v", left, err)
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", signal, err)
		}
		if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
			t.Errorf("%v: left behind %v, %v", signal, left, err)
		}
		if stderr.text.Len() != 0 {
			t.Errorf("%v: %s", signal, stderr.text.String())
		}
	}
}
