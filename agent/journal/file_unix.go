//go:build linux || darwin

package journal

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// openFlags keep a symbolic link or a FIFO that appeared since the check from
// being followed or waited for.
const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// lockPoll is how often a held lock is tried again; flock(2) has no timeout.
const lockPoll = 20 * time.Millisecond

// lock takes the flock(2) on f, trying until deadline.
func lock(f *os.File, exclusive bool, deadline time.Time) error {
	how := syscall.LOCK_SH | syscall.LOCK_NB
	if exclusive {
		how = syscall.LOCK_EX | syscall.LOCK_NB
	}
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), how)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EINTR):
			continue
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return os.NewSyscallError("flock", err)
		case !time.Now().Before(deadline):
			return ErrLocked
		}
		<-poll.C
	}
}

// syncDir makes a change of names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
