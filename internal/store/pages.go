package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// A database that was not closed has no list of its free pages; bbolt then
// walks all of them in a goroutine of its own, where a damaged page is a panic
// that nobody can catch, or no end of memory. So the pages are walked here
// first, by plain reads and within bounds. The format is that of bbolt's
// version 2, which has not changed since the project began.
const (
	pageBranch      = 0x01
	pageLeaf        = 0x02
	pageElement     = 16 // bytes of an element in branch and leaf pages alike
	bucketHeader    = 16
	leafIsBucket    = 0x01
	maxPageOverflow = 1 << 20
	maxDepth        = 64
)

var errPage = errors.New("a page is damaged")

// pageWalk checks every page that can be reached from the root.
type pageWalk struct {
	f        *os.File
	pageSize int64
	pages    int64  // the high water mark
	seen     []byte // one bit for each page
}

// checkPages reads the tree of a database file.
func checkPages(f *os.File, m meta) error {
	w := &pageWalk{f: f, pageSize: m.pageSize, pages: m.pages, seen: make([]byte, m.pages/8+1)}
	return w.page(m.root, 0, nil, nil)
}

func (w *pageWalk) bad(id int64, why string) error {
	return fmt.Errorf("%w: page %d: %s", errPage, id, why)
}

// page reads one page with those that it flows over to, and what is below it.
// Its keys are to be from low on and before high, where these are not nil.
func (w *pageWalk) page(id int64, depth int, low, high []byte) error {
	if id < 2 || id >= w.pages || depth > maxDepth {
		return w.bad(id, "out of bounds")
	}
	var header [pageHeader]byte
	if _, err := w.f.ReadAt(header[:], id*w.pageSize); err != nil {
		return fmt.Errorf("reading page %d: %w", id, err)
	}
	e := binary.NativeEndian
	overflow := int64(e.Uint32(header[12:]))
	if int64(e.Uint64(header[:])) != id {
		return w.bad(id, "it calls itself another")
	}
	if overflow > maxPageOverflow || id+overflow >= w.pages {
		return w.bad(id, "it flows over the end")
	}
	for i := id; i <= id+overflow; i++ {
		if w.seen[i/8]&(1<<(i%8)) != 0 {
			return w.bad(i, "it is used twice")
		}
		w.seen[i/8] |= 1 << (i % 8)
	}
	data := make([]byte, (overflow+1)*w.pageSize)
	if _, err := w.f.ReadAt(data, id*w.pageSize); err != nil {
		return fmt.Errorf("reading page %d: %w", id, err)
	}
	return w.elements(id, data, depth, low, high)
}

// elements checks what stands in a page, or in a bucket that is kept inline.
func (w *pageWalk) elements(id int64, data []byte, depth int, low, high []byte) error {
	e := binary.NativeEndian
	flags, count := e.Uint16(data[8:]), int(e.Uint16(data[10:]))
	if flags != pageBranch && flags != pageLeaf {
		return w.bad(id, "it is neither branch nor leaf")
	}
	if pageHeader+count*pageElement > len(data) || flags == pageBranch && count == 0 {
		return w.bad(id, "its elements do not fit")
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
			return w.bad(id, "an element lies outside")
		}
		keys[i], values[i] = data[from:from+ksize], data[from+ksize:from+ksize+vsize]
		if i > 0 && bytes.Compare(keys[i-1], keys[i]) >= 0 || low != nil && bytes.Compare(keys[i], low) < 0 ||
			high != nil && bytes.Compare(keys[i], high) >= 0 {
			return w.bad(id, "its keys are out of order")
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
			err = w.bucket(id, values[i], depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket checks a bucket, which has a root page or is kept inline.
func (w *pageWalk) bucket(id int64, v []byte, depth int) error {
	if len(v) < bucketHeader {
		return w.bad(id, "a bucket is cut short")
	}
	if root := int64(binary.NativeEndian.Uint64(v)); root != 0 {
		return w.page(root, depth, nil, nil)
	}
	if depth > maxDepth || len(v) < bucketHeader+pageHeader {
		return w.bad(id, "a bucket is cut short")
	}
	return w.elements(id, v[bucketHeader:], depth, nil, nil)
}
