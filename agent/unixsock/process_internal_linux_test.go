package unixsock

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

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
	self := func() (int, error) { return unix.PidfdOpen(os.Getpid(), 0) }
	fails := func(err error) func() (int, error) { return func() (int, error) { return -1, err } }
	old := fails(unix.ENOPROTOOPT)
	pid, uid, gid := int32(os.Getpid()), uint32(os.Geteuid()), uint32(os.Getegid())
	now := bootClock()
	for name, c := range map[string]struct {
		cred           unix.Ucred
		accepted       time.Duration
		handle         func() (int, error)
		opened, proven bool
	}{
		"handle of it":                    {unix.Ucred{Pid: pid, Uid: uid, Gid: gid}, now, self, true, true},
		"handle of it, changed its user":  {unix.Ucred{Pid: pid, Uid: uid + 1, Gid: gid}, now, self, true, true},
		"handle of one that is gone":      {unix.Ucred{Pid: pid, Uid: uid, Gid: gid}, now, func() (int, error) { return dead, nil }, false, false},
		"gone, on kernels up to 6.15":     {unix.Ucred{Pid: pid, Uid: uid, Gid: gid}, now, fails(unix.EINVAL), false, false},
		"gone, on later kernels":          {unix.Ucred{Pid: pid, Uid: uid, Gid: gid}, now, fails(unix.ESRCH), false, false},
		"in another pid namespace":        {unix.Ucred{Uid: uid, Gid: gid}, now, old, false, false},
		"no handles":                      {unix.Ucred{Pid: pid, Uid: uid, Gid: gid}, now, old, true, false},
		"no handles, another user":        {unix.Ucred{Pid: pid, Uid: uid + 1, Gid: gid}, now, old, false, false},
		"no handles, another group":       {unix.Ucred{Pid: pid, Uid: uid, Gid: gid + 1}, now, old, false, false},
		"no handles, began after accept":  {unix.Ucred{Pid: pid, Uid: uid, Gid: gid}, time.Millisecond, old, false, false},
		"no handles, none with that pid":  {unix.Ucred{Pid: 1<<31 - 1, Uid: uid, Gid: gid}, now, old, false, false},
		"no handles and no clock to tell": {unix.Ucred{Pid: pid, Uid: uid, Gid: gid}, 0, old, false, false},
	} {
		process, proven := openProcess(&Peer{UID: c.cred.Uid, GID: c.cred.Gid, PID: c.cred.Pid, accepted: c.accepted}, c.handle)
		if (process != nil) != c.opened || proven != c.proven {
			t.Errorf("%s: opened %v, proven %v", name, process != nil, proven)
		}
		if process != nil {
			_ = process.Close()
		}
	}
}

// stat is a line of /proc/pid/stat of a process of that name.
func stat(name, started string) []byte {
	return fmt.Appendf(nil, "4711 (%s) S 1 2 3%s %s 0 0 0\n", name, strings.Repeat(" 0", 15), started)
}

func TestStartTime(t *testing.T) {
	for name, c := range map[string]struct {
		stat []byte
		want time.Duration
		ok   bool
	}{
		"plain":            {stat("ssh", "123456"), 1234560 * time.Millisecond, true},
		"name like fields": {stat("a) S 1 (b", "7"), 70 * time.Millisecond, true},
		"line in the name": {stat("a\n) ", "7"), 70 * time.Millisecond, true},
		"too late":         {stat("ssh", "9223372036854775807"), 0, false},
		"negative":         {stat("ssh", "-1"), 0, false},
		"no number":        {stat("ssh", "x"), 0, false},
		"cut":              {stat("ssh", "7")[:40], 0, false},
		"empty":            {nil, 0, false},
	} {
		got, ok := startTime(c.stat)
		if got != c.want || ok != c.ok {
			t.Errorf("%s: %v, %v", name, got, ok)
		}
	}
}

// The clock that accepting is measured with is the one of start times.
func TestStartTimesAndBootClockAgree(t *testing.T) {
	before := bootClock()
	cmd := exec.CommandContext(t.Context(), "cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	after := bootClock()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := startTime(text); !ok || got < before-tick || got > after {
		t.Errorf("started at %v, between %v and %v: %s", got, before, after, bytes.TrimSpace(text))
	}
}
