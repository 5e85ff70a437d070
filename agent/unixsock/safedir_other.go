//go:build !linux

package unixsock

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
)

// SafeDir returns an error: the daemon runs on Linux.
func SafeDir(path string, _ fs.FileMode) error {
	return fmt.Errorf("directory %s on %s: %w", path, runtime.GOOS, errors.ErrUnsupported)
}
