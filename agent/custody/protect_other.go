//go:build !linux

package custody

import "runtime"

// Protect reports that this system offers none of it.
func Protect() Report {
	return Report{Warnings: []string{"the memory of this process is not protected on " + runtime.GOOS +
		": other processes of its user may read it, a core file or swap may hold it; run deploykeyd on Linux"}}
}
