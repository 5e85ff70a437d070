package sshagent

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// The message numbers of draft-ietf-sshm-ssh-agent, section 6.1, that are
// understood or sent. Requests to add or remove keys, to lock, and those for
// smart cards are not among them: they are refused like unknown ones.
const (
	msgFailure           = 5
	msgSuccess           = 6
	msgRequestIdentities = 11
	msgIdentitiesAnswer  = 12
	msgSignRequest       = 13
	msgSignResponse      = 14
	msgExtension         = 27
	msgExtensionFailure  = 28
	msgExtensionResponse = 29
)

// The extensions that are understood.
const (
	extQuery       = "query"
	extSessionBind = "session-bind@openssh.com"
)

// maxMessage is the longest message that is read, in bytes. The longest honest one
// has about 11,000: a hostbound login with an RSA key of 16,384 bits, the most that
// OpenSSH takes, which names the key twice (2 x 2,071) and the host's certificate
// with such keys (6,400 and its names). The rest is for the names in certificates.
//
// OpenSSH's agent reads 256 KiB, because it is given private keys and certificates
// to keep. Nobody gives this one any, and it has hundreds of connections, each of
// which can hold a message.
const maxMessage = 32 << 10

// Times of a connection.
const (
	maxAge      = 5 * time.Minute  // of a connection, whatever it does
	idleLimit   = 2 * time.Minute  // between two messages
	arriveLimit = 10 * time.Second // from a message's first byte to its last
	replyLimit  = 10 * time.Second // for a reply to be taken
)

// messages reads requests from a connection and writes replies to it.
type messages struct {
	conn net.Conn
	in   *bufio.Reader
	end  time.Time // when the connection is too old
	body []byte    // the last message; grows to the longest that has come
}

func newMessages(conn net.Conn) *messages {
	return &messages{conn: conn, in: bufio.NewReader(conn), end: time.Now().Add(maxAge)}
}

// tooLongError is a message that is not read.
type tooLongError struct{ size uint32 }

func (e tooLongError) Error() string {
	return fmt.Sprintf("the message has %d bytes: 1 to %d are allowed", e.size, maxMessage)
}

// await waits for the first byte of the next message. It returns false when none
// comes: the client has hung up or is idle for too long, or its time is over.
func (m *messages) await() bool {
	if err := m.conn.SetReadDeadline(m.within(idleLimit)); err != nil {
		return false
	}
	_, err := m.in.Peek(1)
	return err == nil
}

// next returns the message that has begun to arrive, which is valid until next
// is called again.
func (m *messages) next() ([]byte, error) {
	if err := m.conn.SetReadDeadline(m.within(arriveLimit)); err != nil {
		return nil, m.broken(err)
	}
	var length [4]byte
	if _, err := io.ReadFull(m.in, length[:]); err != nil {
		return nil, m.broken(err)
	}
	size := binary.BigEndian.Uint32(length[:])
	if size == 0 || size > maxMessage {
		return nil, tooLongError{size}
	}
	if uint32(cap(m.body)) < size { //nolint:gosec // G115: at most maxMessage
		m.body = make([]byte, size)
	}
	m.body = m.body[:size]
	if _, err := io.ReadFull(m.in, m.body); err != nil {
		return nil, m.broken(err)
	}
	return m.body, nil
}

// broken says what keeps a message that has begun to arrive from being read.
func (m *messages) broken(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(m.end):
		return refuse("the message has not arrived within %v", arriveLimit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errTooOld
	case errors.Is(err, net.ErrClosed):
		return errStopping
	}
	return errors.New("the message ends before its announced length")
}

// What ends a request that is not the client's fault.
var (
	errTooOld = &refusal{
		reason: fmt.Sprintf("the connection is older than %v", maxAge),
		next:   "connect anew for each login, as OpenSSH does",
	}
	errStopping = errors.New("deploykeyd is stopping")
)

// ended returns why ctx, that of a connection, has ended.
func ended(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), errTooOld) {
		return errTooOld
	}
	return errStopping
}

// reply sends a message.
func (m *messages) reply(message []byte) error {
	if err := m.conn.SetWriteDeadline(m.within(replyLimit)); err != nil {
		return err
	}
	_, err := m.conn.Write(appendString(make([]byte, 0, 4+len(message)), message))
	return err
}

func (m *messages) within(d time.Duration) time.Time {
	t := time.Now().Add(d)
	if t.After(m.end) {
		return m.end
	}
	return t
}
