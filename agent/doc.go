// Package agent owns the life of one machine's keys: which key serves which
// repository, in which order they are made, registered, proven, lent and taken
// back, and what is settled after a crash.
//
// It declares what it needs from the outside (Journal, Verifier, Publisher) and
// never opens a file, a socket or a process itself, so that whole lives run in
// tests on virtual time.
package agent
