//go:build !linux

package service

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// Reexec returns an error: the daemon runs on Linux.
func (m *Manager) Reexec(path string, _ []string, _ map[string]*os.File) error {
	return fmt.Errorf("execute %s in place on %s: %w", path, runtime.GOOS, errors.ErrUnsupported)
}
