package credential

import (
	"errors"
	"io"
)

// capped keeps the first bytes of what a program writes, in one buffer that can
// be wiped, and drops the rest.
type capped struct {
	room int
	full func() // called when there is more than room; may be nil
	text []byte
	over bool // there was more
}

func (c *capped) Write(p []byte) (int, error) {
	if c.text == nil {
		c.text = make([]byte, 0, c.room)
	}
	kept := min(len(p), c.room-len(c.text))
	c.text = append(c.text, p[:kept]...)
	if kept < len(p) && !c.over {
		c.over = true
		if c.full != nil {
			c.full()
		}
	}
	return len(p), nil
}

// ReadFrom reads to the end through a buffer that it wipes, where io.Copy would
// leave one behind.
func (c *capped) ReadFrom(r io.Reader) (int64, error) {
	buffer := make([]byte, 4<<10)
	defer clear(buffer)
	var sum int64
	for {
		n, err := r.Read(buffer)
		sum += int64(n)
		_, _ = c.Write(buffer[:n])
		switch {
		case errors.Is(err, io.EOF):
			return sum, nil
		case err != nil:
			return sum, err
		}
	}
}

// wipe overwrites what was kept.
func (c *capped) wipe() { clear(c.text) }
