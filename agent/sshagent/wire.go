package sshagent

import "encoding/binary"

// reader takes values from the front of a message (RFC 4251, section 5). After
// the first value that is not there it yields zero values only, and complete
// stays false.
type reader struct {
	rest  []byte
	short bool
}

// take returns the next n bytes, which belong to the message.
func (r *reader) take(n uint64) []byte {
	if r.short || uint64(len(r.rest)) < n {
		r.short = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// bool takes every value but 0 for true, as RFC 4251 asks of readers.
func (r *reader) bool() bool { return r.byte() != 0 }

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) string() []byte { return r.take(uint64(r.uint32())) }

// complete reports whether every value was there and nothing is left.
func (r *reader) complete() bool { return !r.short && len(r.rest) == 0 }

// appendString adds a string with its length in front.
func appendString[T string | []byte](to []byte, s T) []byte {
	to = binary.BigEndian.AppendUint32(to, uint32(len(s))) //nolint:gosec // G115: replies are a few kilobytes
	return append(to, s...)
}
