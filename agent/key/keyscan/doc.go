// Package keyscan proves where a daemon's private key is not. As root it takes
// the key out of the daemon's memory, which nobody else can, and searches files
// for any part of it.
//
// It serves the tests and the demo. The program itself never imports it.
package keyscan
