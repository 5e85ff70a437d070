//go:build goexperiment.runtimesecret

package key

import "runtime/secret"

// erasing runs f and erases the registers and the stack that it used before it
// returns. What f allocated is erased as soon as the collector finds it unused:
// above all the expanded keys that the standard library keeps beside ours.
func erasing(f func()) { secret.Do(f) }
