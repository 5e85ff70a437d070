package custody

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Protect makes the process undumpable, sets its core limit to zero and locks
// its memory, and then looks whether the kernel has it so. Call it before the
// process holds a secret: whoever has the process under his eyes by then keeps
// it there.
//
// Children inherit the limits, not the locks; undumpable ends for them when
// they execute another program (prctl(2), mlockall(2)).
func Protect() Report {
	var r Report
	for _, step := range []func() string{undumpable, coreless, untraced, locked} {
		if warning := step(); warning != "" {
			r.Warnings = append(r.Warnings, warning)
		}
	}
	return r
}

// undumpable takes from every process without CAP_SYS_PTRACE, those of the same
// user among them, what ptrace(2) guards: the memory, most of /proc/<pid> and
// the open files. It ends core dumps too, also those that go to a program, for
// which the kernel does not ask the core limit (core(5)).
func undumpable() string {
	err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	now, getErr := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	switch {
	case err == nil && getErr == nil && now == 0:
		return ""
	case err == nil:
		err = getErr
	}
	return fmt.Sprintf("the process can be dumped, and read by other processes of its user (dumpable %d, %v): "+
		"allow prctl in the unit's SystemCallFilter", now, err)
}

// coreless stands behind undumpable, against a dump that the kernel would write
// into a file itself.
func coreless() string {
	err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	var now unix.Rlimit
	getErr := unix.Getrlimit(unix.RLIMIT_CORE, &now)
	switch {
	case err == nil && getErr == nil && now == unix.Rlimit{}:
		return ""
	case err == nil:
		err = getErr
	}
	return fmt.Sprintf("the core limit is %s, not 0 (%v): set LimitCORE=0 in the unit", limitText(now.Cur), err)
}

// untraced tells of a tracer that was there first: undumpable does not shake it
// off. What else somebody opened before, /proc/<pid>/mem say, cannot be seen.
func untraced() string {
	tracer, err := statusNumber("TracerPid")
	switch {
	case err != nil:
		return fmt.Sprintf("whether another process traces this one is unknown (%v): mount /proc", err)
	case tracer != 0:
		return fmt.Sprintf("process %d traces this one and can read its memory: end it, and start deploykeyd again", tracer)
	}
	return ""
}
