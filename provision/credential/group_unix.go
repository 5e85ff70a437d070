//go:build unix

package credential

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// killGroup makes the end of cmd's context, and cmd.Cancel, kill cmd's process
// group and not cmd alone.
func killGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithUs(cmd.SysProcAttr)
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
}
