package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
)

// The bbolt file format, version 2 (go.etcd.io/bbolt, internal/common): all
// integers in the machine's own byte order, all pages of one size, pages 0 and
// 1 each with a copy of the meta data, of which the later valid one counts.
const (
	pageHeader   = 16 // id u64, flags u16, count u16, overflow u32
	metaSize     = 64 // magic, version, page size, flags u32; root, sequence, freelist, high water mark, txid, checksum u64
	bucketHeader = 16 // root page u64, sequence u64
	elementSize  = 16 // leaf: flags, pos, key size, value size u32; branch: pos, key size u32, page u64

	boltMagic   = 0xED0CDAED
	boltVersion = 2
	noFreelist  = ^uint64(0)

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketEntry  = 0x01

	minPageSize = 1 << 10
	maxPageSize = 1 << 24
	// maxRun bounds the bytes of one page with its overflow that are read into
	// memory; a journal's largest is its freelist.
	maxRun = 64 << 20
	// maxDepth bounds a tree's height; four levels hold millions of records.
	maxDepth = 16
)

// meta is what counts of a valid meta page.
type meta struct {
	pageSize                        uint64
	root, freelist, highWater, txid uint64
}

// readMeta reads the meta page that begins at offset at. One that bbolt takes
// for valid is returned whatever its page size.
func readMeta(r io.ReaderAt, at uint64) (meta, bool) {
	var page [pageHeader + metaSize]byte
	if _, err := r.ReadAt(page[:], int64(at)); err != nil { //nolint:gosec // G115: at most maxPageSize
		return meta{}, false
	}
	b := page[pageHeader:]
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaSize-8])
	ne := binary.NativeEndian
	m := meta{
		pageSize: uint64(ne.Uint32(b[8:])), root: ne.Uint64(b[16:]), freelist: ne.Uint64(b[32:]),
		highWater: ne.Uint64(b[40:]), txid: ne.Uint64(b[48:]),
	}
	return m, ne.Uint32(b) == boltMagic && ne.Uint32(b[4:]) == boltVersion && ne.Uint64(b[56:]) == sum.Sum64()
}

// findMeta returns the meta data that bbolt would go by: the later of two valid
// pages. Where the first is torn, it looks for the second at every page size.
func findMeta(r io.ReaderAt) (meta, error) {
	first, whole := readMeta(r, 0)
	if whole && (first.pageSize < minPageSize || first.pageSize > maxPageSize || first.pageSize&(first.pageSize-1) != 0) {
		return meta{}, damaged("its page size is %d", first.pageSize)
	}
	for size := uint64(minPageSize); size <= maxPageSize; size *= 2 {
		if whole && size != first.pageSize {
			continue
		}
		second, ok := readMeta(r, size)
		switch {
		case ok && second.pageSize != size:
			return meta{}, damaged("a meta page says that pages have %d bytes, not %d", second.pageSize, size)
		case ok && (!whole || second.txid > first.txid):
			return second, nil
		}
	}
	if !whole {
		return meta{}, damaged("it has no valid meta page")
	}
	return first, nil
}

// inspection is a walk over every page that bbolt could be led to.
type inspection struct {
	r       io.ReaderAt
	meta    meta
	seen    map[uint64]bool
	buckets map[string]bool   // the file's buckets that have been walked
	values  map[string]string // the entries of the meta bucket
}

// inspect checks the structure of a bbolt file of size bytes and returns the
// entries of its meta bucket. It fails unless bbolt can read and write the file
// without ever leaving the pages that belong to it.
func inspect(r io.ReaderAt, size int64) (map[string]string, error) {
	m, err := findMeta(r)
	if err != nil {
		return nil, err
	}
	if size < 0 || m.highWater > uint64(size)/m.pageSize {
		return nil, damaged("it is cut off: %d bytes of %d", size, m.highWater*m.pageSize)
	}
	i := &inspection{r: r, meta: m, seen: map[uint64]bool{}, buckets: map[string]bool{}, values: map[string]string{}}
	if err := i.tree(m.root, "", 0, nil, nil); err != nil {
		return nil, err
	}
	if err := i.freelist(); err != nil {
		return nil, err
	}
	for _, name := range []string{metaBucket, recordsBucket} {
		if !i.buckets[name] {
			return nil, damaged("it has no bucket %q", name)
		}
	}
	return i.values, nil
}

// page reads the page id with its overflow and marks both as seen.
func (i *inspection) page(id uint64) ([]byte, error) {
	if id < 2 || id >= i.meta.highWater {
		return nil, damaged("page %d is out of range", id)
	}
	var head [pageHeader]byte
	at := int64(id * i.meta.pageSize) //nolint:gosec // G115: below the file's size
	if _, err := i.r.ReadAt(head[:], at); err != nil {
		return nil, readError(err)
	}
	ne := binary.NativeEndian
	run := 1 + uint64(ne.Uint32(head[12:]))
	if ne.Uint64(head[:]) != id {
		return nil, damaged("page %d says that it is page %d", id, ne.Uint64(head[:]))
	}
	if run > i.meta.highWater-id || run*i.meta.pageSize > maxRun {
		return nil, damaged("page %d is too long", id)
	}
	for n := id; n < id+run; n++ {
		if i.seen[n] {
			return nil, damaged("page %d is used twice", n)
		}
		i.seen[n] = true
	}
	b := make([]byte, run*i.meta.pageSize)
	if _, err := i.r.ReadAt(b, at); err != nil {
		return nil, readError(err)
	}
	return b, nil
}

// readError tells a file that ends too early from a disk that fails.
func readError(err error) error {
	if errors.Is(err, io.EOF) {
		return damaged("it is cut off")
	}
	return err
}

// tree walks the pages below id. bucket is the name of the bucket they belong
// to, "" for the root. The first key
// must be first, which is the key that the parent has for the page, and all must
// be below high; nil is no bound.
func (i *inspection) tree(id uint64, bucket string, depth int, first, high []byte) error {
	if depth > maxDepth {
		return damaged("page %d lies too deep", id)
	}
	b, err := i.page(id)
	if err != nil {
		return err
	}
	switch flags := binary.NativeEndian.Uint16(b[8:]); flags {
	case leafPage:
		return i.leaf(b, bucket, first, high)
	case branchPage:
		return i.branch(b, bucket, depth, first, high)
	default:
		return damaged("page %d has type %#x", id, flags)
	}
}

func (i *inspection) branch(b []byte, bucket string, depth int, first, high []byte) error {
	elements, err := readElements(b, branchPage, first, high)
	if err != nil {
		return err
	}
	for n, e := range elements {
		end := high
		if n+1 < len(elements) {
			end = elements[n+1].key
		}
		if err := i.tree(e.page, bucket, depth+1, e.key, end); err != nil {
			return err
		}
	}
	return nil
}

func (i *inspection) leaf(b []byte, bucket string, first, high []byte) error {
	elements, err := readElements(b, leafPage, first, high)
	if err != nil {
		return err
	}
	for _, e := range elements {
		switch {
		case bucket == "" && e.bucket:
			err = i.bucket(string(e.key), e.value)
		case bucket == "" || e.bucket:
			err = damaged("an entry %q is in the wrong place", e.key)
		case bucket == metaBucket:
			i.values[string(e.key)] = string(e.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket walks the bucket that a root entry describes. A small one has its
// only page, a leaf, in the entry itself.
func (i *inspection) bucket(name string, value []byte) error {
	i.buckets[name] = true
	if len(value) < bucketHeader {
		return damaged("the bucket %q has no header", name)
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return i.tree(root, name, 1, nil, nil)
	}
	inline := value[bucketHeader:]
	if len(inline) < pageHeader || binary.NativeEndian.Uint64(inline) != 0 ||
		binary.NativeEndian.Uint16(inline[8:]) != leafPage {
		return damaged("the bucket %q has no page", name)
	}
	return i.leaf(inline, name, nil, nil)
}

// freelist checks that only pages which nothing uses are listed as free.
func (i *inspection) freelist() error {
	if i.meta.freelist == noFreelist {
		return nil
	}
	b, err := i.page(i.meta.freelist)
	if err != nil {
		return err
	}
	ne := binary.NativeEndian
	if flags := ne.Uint16(b[8:]); flags != freelistPage {
		return damaged("the free list has type %#x", flags)
	}
	count, ids := uint64(ne.Uint16(b[10:])), b[pageHeader:]
	if count == 0xFFFF { // the real count is the first entry
		count, ids = ne.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids))/8 {
		return damaged("the free list is cut off")
	}
	for n := range count {
		id := ne.Uint64(ids[8*n:])
		if id < 2 || id >= i.meta.highWater || i.seen[id] {
			return damaged("page %d is listed as free", id)
		}
		i.seen[id] = true
	}
	return nil
}

// element is one entry of a leaf or branch page.
type element struct {
	key, value []byte
	bucket     bool   // leaf: value is a bucket's header
	page       uint64 // branch: the child
}

// readElements returns the entries of the page b, whose keys ascend from first
// to below high. bbolt finds a page in its parent by its first key.
func readElements(b []byte, kind uint16, first, high []byte) ([]element, error) {
	ne := binary.NativeEndian
	count := int(ne.Uint16(b[10:]))
	if count > (len(b)-pageHeader)/elementSize {
		return nil, damaged("a page has room for %d bytes, not for %d entries", len(b), count)
	}
	if count == 0 && (kind == branchPage || first != nil) {
		return nil, damaged("a page is empty")
	}
	elements := make([]element, 0, count)
	for n := range count {
		at := pageHeader + n*elementSize
		head := b[at : at+elementSize]
		var e element
		var pos, keySize, valueSize uint64
		if kind == leafPage {
			e.bucket = ne.Uint32(head)&bucketEntry != 0
			pos, keySize, valueSize = uint64(ne.Uint32(head[4:])), uint64(ne.Uint32(head[8:])), uint64(ne.Uint32(head[12:]))
		} else {
			pos, keySize, e.page = uint64(ne.Uint32(head)), uint64(ne.Uint32(head[4:])), ne.Uint64(head[8:])
		}
		rest := b[at:]
		if keySize == 0 || pos+keySize+valueSize > uint64(len(rest)) {
			return nil, damaged("an entry reaches out of its page")
		}
		e.key, e.value = rest[pos:pos+keySize], rest[pos+keySize:pos+keySize+valueSize]
		if n > 0 && bytes.Compare(elements[n-1].key, e.key) >= 0 || high != nil && bytes.Compare(e.key, high) >= 0 {
			return nil, damaged("the keys of a page are out of order")
		}
		elements = append(elements, e)
	}
	if first != nil && !bytes.Equal(elements[0].key, first) {
		return nil, damaged("a page is not the one that its parent means")
	}
	return elements, nil
}
