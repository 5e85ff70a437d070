package key

import (
	"bytes"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"golang.org/x/crypto/ssh"
)

// inMemory returns a parking of so many bytes without a file.
func inMemory(size int) *Parking {
	p := &Parking{area: make([]byte, size)}
	p.format()
	return p
}

// reopened returns what a successor finds in a copy of the memory.
func reopened(area []byte) (*Parking, []*Key) {
	p := &Parking{area: bytes.Clone(area)}
	return p, p.restore()
}

func newTestKey(tb testing.TB, kind Type) *Key {
	tb.Helper()
	k, err := Generate(kind)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func park(tb testing.TB, p *Parking, keys ...*Key) {
	tb.Helper()
	for _, k := range keys {
		if err := p.Park(k); err != nil {
			tb.Fatal(err)
		}
	}
}

func wantSigns(tb testing.TB, k *Key) {
	tb.Helper()
	public, err := ssh.ParsePublicKey(k.public)
	if err != nil {
		tb.Fatal(err)
	}
	algorithm := ""
	if public.Type() == ssh.KeyAlgoRSA {
		algorithm = ssh.KeyAlgoRSASHA512
	}
	signature, err := k.Sign([]byte("data"), algorithm)
	if err != nil {
		tb.Fatal(err)
	}
	if err := public.Verify([]byte("data"), signature); err != nil {
		tb.Errorf("%v signs wrong: %v", k, err)
	}
}

func wantKeys(tb testing.TB, got []*Key, want ...*Key) {
	tb.Helper()
	if len(got) != len(want) {
		tb.Fatalf("%d keys, want %d: %v", len(got), len(want), got)
	}
	for i, k := range got {
		if !bytes.Equal(k.public, want[i].public) {
			tb.Errorf("key %d is %v, want %v", i, k, want[i])
		}
	}
}

func wantEmpty(tb testing.TB, p *Parking) {
	tb.Helper()
	if i := slices.IndexFunc(p.area[firstRecord:], func(b byte) bool { return b != 0 }); i >= 0 {
		tb.Errorf("byte %d of the records is left", i)
	}
}

// wantNoHalf looks for half of each part of the private half that is parked of
// a key, in the order of bytes in which it would lie there, and in the other.
func wantNoHalf(tb testing.TB, area []byte, private [][]byte) {
	tb.Helper()
	for _, part := range private {
		backwards := bytes.Clone(part)
		slices.Reverse(backwards)
		for _, text := range [][]byte{part[:len(part)/2], part[len(part)/2:], backwards[:len(part)/2], backwards[len(part)/2:]} {
			if bytes.Contains(area, text) {
				tb.Errorf("half of a private key is left")
				return
			}
		}
	}
}

// parts returns a copy of what is parked of a key.
func parts(k *Key) [][]byte {
	f, put := formOf(k.private)
	whole := make([]byte, f.size())
	put(whole)
	if f == formRSA {
		return [][]byte{whole[:rsaPrimeSize], whole[rsaPrimeSize : 2*rsaPrimeSize], whole[2*rsaPrimeSize:]}
	}
	return [][]byte{whole}
}

func TestParkedKeysComeBack(t *testing.T) {
	p := inMemory(parkingSize)
	var keys []*Key
	for _, kind := range Types() {
		keys = append(keys, newTestKey(t, kind), newTestKey(t, kind))
	}
	park(t, p, keys...)
	park(t, p, keys[0], keys[5]) // twice is once
	for range 2 {                // and what was restored is parked
		var restored []*Key
		p, restored = reopened(p.area)
		wantKeys(t, restored, keys...)
		for _, k := range restored {
			wantSigns(t, k)
		}
		park(t, p, restored...)
		wantSigns(t, newTestKey(t, Ed25519))
	}
}

// Whatever was stored when the process was killed, the key is there whole or not
// at all, its neighbours are, and no other byte is left.
func TestParkedKeyIsWholeOrNothing(t *testing.T) {
	for _, kind := range Types() {
		t.Run(string(kind), func(t *testing.T) {
			p := inMemory(4096)
			before, k, after := newTestKey(t, Ed25519), newTestKey(t, kind), newTestKey(t, ECDSAP256)
			park(t, p, before, k, after)
			r := p.records[1]
			secret := parts(k)
			for stored := range r.size {
				killed := bytes.Clone(p.area)
				clear(killed[r.at+stored : r.at+r.size]) // being parked: up to here
				clear(killed[r.at : r.at+4])             // and not yet marked
				q, keys := reopened(killed)
				wantKeys(t, keys, before, after)
				wantNoHalf(t, q.area, secret)
				if !bytes.Equal(q.area[r.at:r.at+r.size], make([]byte, r.size)) {
					t.Errorf("bytes are left of a key that was stored up to %d", stored)
				}
				killed = bytes.Clone(p.area)
				clear(killed[r.at : r.at+max(4, stored)]) // being erased
				q, keys = reopened(killed)
				wantKeys(t, keys, before, after)
				wantNoHalf(t, q.area, secret)
			}
		})
	}
}

// The order of the stores is what a kill at any instant rests on: the end, then
// the private half, and the mark at last.
func TestMarkComesLast(t *testing.T) {
	p := inMemory(4096)
	k := newTestKey(t, ECDSAP256)
	stopped := &Key{private: &ecdsa.PrivateKey{}, public: k.public} // Park panics when it comes to the number
	func() {
		defer func() {
			if recover() == nil {
				t.Error("Park was not stopped: this test proves nothing")
			}
		}()
		_ = p.Park(stopped)
	}()
	if end := word(p.area, endAt).Load(); end != firstRecord+headSize+ecdsaSize {
		t.Errorf("stopped in the private half, the end is %d", end)
	}
	wantEmpty(t, p)
	park(t, p, k)
	area := bytes.Clone(p.area[firstRecord : firstRecord+headSize+ecdsaSize])
	f, put := formOf(k.private)
	writeRecord(area, f, func(dst []byte) {
		if word(area, 0).Load() == 0 {
			t.Error("the mark of the first time is gone: this test proves nothing")
		}
		word(area, 0).Store(0)
		put(dst)
		clear(area[checkAt:headSize])
	})
	if again, _ := readRecord(area); again == nil {
		t.Error("the mark and the checksum do not come after the private half")
	}
}

// The end is stored before the first byte behind the old one: a key that was not
// finished there is seen and wiped.
func TestUnfinishedKeyAtTheEndIsWiped(t *testing.T) {
	p := inMemory(4096)
	k := newTestKey(t, Ed25519)
	park(t, p, k)
	word(p.area, firstRecord).Store(0)
	q, keys := reopened(p.area)
	wantKeys(t, keys)
	wantEmpty(t, q)
}

func TestSecondCopyOfAKeyIsWiped(t *testing.T) {
	p := inMemory(4096)
	k := newTestKey(t, Ed25519)
	park(t, p, k, newTestKey(t, ECDSAP256))
	first, second := p.records[0], p.records[1]
	copy(p.area[second.at:], p.area[first.at:first.at+first.size])
	q, keys := reopened(p.area)
	wantKeys(t, keys, k)
	q.Clear(keys[0])
	wantEmpty(t, q)
	wantNoHalf(t, q.area, parts(k))
}

func TestNothingIsLeftOfAClearedKey(t *testing.T) {
	for _, kind := range Types() {
		for _, order := range []string{"clear, wipe", "wipe, clear", "wipe the parking"} {
			t.Run(fmt.Sprint(kind, " ", order), func(t *testing.T) {
				p := inMemory(4096)
				k, other := newTestKey(t, kind), newTestKey(t, kind)
				park(t, p, k, other)
				secret := parts(k)
				for _, part := range secret {
					if !bytes.Contains(p.area, part) {
						t.Fatal("the key is not there: this test proves nothing")
					}
				}
				switch order {
				case "clear, wipe":
					p.Clear(k)
					wantSigns(t, k)
					k.Wipe()
				case "wipe, clear":
					k.Wipe()
					p.Clear(k)
				default:
					p.Wipe()
					wantEmpty(t, p)
					park(t, p, other)
				}
				wantNoHalf(t, p.area, secret)
				p.Clear(k) // a key that is not there
				_, keys := reopened(p.area)
				wantKeys(t, keys, other)
			})
		}
	}
}

func TestGapsAreUsedAgain(t *testing.T) {
	const records = 10
	p := inMemory(firstRecord + records*(headSize+32))
	for round := range 20 { // as a rotation does
		fresh := []*Key{newTestKey(t, Ed25519), newTestKey(t, ECDSAP256)}
		park(t, p, fresh...)
		if round >= records/2-1 {
			p.Clear(p.records[(round*7)%len(p.records)].key)
			p.Clear(p.records[(round*3)%len(p.records)].key)
		}
		if !slices.IsSortedFunc(p.records, func(a, b record) int { return a.at - b.at }) {
			t.Fatalf("records %v", p.records)
		}
		_, keys := reopened(p.area)
		want := make([]*Key, 0, len(p.records))
		for _, r := range p.records {
			want = append(want, r.key)
		}
		wantKeys(t, keys, want...)
	}
}

func TestParkRefuses(t *testing.T) {
	p := inMemory(firstRecord + 2*(headSize+32))
	one, two, three := newTestKey(t, Ed25519), newTestKey(t, ECDSAP256), newTestKey(t, Ed25519)
	rsa := newTestKey(t, RSA3072)
	park(t, p, one)
	if err := p.Park(rsa); !errors.Is(err, errParkingFull) {
		t.Errorf("with too little room: %v", err)
	}
	park(t, p, two)
	if err := p.Park(three); !errors.Is(err, errParkingFull) {
		t.Errorf("full: %v", err)
	}
	park(t, p, two)
	two.Wipe()
	p.Clear(two)
	if err := p.Park(two); !errors.Is(err, ErrWiped) {
		t.Errorf("a wiped key: %v", err)
	}
	park(t, p, three)
	_, keys := reopened(p.area)
	wantKeys(t, keys, one, three)
}

func TestNoParkingParksNothing(t *testing.T) {
	var p *Parking
	k := newTestKey(t, Ed25519)
	park(t, p, k)
	p.Clear(k)
	p.Wipe()
	if p.File() != nil || p.Secret() || p.Close() != nil {
		t.Error("there is something in nothing")
	}
	wantSigns(t, k)
}

func TestClosedParking(t *testing.T) {
	p, err := NewParking()
	if err != nil {
		t.Fatal(err)
	}
	k := newTestKey(t, Ed25519)
	park(t, p, k)
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Fatal(err)
	}
	if err := p.Park(newTestKey(t, Ed25519)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("park: %v", err)
	}
	p.Clear(k)
	p.Wipe()
}
