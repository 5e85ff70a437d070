// Command demo shows one whole life of deploykeyd against the forge emulator:
// from a configuration file to clones and a push by another user, and to forges
// that list no key any more. It ends with a non-zero status when any step does
// not hold.
//
// It works in a mount namespace and a folder of its own and changes no file of
// the machine. It needs root: for the namespace, and to act as other users.
package main
