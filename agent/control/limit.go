package control

import (
	"net"
	"sync"
)

// limitedListener serves so many connections at a time. One too many is closed
// at once, so that a greedy client cannot make the others wait behind it.
type limitedListener struct {
	net.Listener
	slots chan struct{}
}

// Accept takes a slot with each connection.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return &limitedConn{Conn: c, slots: l.slots}, nil
		default:
			_ = c.Close()
		}
	}
}

// limitedConn gives its slot back when it is closed.
type limitedConn struct {
	net.Conn
	slots chan struct{}
	once  sync.Once
}

func (c *limitedConn) Close() error {
	c.once.Do(func() { <-c.slots })
	return c.Conn.Close()
}
