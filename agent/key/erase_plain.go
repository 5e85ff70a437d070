//go:build !goexperiment.runtimesecret

package key

// erasing runs f. Built without GOEXPERIMENT=runtimesecret the program has no
// means to erase what f leaves in registers, stacks and freed memory.
func erasing(f func()) { f() }
