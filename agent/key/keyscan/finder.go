package keyscan

import "bytes"

// finder looks for many needles in one pass. Most positions of a text are
// dismissed by their first two bytes.
type finder struct {
	begins  [1 << 16]bool
	byBegin map[uint16][][]byte
	overlap int // one less than the longest needle
}

func newFinder(secrets []*Secret) *finder {
	f := &finder{byBegin: map[uint16][][]byte{}}
	for _, s := range secrets {
		for _, needle := range s.needles() {
			b := begin(needle)
			f.begins[b] = true
			f.byBegin[b] = append(f.byBegin[b], needle)
			f.overlap = max(f.overlap, len(needle)-1)
		}
	}
	return f
}

func begin(text []byte) uint16 { return uint16(text[0])<<8 | uint16(text[1]) }

// in reports whether any needle is in text.
func (f *finder) in(text []byte) bool {
	for i := 0; i+1 < len(text); i++ {
		b := begin(text[i:])
		if !f.begins[b] {
			continue
		}
		for _, needle := range f.byBegin[b] {
			if bytes.HasPrefix(text[i:], needle) {
				return true
			}
		}
	}
	return false
}
