package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
)

// bbolt follows page references without checking them: a damaged page causes a
// panic (in a goroutine of its own if it lists the free pages) or unbounded
// memory use. So the pages are first walked with plain, bounded reads: before
// bbolt opens the file, and in the background of each start to find pages that
// no longer match their checksums. The format is that of bbolt version 2,
// which has not changed since that project began.
const (
	pageBranch      = 0x01
	pageLeaf        = 0x02
	pageFreelist    = 0x10
	pageElement     = 16 // bytes of an element in branch and leaf pages alike
	bucketHeader    = 16
	leafIsBucket    = 0x01
	maxPageOverflow = 1 << 20
	maxDepth        = 64
	maxDamages      = 100 // listed at most
)

var errPage = errors.New("a page is damaged")

// pageWalk checks every page that can be reached from the root.
type pageWalk struct {
	f        *os.File
	pageSize int64
	pages    int64     // the high water mark
	seen     []byte    // one bit for each page
	sums     *pageSums // nil: the pages are checked for their form alone
	note     *pageSums // where the checksums of the pages go, if they are made
	stop     func() error

	// all means that the walk collects damage and goes on.
	all     bool
	damaged []Damage
	bucket  string // that is walked, empty above the buckets
}

func newWalk(f *os.File, m meta) *pageWalk {
	return &pageWalk{f: f, pageSize: m.pageSize, pages: m.pages, seen: make([]byte, m.pages/8+1), stop: func() error { return nil }}
}

// checkPages reads the tree of a database file and the list of its free pages,
// none of which may be in use.
func checkPages(f *os.File, m meta) error {
	w := newWalk(f, m)
	if err := w.page(m.root, 0, nil, nil); err != nil {
		return err
	}
	if m.freelist == 0 {
		return nil
	}
	return w.freelist(m.freelist)
}

func (w *pageWalk) bad(id int64, low, high []byte, why string) error {
	if w.all && len(w.damaged) < maxDamages {
		w.damaged = append(w.damaged, Damage{Page: id, Bucket: w.bucket, Low: bytes.Clone(low), High: bytes.Clone(high), Why: why})
	}
	return fmt.Errorf("%w: page %d: %s", errPage, id, why)
}

// use marks a page and its overflow pages as used.
func (w *pageWalk) use(id int64) bool {
	if w.seen[id/8]&(1<<(id%8)) != 0 {
		return false
	}
	w.seen[id/8] |= 1 << (id % 8)
	return true
}

// read returns a page and its overflow pages.
func (w *pageWalk) read(id int64, low, high []byte) ([]byte, error) {
	if err := w.stop(); err != nil {
		return nil, err
	}
	if id < 2 || id >= w.pages {
		return nil, w.bad(id, low, high, "out of bounds")
	}
	data := make([]byte, w.pageSize)
	if _, err := w.f.ReadAt(data, id*w.pageSize); err != nil {
		return nil, fmt.Errorf("reading page %d: %w", id, err)
	}
	if err := w.compare(id, data, low, high); err != nil {
		return nil, err
	}
	e := binary.NativeEndian
	overflow := int64(e.Uint32(data[12:]))
	if int64(e.Uint64(data)) != id {
		return nil, w.bad(id, low, high, "it calls itself another")
	}
	if overflow > maxPageOverflow || id+overflow >= w.pages {
		return nil, w.bad(id, low, high, "it flows over the end")
	}
	for i := id; i <= id+overflow; i++ {
		if !w.use(i) {
			return nil, w.bad(i, low, high, "it is used twice")
		}
	}
	w.noted(id, data)
	if overflow == 0 {
		return data, nil
	}
	data = append(data, make([]byte, overflow*w.pageSize)...)
	if _, err := w.f.ReadAt(data[w.pageSize:], (id+1)*w.pageSize); err != nil {
		return nil, fmt.Errorf("reading page %d: %w", id+1, err)
	}
	for i := int64(1); i <= overflow; i++ {
		w.noted(id+i, data[i*w.pageSize:(i+1)*w.pageSize])
		if err := w.compare(id+i, data[i*w.pageSize:(i+1)*w.pageSize], low, high); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// noted records the checksum of a page, and that it leads to others: pages of
// the bucket tree, branch pages and free lists.
func (w *pageWalk) noted(id int64, data []byte) {
	if w.note == nil {
		return
	}
	w.note.pages[id] = crc32.Checksum(data, castagnoli)
	if w.bucket == "" || binary.NativeEndian.Uint16(data[8:]) == pageBranch && int64(binary.NativeEndian.Uint64(data)) == id {
		w.note.frame[id/8] |= 1 << (id % 8)
	}
}

// compare compares a page with its checksum.
func (w *pageWalk) compare(id int64, data []byte, low, high []byte) error {
	if w.sums == nil || w.sums.same(id, data) {
		return nil
	}
	err := w.bad(id, low, high, "it is not what was written there")
	if n := len(w.damaged); n > 0 && w.damaged[n-1].Page == id {
		w.damaged[n-1].has, w.damaged[n-1].want = crc32.Checksum(data, castagnoli), w.sums.pages[id]
	}
	return err
}

// page checks a page and everything below it. Its keys must be at least low
// and less than high, where these are not nil.
func (w *pageWalk) page(id int64, depth int, low, high []byte) error {
	if depth > maxDepth {
		return w.bad(id, low, high, "it lies too deep")
	}
	data, err := w.read(id, low, high)
	if err != nil {
		return err
	}
	return w.elements(id, data, depth, low, high)
}

// elements checks the contents of a page or of an inline bucket.
func (w *pageWalk) elements(id int64, data []byte, depth int, low, high []byte) error {
	e := binary.NativeEndian
	flags, count := e.Uint16(data[8:]), int(e.Uint16(data[10:]))
	if flags != pageBranch && flags != pageLeaf {
		return w.bad(id, low, high, "it is neither branch nor leaf")
	}
	if pageHeader+count*pageElement > len(data) || flags == pageBranch && count == 0 {
		return w.bad(id, low, high, "its elements do not fit")
	}
	keys, values := make([][]byte, count), make([][]byte, count)
	for i := range count {
		at := pageHeader + i*pageElement
		el := data[at : at+pageElement]
		pos, ksize, vsize := int64(e.Uint32(el)), int64(e.Uint32(el[4:])), int64(0)
		if flags == pageLeaf {
			pos, ksize, vsize = int64(e.Uint32(el[4:])), int64(e.Uint32(el[8:])), int64(e.Uint32(el[12:]))
		}
		from := int64(at) + pos
		if from < int64(pageHeader+count*pageElement) || from+ksize+vsize > int64(len(data)) {
			return w.bad(id, low, high, "an element lies outside")
		}
		keys[i], values[i] = data[from:from+ksize], data[from+ksize:from+ksize+vsize]
		if i > 0 && bytes.Compare(keys[i-1], keys[i]) >= 0 || low != nil && bytes.Compare(keys[i], low) < 0 ||
			high != nil && bytes.Compare(keys[i], high) >= 0 {
			return w.bad(id, low, high, "its keys are out of order")
		}
	}
	for i := range count {
		el := data[pageHeader+i*pageElement:]
		var err error
		switch {
		case flags == pageBranch:
			next := high
			if i+1 < count {
				next = keys[i+1]
			}
			err = w.page(int64(e.Uint64(el[8:])), depth+1, keys[i], next)
		case e.Uint32(el)&leafIsBucket != 0:
			err = w.below(id, keys[i], values[i], depth+1)
		}
		if err != nil && !(w.all && errors.Is(err, errPage)) {
			return err
		}
	}
	return nil
}

// below checks a bucket. Buckets are not nested.
func (w *pageWalk) below(id int64, name, v []byte, depth int) error {
	if w.bucket == "" {
		w.bucket = string(name)
		defer func() { w.bucket = "" }()
	}
	if len(v) < bucketHeader {
		return w.bad(id, nil, nil, "a bucket is cut short")
	}
	if root := int64(binary.NativeEndian.Uint64(v)); root != 0 {
		return w.page(root, depth, nil, nil)
	}
	if depth > maxDepth || len(v) < bucketHeader+pageHeader {
		return w.bad(id, nil, nil, "a bucket is cut short")
	}
	return w.elements(id, v[bucketHeader:], depth, nil, nil)
}

// freelist checks the list of free pages: each must exist and be unused, since
// bbolt would overwrite it.
func (w *pageWalk) freelist(id int64) error {
	data, err := w.read(id, nil, nil)
	if err != nil {
		return err
	}
	e := binary.NativeEndian
	list, count := data[pageHeader:], int64(e.Uint16(data[10:]))
	if e.Uint16(data[8:]) != pageFreelist {
		return w.bad(id, nil, nil, "it is not the list of free pages")
	}
	if count == 0xffff { // there are more than the header can say
		count, list = int64(e.Uint64(list)), list[8:]
	}
	if count < 0 || count > int64(len(list))/8 {
		return w.bad(id, nil, nil, "the list of free pages does not fit")
	}
	for i := range count {
		free := int64(e.Uint64(list[8*i:]))
		if free < 2 || free >= w.pages || !w.use(free) {
			return w.bad(id, nil, nil, "the list of free pages names one that is in use")
		}
	}
	return nil
}
