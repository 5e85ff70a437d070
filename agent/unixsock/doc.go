// Package unixsock owns the manners of Unix sockets: it listens without taking
// a living process's place, takes a socket over from a predecessor, dials,
// learns from the kernel who is at the other end, and decides whether that user
// or one of its groups is listed. It makes the directories that sockets lie in
// and proves that nobody else can change them.
//
// It never believes what a peer says about itself, and it never speaks a
// protocol.
package unixsock
