package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// bytesOf returns a journal file with n entries in its records bucket.
func bytesOf(tb testing.TB, n, pageSize int) []byte {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "journal.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: pageSize, NoSync: true})
	if err != nil {
		tb.Fatal(err)
	}
	for from := 0; from <= n; from += 50 { // several transactions, so that pages become free
		err = db.Update(func(tx *bbolt.Tx) error {
			m, err := tx.CreateBucketIfNotExists([]byte(metaBucket))
			if err != nil {
				return err
			}
			for k, v := range (header{machine: "m-1", created: time.Unix(0, 0)}).values() {
				if err := m.Put([]byte(k), []byte(v)); err != nil {
					return err
				}
			}
			b, err := tx.CreateBucketIfNotExists([]byte(recordsBucket))
			for i := from; err == nil && i < min(n, from+50); i++ {
				err = b.Put(fmt.Appendf(nil, "%06d", i*7919%n), bytes.Repeat([]byte("v"), i%300))
			}
			return err
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		tb.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestInspectAcceptsWhatBboltWrites(t *testing.T) {
	for _, n := range []int{0, 1, 50, 3000} {
		for _, size := range []int{1024, 4096, 65536} {
			b := bytesOf(t, n, size)
			values, err := inspect(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Errorf("%d entries, pages of %d: %v", n, size, err)
				continue
			}
			if h, err := parseHeader(values); err != nil || h.machine != "m-1" {
				t.Errorf("header %+v, %v", h, err)
			}
		}
	}
}

func TestInspectGoesByTheSecondMetaWhenTheFirstIsTorn(t *testing.T) {
	for _, size := range []int{1024, 4096, 16384} {
		b := bytesOf(t, 120, size)
		for page := range 2 {
			torn := bytes.Clone(b)
			copy(torn[page*size+40:], "torn")
			if _, err := inspect(bytes.NewReader(torn), int64(len(torn))); err != nil {
				t.Errorf("page size %d, page %d torn: %v", size, page, err)
			}
		}
		torn := bytes.Clone(b)
		copy(torn[40:], "torn")
		copy(torn[size+40:], "torn")
		if _, err := inspect(bytes.NewReader(torn), int64(len(torn))); !errors.Is(err, ErrDamaged) {
			t.Errorf("page size %d, both torn: %v", size, err)
		}
	}
}

// FuzzInspect holds that bbolt can use whatever inspect lets pass: a crash of
// the fuzzing process is the failure. Each three bytes of patch are an offset
// into a sound file and what to XOR the byte there with.
func FuzzInspect(f *testing.F) {
	bases := [][]byte{bytesOf(f, 3, 1024), bytesOf(f, 60, 1024), bytesOf(f, 200, 1024)}
	f.Add(uint8(0), false, []byte("\x10\x00\xff"))             // magic
	f.Add(uint8(0), true, []byte("\x28\x00\x07\x28\x04\x07"))  // root page
	f.Add(uint8(1), true, []byte("\x30\x00\x01\x30\x04\x01"))  // free list
	f.Add(uint8(1), false, []byte("\x08\x0c\x03\x0c\x08\x01")) // a page's type and overflow
	f.Add(uint8(2), false, []byte("\x14\x10\x40\x19\x14\xff")) // an entry's position and size
	f.Add(uint8(2), false, []byte("\x00\x30\x01\x1a\x20\x80")) // a page's id
	f.Fuzz(func(t *testing.T, base uint8, sum bool, patch []byte) {
		b := bytes.Clone(bases[int(base)%len(bases)])
		for ; len(patch) >= 3; patch = patch[3:] {
			b[int(binary.LittleEndian.Uint16(patch))%len(b)] ^= patch[2]
		}
		if sum { // so that changed meta pages get past their checksum
			for _, at := range []int{pageHeader, 1024 + pageHeader} {
				h := fnv.New64a()
				_, _ = h.Write(b[at : at+metaSize-8])
				binary.NativeEndian.PutUint64(b[at+metaSize-8:], h.Sum64())
			}
		}
		if _, err := inspect(bytes.NewReader(b), int64(len(b))); err != nil {
			return
		}
		useWithBbolt(t, b)
	})
}

// useWithBbolt reads and changes everything in the journal file b.
func useWithBbolt(t *testing.T, b []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true, Timeout: time.Second})
	if err != nil {
		return
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte(recordsBucket))
		var keys [][]byte
		err := bucket.ForEach(func(k, _ []byte) error {
			keys = append(keys, bytes.Clone(k))
			return nil
		})
		for _, k := range keys {
			err = errors.Join(err, bucket.Delete(k))
		}
		return errors.Join(err, bucket.Put([]byte("k"), make([]byte, 5000)))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatalf("inspect passed a file that bbolt cannot change: %v", err)
	}
}
