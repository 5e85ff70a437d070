package custody

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// locked locks all memory, present and future, so that none of it is swapped.
// Under a finite limit it locks nothing: from the moment at which the heap grew
// past the limit no memory could be mapped any more, and the runtime would end
// the process.
//
// MCL_ONFAULT locks a page when it is first touched. Without it the kernel would
// at once fill every page that the runtime reserves.
func locked() string {
	limit, err := raiseLimit()
	if err != nil {
		return unlocked(fmt.Sprintf("the limit on locked memory is unknown (%v)", err), "allow prlimit64 in the unit's SystemCallFilter")
	}
	if limit.Cur != unix.RLIM_INFINITY && !exempt(limit) {
		return unlocked(fmt.Sprintf("the limit on it is %s, and under a finite one the program would be ended later", limitText(limit.Cur)),
			"set LimitMEMLOCK=infinity in the unit, or run ulimit -l unlimited as root before")
	}
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return unlocked(fmt.Sprintf("mlockall: %v", err), "allow @memlock in the unit's SystemCallFilter; it needs Linux 4.4")
	}
	lockedKiB, err := statusNumber("VmLck")
	if err != nil {
		return unlocked("whether it is cannot be read: "+err.Error(), "mount /proc")
	}
	residentKiB, err := statusNumber("VmRSS")
	if err != nil || lockedKiB < residentKiB {
		return unlocked(fmt.Sprintf("of %d KiB only %d are, although the kernel agreed (%v)", residentKiB, lockedKiB, err),
			"run deploykeyd on a kernel of its own rather than in a sandbox")
	}
	return ""
}

// raiseLimit makes the limit on locked memory unlimited where that is possible,
// and returns what it is then. Raising a hard limit takes CAP_SYS_RESOURCE.
func raiseLimit() (limit unix.Rlimit, err error) {
	unlimited := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unlimited) // the next line tells
	err = unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit)
	return limit, err
}

// exempt reports whether the kernel does not hold this process to the limit. It
// asks the kernel: CAP_IPC_LOCK in /proc/self/status may be one of a user
// namespace, which does not count (capable() in mm/mlock.c). With a limit of
// zero only the exempt may lock a page.
func exempt(limit unix.Rlimit) bool {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Munmap(page) }()
	if unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Max: limit.Max}) != nil {
		return false
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &limit) }()
	return unix.Mlock(page) == nil
}

// unlocked says why memory is not locked and what that means here.
func unlocked(why, next string) string {
	return "memory is not locked, so private keys and credentials may be swapped out (" + swapText() + "): " + why + "; " + next
}

func limitText(bytes uint64) string {
	if bytes == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return strconv.FormatUint(bytes, 10) + " bytes"
}
