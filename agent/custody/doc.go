// Package custody keeps the memory of this process from everybody else: no
// other process of its user may read it, no core file and no swap may hold it.
// Private keys and credentials lie in that memory.
//
// It protects the process as a whole and undoes nothing. It never sees a key.
package custody

// Report says what could not be had. Each warning ends in the next step for the
// operator.
type Report struct {
	Warnings []string
}
