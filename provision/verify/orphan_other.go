//go:build unix && !linux

package verify

import "syscall"

// dieWithUs does nothing: other systems have no such signal.
func dieWithUs(*syscall.SysProcAttr) {}
