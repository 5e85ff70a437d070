package unixsock

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOpenProcess(t *testing.T) {
	gone := exec.CommandContext(t.Context(), "true")
	if err := gone.Start(); err != nil {
		t.Fatal(err)
	}
	dead, err := unix.PidfdOpen(gone.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Wait(); err != nil {
		t.Fatal(err)
	}
	alive, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		pid            int
		handle         int
		err            error
		opened, proven bool
	}{
		"handle of it":                {os.Getpid(), alive, nil, true, true},
		"handle of one that is gone":  {os.Getpid(), dead, nil, false, false},
		"kernel without handles":      {os.Getpid(), -1, unix.ENOPROTOOPT, true, false},
		"gone, on kernels up to 6.15": {os.Getpid(), -1, unix.EINVAL, false, false},
		"gone, on later kernels":      {os.Getpid(), -1, unix.ESRCH, false, false},
		"in another pid namespace":    {0, -1, unix.ENOPROTOOPT, false, false},
	} {
		process, proven := openProcess(int32(c.pid), func() (int, error) { return c.handle, c.err })
		if (process != nil) != c.opened || proven != c.proven {
			t.Errorf("%s: opened %v, proven %v", name, process != nil, proven)
		}
		if process != nil {
			_ = process.Close()
		}
	}
}
