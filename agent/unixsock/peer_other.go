//go:build !linux

package unixsock

import (
	"errors"
	"fmt"
	"net"
	"runtime"
)

// PeerOf is UserOf.
func PeerOf(c net.Conn) (Peer, error) { return UserOf(c) }

// UserOf returns an error: deploykeyd decides by what only Linux tells about a
// peer.
func UserOf(net.Conn) (Peer, error) {
	return Peer{}, fmt.Errorf("peer credentials on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

// OpenProcess does nothing.
func (p *Peer) OpenProcess() {}
