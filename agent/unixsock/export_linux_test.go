package unixsock

import (
	"net"

	"golang.org/x/sys/unix"
)

// PeerWith is PeerWithProcess where the kernel is asked for the handle of the process by
// handleOf.
func PeerWith(c net.Conn, handleOf func(fd int) (int, error)) (Peer, error) {
	p, err := PeerOf(c)
	if err != nil {
		return Peer{}, err
	}
	OpenWith(&p, handleOf)
	return p, nil
}

// OpenWith is the second step of PeerWith.
func OpenWith(p *Peer, handleOf func(fd int) (int, error)) { p.openProcess(handleOf) }

// Handle asks a kernel from 6.5 on.
func Handle(fd int) (int, error) {
	return unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
}

// NoHandle is an older kernel.
func NoHandle(int) (int, error) { return -1, unix.ENOPROTOOPT }
