package unixsock

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// openProcess opens the folder of the process that connected, or returns nil.
// From then on the folder itself keeps to the process, whoever has its pid.
//
// The kernel's handle of that process, if it gives one, tells whether the pid
// was still its own when the folder was opened: then that is proven. Without one
// the folder is refused that cannot be the peer's by what it says.
func openProcess(p *Peer, handleOf func() (int, error)) (process *os.Root, proven bool) {
	if p.PID <= 0 || !procIsOurs() {
		return nil, false
	}
	handle, err := handleOf()
	switch {
	case err == nil:
		defer func() { _ = unix.Close(handle) }()
	case errors.Is(err, unix.ENOPROTOOPT): // older than 6.5
		handle = -1
	default: // EINVAL or ESRCH, as the kernel has it: the process has gone
		return nil, false
	}
	process, err = os.OpenRoot("/proc/" + strconv.Itoa(int(p.PID)))
	if err != nil {
		return nil, false
	}
	if proven = handle >= 0; proven && runs(handle) || !proven && mayBe(process, p) {
		return process, proven
	}
	_ = process.Close()
	return nil, false
}

// procIsOurs reports whether /proc counts processes as our pid namespace does.
// Where it was mounted for another one, a pid there is some other process.
func procIsOurs() bool {
	self, err := os.Readlink("/proc/self")
	return err == nil && self == strconv.Itoa(os.Getpid())
}

// runs reports whether the process of a handle has not ended. A handle that can
// be read is of one that has (pidfd_open(2)); a signal would need a permission.
func runs(handle int) bool {
	for {
		fds := []unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}} //nolint:gosec // a file descriptor
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n == 0
		}
	}
}

// mayBe reports whether a process can be the one that connected: one with p's
// credentials that began before p was accepted. Another one that was given its
// pid early enough cannot be told from it when it is of the same user and group;
// that one can claim whatever it likes about itself anyway.
//
// The folder belongs to the effective user and group of its process, whatever
// else in /proc belongs to root. To read the same in /proc/pid/status takes the
// kernel tens of milliseconds when there are 65536 groups to list.
func mayBe(process *os.Root, p *Peer) bool {
	folder, err := process.Stat(".")
	if err != nil {
		return false
	}
	owner, ok := folder.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid != p.UID || owner.Gid != p.GID {
		return false
	}
	stat, err := Peer{process: process}.read("stat", maxFact)
	if err != nil {
		return false
	}
	started, ok := startTime(stat)
	return ok && started <= p.accepted
}

// tick is the unit of start times in /proc, 1/USER_HZ seconds, on all systems
// that Go is made for.
const tick = time.Second / 100

// startTime reads from /proc/pid/stat (proc_pid_stat(5)) when a process started,
// by the clock of bootClock, rounded down to a tick. The process's name, in
// parentheses, may hold anything.
func startTime(stat []byte) (time.Duration, bool) {
	const field, first = 22, 3 // its number, and that of the first one after the name
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) <= field-first {
		return 0, false
	}
	ticks, err := strconv.ParseInt(fields[field-first], 10, 64)
	const most = int64(1<<63-1) / int64(tick)
	if err != nil || ticks < 0 || ticks > most {
		return 0, false
	}
	return time.Duration(ticks) * tick, true
}

// bootClock is the time since the machine started, which /proc too counts with.
func bootClock() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0 // nothing started before: nothing is taken for a peer unproven
	}
	return time.Duration(now.Nano())
}
