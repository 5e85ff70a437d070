//go:build !linux

package unixsock

import (
	"errors"
	"fmt"
	"net"
	"runtime"
)

// PeerOf returns an error: deploykeyd decides by what only Linux tells about a
// peer.
func PeerOf(net.Conn) (Peer, error) {
	return Peer{}, fmt.Errorf("peer credentials on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

// OpenProcess does nothing.
func (p *Peer) OpenProcess() {}
