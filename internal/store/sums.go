package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
)

// bbolt only checks its meta pages. So Close writes a checksum of every page
// to a file beside the database, and the next start compares them: changes
// made in between are found before they are used. The checksums belong to one
// transaction. After the next commit they are out of date, so a killed daemon
// leaves none that match. Then the pages are walked and the records read
// instead.
//
// This does not protect against someone who also changes the checksums; the
// log does.
const (
	sumsSuffix = ".sums"
	sumsMagic  = "mcpguard\x00sums\x00v2"
	sumsHeader = len(sumsMagic) + 4 + 8 + 8 + 8
	maxSums    = 64 << 20 // bytes: of a database of 64 GiB
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// pageSums are the checksums of a file at one transaction.
type pageSums struct {
	pageSize int64
	tx       uint64
	meta     uint64   // the checksum that bbolt gave the meta page
	pages    []uint32 // 0 for a page that is not in use
	// frame has one bit for each page, set if it leads to others. A damaged
	// one could send bbolt round in circles, so these are compared before
	// bbolt reads.
	frame []byte
}

// fit reports whether the checksums belong to the state that m describes.
func (s *pageSums) fit(m meta) bool {
	return s.tx == m.tx && s.meta == m.sum && s.pageSize == m.pageSize && int64(len(s.pages)) == m.pages
}

// same reports whether a page matches its checksum.
func (s *pageSums) same(id int64, page []byte) bool {
	return id >= 0 && id < int64(len(s.pages)) && crc32.Checksum(page, castagnoli) == s.pages[id]
}

func (s *pageSums) encode() []byte {
	b := make([]byte, 0, sumsHeader+4*len(s.pages)+len(s.frame)+4)
	b = append(b, sumsMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(s.pageSize))
	b = binary.BigEndian.AppendUint64(b, s.tx)
	b = binary.BigEndian.AppendUint64(b, s.meta)
	b = binary.BigEndian.AppendUint64(b, uint64(len(s.pages)))
	for _, sum := range s.pages {
		b = binary.BigEndian.AppendUint32(b, sum)
	}
	b = append(b, s.frame...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// readSums returns the checksums of a database, or nil if none can be read;
// then the pages are walked.
func readSums(path string) (*pageSums, error) {
	b, err := readSmall(path+sumsSuffix, maxSums)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the checksums of the database: %w", err)
	}
	end := len(b) - 4
	if end < sumsHeader || !bytes.HasPrefix(b, []byte(sumsMagic)) || binary.BigEndian.Uint32(b[end:]) != crc32.Checksum(b[:end], castagnoli) {
		return nil, nil
	}
	b = b[len(sumsMagic):end]
	s := &pageSums{pageSize: int64(binary.BigEndian.Uint32(b)), tx: binary.BigEndian.Uint64(b[4:]), meta: binary.BigEndian.Uint64(b[12:])}
	n := binary.BigEndian.Uint64(b[20:])
	if b = b[28:]; n > maxSums || uint64(len(b)) != 4*n+n/8+1 {
		return nil, nil
	}
	for ; n > 0; n-- {
		s.pages, b = append(s.pages, binary.BigEndian.Uint32(b)), b[4:]
	}
	s.frame = bytes.Clone(b)
	return s, nil
}

// writeSums writes the checksums of a database that is about to be closed;
// nothing writes to it any more. Damaged pages keep their correct checksum, so
// that the next start finds them again.
func writeSums(path string, f *os.File, damaged []Damage) error {
	m, ok := newestMeta(f)
	if !ok {
		return fmt.Errorf("keeping the checksums of the database: %w: it has no valid meta page", ErrMissing)
	}
	s := &pageSums{pageSize: m.pageSize, tx: m.tx, meta: m.sum, pages: make([]uint32, m.pages), frame: make([]byte, m.pages/8+1)}
	w := newWalk(f, m)
	w.all, w.note = true, s
	err := w.page(m.root, 0, nil, nil)
	if err == nil && m.freelist != 0 {
		err = w.freelist(m.freelist)
	}
	if err != nil && !errors.Is(err, errPage) { // damage was found before, or will be by the next start
		return fmt.Errorf("keeping the checksums of the database: %w", err)
	}
	for _, d := range damaged {
		if d.Page < int64(len(s.pages)) && s.pages[d.Page] == d.has {
			s.pages[d.Page] = d.want
		}
	}
	return writeFile(path+sumsSuffix, s.encode())
}

// checkFrame compares the pages that lead to others, and those that list the
// free ones.
func (s *pageSums) checkFrame(f *os.File) error {
	page := make([]byte, s.pageSize)
	for id := range int64(len(s.pages)) {
		if s.frame[id/8]&(1<<(id%8)) == 0 {
			continue
		}
		if _, err := f.ReadAt(page, id*s.pageSize); err != nil {
			return fmt.Errorf("reading page %d: %w", id, err)
		}
		if !s.same(id, page) {
			return fmt.Errorf("%w: page %d, on which others rest, is not what was written there", errPage, id)
		}
	}
	return nil
}
