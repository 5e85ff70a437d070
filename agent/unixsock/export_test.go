package unixsock

import "net"

// PeerWithProcess is both steps at once: who is at the other end, and its process.
func PeerWithProcess(c net.Conn) (Peer, error) {
	p, err := PeerOf(c)
	if err == nil {
		p.OpenProcess()
	}
	return p, err
}

// Admits is Admit's decision alone.
func Admits(u *Users, p Peer) bool {
	_, ok := u.Admit(p)
	return ok
}

// Knows is Known's decision alone.
func Knows(u *Users, p Peer) bool {
	_, ok := u.Known(p)
	return ok
}
