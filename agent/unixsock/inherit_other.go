//go:build !linux

package unixsock

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// Inherit closes f and returns an error: the daemon runs on Linux.
func Inherit(f *os.File, path string) (*Listener, error) {
	_ = f.Close()
	return nil, fmt.Errorf("take over the socket at %s on %s: %w", path, runtime.GOOS, errors.ErrUnsupported)
}
