package key

import (
	"bytes"
	"crypto/rsa"
	"encoding/binary"
	"math/big"
	"testing"
)

func TestDamagedRecordIsWiped(t *testing.T) {
	for _, kind := range Types() {
		t.Run(string(kind), func(t *testing.T) {
			p := inMemory(4096)
			before, k, after := newTestKey(t, ECDSAP256), newTestKey(t, kind), newTestKey(t, Ed25519)
			park(t, p, before, k, after)
			r := p.records[1]
			for at := range r.size {
				damaged := bytes.Clone(p.area)
				damaged[r.at+at] ^= 0x11
				q, keys := reopened(damaged)
				wantKeys(t, keys, before, after)
				if !bytes.Equal(q.area[r.at:r.at+r.size], make([]byte, r.size)) {
					t.Errorf("bytes are left of a key with byte %d damaged", at)
				}
			}
		})
	}
}

func TestForeignLayoutIsWiped(t *testing.T) {
	damages := map[string]func(area []byte){
		"magic":       func(area []byte) { area[6]++ },
		"end too far": func(area []byte) { word(area, endAt).Store(4096 + align) },
		"end huge":    func(area []byte) { word(area, endAt).Store(1<<32 - align) },
		"end crooked": func(area []byte) { word(area, endAt).Store(firstRecord + 1) },
		"end in head": func(area []byte) { word(area, endAt).Store(align) },
		"all zero":    func(area []byte) { clear(area) },
	}
	for name, damage := range damages {
		p := inMemory(4096)
		park(t, p, newTestKey(t, Ed25519))
		damage(p.area)
		q, keys := reopened(p.area)
		wantKeys(t, keys)
		wantEmpty(t, q)
		k := newTestKey(t, Ed25519) // it is a good parking now
		park(t, q, k)
		_, keys = reopened(q.area)
		if len(keys) != 1 || !bytes.Equal(keys[0].public, k.public) {
			t.Errorf("%s: %v is not found again", name, k)
		}
	}
}

// forge makes a record with a good checksum of any private half.
func forge(f form, private []byte) []byte {
	record := make([]byte, headSize+len(private))
	writeRecord(record, f, func(dst []byte) { copy(dst, private) })
	return record
}

func TestWrongNumbersAreNoKey(t *testing.T) {
	k := newTestKey(t, RSA3072).private.(*rsa.PrivateKey)
	numbers := func(change func(p, q, d *big.Int)) []byte {
		p, q, d := new(big.Int).Set(k.Primes[0]), new(big.Int).Set(k.Primes[1]), new(big.Int).Set(k.D)
		change(p, q, d)
		_, put := formOf(&rsa.PrivateKey{Primes: []*big.Int{p, q}, D: d})
		private := make([]byte, rsaSize)
		put(private)
		return private
	}
	if _, size := readRecord(forge(formRSA, numbers(func(_, _, _ *big.Int) {}))); size == 0 {
		t.Fatal("the right numbers are no key: this test proves nothing")
	}
	two := big.NewInt(2)
	cases := map[string][]byte{
		"zeros":      forge(formRSA, make([]byte, rsaSize)),
		"ones":       forge(formRSA, bytes.Repeat([]byte{0xff}, rsaSize)),
		"exponent":   forge(formRSA, numbers(func(_, _, d *big.Int) { d.Add(d, two) })),
		"no factor":  forge(formRSA, numbers(func(p, _, _ *big.Int) { p.Add(p, two) })),
		"even":       forge(formRSA, numbers(func(p, _, _ *big.Int) { p.Add(p, big.NewInt(1)) })),
		"same":       forge(formRSA, numbers(func(p, q, _ *big.Int) { p.Set(q) })),
		"one":        forge(formRSA, numbers(func(p, _, _ *big.Int) { p.SetInt64(1) })),
		"short":      forge(formRSA, numbers(func(p, _, _ *big.Int) { p.Rsh(p, 700) })),
		"ecdsa zero": forge(formECDSA, make([]byte, ecdsaSize)),
		"ecdsa huge": forge(formECDSA, bytes.Repeat([]byte{0xff}, ecdsaSize)),
		"no form":    forge(9, make([]byte, ecdsaSize)),
		"form zero":  forge(0, make([]byte, ecdsaSize)),
		"torn off":   forge(formRSA, make([]byte, ecdsaSize)),
	}
	for name, record := range cases {
		p := inMemory(4096)
		p.setEnd(firstRecord + len(record))
		copy(p.area[firstRecord:], record)
		q, keys := reopened(p.area)
		if len(keys) != 0 {
			t.Errorf("%s: %v", name, keys)
		}
		wantEmpty(t, q)
	}
}

func FuzzParkingLayout(f *testing.F) {
	p := inMemory(4096)
	for _, kind := range Types() {
		park(f, p, newTestKey(f, kind))
	}
	f.Add(uint8(0), p.area[:p.end])
	f.Add(uint8(formRSA), p.area[p.records[2].at+headSize:p.end])
	f.Add(uint8(formECDSA), bytes.Repeat([]byte{1}, ecdsaSize))
	f.Fuzz(func(t *testing.T, code uint8, text []byte) {
		p := inMemory(4096)
		if code == 0 { // any memory
			copy(p.area, text)
		} else { // the numbers of a record, with a good checksum
			record := forge(form(code), text[:min(len(text), 2048)])
			p.setEnd((firstRecord + len(record)) &^ (align - 1))
			copy(p.area[firstRecord:], record)
		}
		keys := p.restore()
		for _, k := range keys {
			if form(code) != formRSA { // of numbers that are no primes nothing can be asked
				wantSigns(t, k)
			}
		}
		fresh := newTestKey(t, Ed25519)
		park(t, p, fresh)
		if _, again := reopened(p.area); len(again) != len(keys)+1 {
			t.Errorf("%d keys, and with one more %d", len(keys), len(again))
		}
		for _, k := range append(keys, fresh) {
			p.Clear(k)
		}
		if binary.NativeEndian.Uint64(p.area) != parkingMagic {
			t.Error("no parking any more")
		}
		p.area = p.area[:p.end]
		wantEmpty(t, p)
	})
}
