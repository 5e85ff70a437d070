package key

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
)

// parkingSize is the size of a parking in bytes: room for some 26,000 Ed25519
// keys or 1,350 RSA ones, of which only the pages in use take memory. Secret
// memory counts with its whole size as locked, and eight of these would fit the
// usual limit of 8 MiB.
const parkingSize = 1 << 20

// errParkingFull is what Park ends in when there is no room.
var errParkingFull = errors.New("no room among the parked keys: until other keys are gone, a crash or a reload loses this one")

// Parking keeps keys in memory that outlives the process as long as somebody
// holds its file: the process that it is handed to, or the service manager. Such
// memory has no name in any file system. A nil *Parking is a valid one that
// parks nothing. A Parking is safe for concurrent use.
type Parking struct {
	mu      sync.Mutex
	file    *os.File
	secret  bool
	area    []byte   // the file's memory; nil after Close
	end     int      // nothing was ever written beyond
	records []record // in the order of their places; all between them is zero
}

// record is where a parked key lies.
type record struct {
	at, size int
	key      *Key
}

// NewParking makes an empty parking. Its memory is taken out of the kernel's own
// view and never swapped (memfd_secret(2), Linux 5.14) where the kernel has
// that, allows it, and RLIMIT_MEMLOCK has 1 MiB left; else it is an ordinary
// memfd that nobody can resize, which is swapped when it belongs to no process
// whose memory is locked. Not on Linux the error wraps errors.ErrUnsupported.
func NewParking() (*Parking, error) {
	f, area, secret, err := newParkingFile()
	if err != nil {
		return nil, fmt.Errorf("make memory to park keys in: %w", err)
	}
	p := &Parking{file: f, area: area, secret: secret}
	p.format()
	return p, nil
}

// OpenParking takes over the file of a parking, which it closes on an error, and
// the keys in it, each of which is parked under the new *Parking. What the memory
// holds is not trusted: whatever is no whole key is wiped, a second copy of a key
// too. An error means that the file is no parking, or cannot be mapped; its keys
// are out of reach then.
func OpenParking(f *os.File) (*Parking, []*Key, error) {
	area, secret, err := mapParkingFile(f)
	if err != nil {
		_ = f.Close()
		return nil, nil, fmt.Errorf("take over parked keys: %w", err)
	}
	p := &Parking{file: f, area: area, secret: secret}
	var keys []*Key
	erasing(func() { keys = p.restore() })
	return p, keys, nil
}

// Park writes the key into the parking. Once it returns nil the key survives the
// process; killed before, it leaves the whole key or nothing that counts. A key
// that is parked already is left as it is. The error says that the key was wiped,
// the parking is full, or closed (os.ErrClosed).
func (p *Parking) Park(k *Key) error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	switch {
	case p.area == nil:
		err = os.ErrClosed
	case p.index(k) < 0:
		err = p.park(k)
	}
	if err != nil {
		return fmt.Errorf("park %v: %w", k, err)
	}
	return nil
}

func (p *Parking) park(k *Key) error {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.private == nil {
		return ErrWiped
	}
	f, put := formOf(k.private)
	r := record{size: headSize + f.size(), key: k}
	i := p.gap(&r)
	if r.at+r.size > len(p.area) {
		return errParkingFull
	}
	if r.at+r.size > p.end {
		p.setEnd(r.at + r.size)
	}
	erasing(func() { writeRecord(p.area[r.at:r.at+r.size], f, put) })
	p.records = slices.Insert(p.records, i, r)
	return nil
}

// gap gives r the first place that is large enough, and returns its position
// among the records.
func (p *Parking) gap(r *record) int {
	r.at = firstRecord
	for i, other := range p.records {
		if r.at+r.size <= other.at {
			return i
		}
		r.at = other.at + other.size
	}
	return len(p.records)
}

func (p *Parking) index(k *Key) int {
	return slices.IndexFunc(p.records, func(r record) bool { return r.key == k })
}

// Clear overwrites the parked copy of the key, if there is one. The key itself
// is not changed.
func (p *Parking) Clear(k *Key) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := p.index(k); i >= 0 && p.area != nil {
		r := p.records[i]
		eraseRecord(p.area[r.at : r.at+r.size])
		p.records = slices.Delete(p.records, i, i+1)
	}
}

// Wipe overwrites all parked keys. The parking can be used again.
func (p *Parking) Wipe() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.area != nil {
		clear(p.area[firstRecord:p.end])
		p.records = nil
	}
}

// File returns the file to hand to a successor or to the service manager. It
// belongs to the parking: do not close it. A nil parking has none.
func (p *Parking) File() *os.File {
	if p == nil {
		return nil
	}
	return p.file
}

// Secret reports whether nothing but a mapping of the file gives access to the
// memory: no swap, no /proc/<pid>/mem, no write-out on suspend to disk.
func (p *Parking) Secret() bool { return p != nil && p.secret }

// Close gives up the memory and the file. What is parked stays in it for whoever
// else holds it.
func (p *Parking) Close() error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.area == nil {
		return nil
	}
	err := errors.Join(unmapParking(p.area), p.file.Close())
	p.area, p.records = nil, nil
	return err
}
