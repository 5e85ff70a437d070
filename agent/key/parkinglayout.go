package key

import (
	"encoding/binary"
	"hash/crc32"
	"sync/atomic"
	"unsafe"
)

// The memory of a parking, in the machine's own byte order, since it never
// leaves the machine:
//
//	0   8 bytes  parkingMagic, which changes with the layout
//	8   4 bytes  where the records end: nothing was ever written beyond
//	12  4 bytes  zero
//	16           records and zeros, at multiples of 8
//
// and a record:
//
//	0   4 bytes  recordMark with the form of the key, or zero
//	4   4 bytes  CRC-32 of the form and the private half
//	8            the private half; its form says how long
//
// A record counts from the moment at which its first word is stored, after all
// else, and no longer from the moment at which that is zero, before all else. A
// process that is killed has stored everything up to some instruction and
// nothing after it, so whoever opens the memory next finds whole keys, and bytes
// under no mark, which it wipes.
const (
	parkingMagic = 0x31_6b72_6170_6b64 // "dkpark1"
	endAt        = 8
	firstRecord  = 16
	align        = 8

	recordMark = 0x646b_7000 // the last byte is the form
	headSize   = 8
	checkAt    = 4
)

// word is the word at some offset of mapped memory. Atomic stores keep the
// order that the layout rests on.
func word(area []byte, at int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&area[at])) //nolint:gosec // G103: no other way to an atomic store into mapped memory
}

// format makes the memory an empty parking.
func (p *Parking) format() {
	clear(p.area[:firstRecord])
	p.setEnd(firstRecord)
	binary.NativeEndian.PutUint64(p.area, parkingMagic)
}

// setEnd comes before the first byte of a record beyond the present end.
func (p *Parking) setEnd(end int) {
	p.end = end
	word(p.area, endAt).Store(uint32(end)) //nolint:gosec // G115: at most parkingSize
}

// restore reads the keys of the memory and wipes everything else in it. A
// memory of another layout is wiped whole.
func (p *Parking) restore() []*Key {
	end := int(word(p.area, endAt).Load())
	if binary.NativeEndian.Uint64(p.area) != parkingMagic || end < firstRecord || end > len(p.area) || end%align != 0 {
		clear(p.area)
		p.format()
		return nil
	}
	p.end = end
	var keys []*Key
	seen := map[string]bool{}
	for at := firstRecord; at < end; {
		k, size := readRecord(p.area[at:end])
		switch {
		case k == nil:
			size = align
			clear(p.area[at : at+size])
		case seen[string(k.public)]:
			k.Wipe()
			eraseRecord(p.area[at : at+size])
		default:
			seen[string(k.public)] = true
			keys = append(keys, k)
			p.records = append(p.records, record{at, size, k})
		}
		at += size
	}
	return keys
}

// writeRecord fills zeroed memory with a record.
func writeRecord(area []byte, f form, put func(private []byte)) {
	put(area[headSize:])
	binary.NativeEndian.PutUint32(area[checkAt:], checksum(f, area[headSize:]))
	word(area, 0).Store(recordMark | uint32(f))
}

func eraseRecord(area []byte) {
	word(area, 0).Store(0)
	clear(area)
}

// readRecord returns the key whose record begins the memory, and the record's
// size, or nil. It works on a copy: whoever else holds the memory could change
// it between the check and the use.
func readRecord(area []byte) (*Key, int) {
	mark := word(area, 0).Load()
	f := form(mark &^ recordMark)
	size := f.size()
	if mark&recordMark != recordMark || size == 0 || len(area) < headSize+size {
		return nil, 0
	}
	private := make([]byte, size)
	defer clear(private)
	copy(private, area[headSize:])
	if checksum(f, private) != binary.NativeEndian.Uint32(area[checkAt:]) {
		return nil, 0
	}
	k, err := f.restore(private)
	if err != nil {
		return nil, 0
	}
	return k, headSize + size
}

func checksum(f form, private []byte) uint32 {
	return crc32.Update(uint32(f), crc32.IEEETable, private)
}
