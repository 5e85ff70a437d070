//go:build unix && !linux

package credential

import "syscall"

// dieWithUs does nothing: other systems have no such signal.
func dieWithUs(*syscall.SysProcAttr) {}
