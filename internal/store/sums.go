package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
)

// bbolt checks its meta pages alone. So Close leaves a checksum of every page in
// a file beside the database, and the next start compares: what was changed in
// between is found before anything rests on it. The checksums belong to one
// transaction; with the first commit they are those of an older state, and a
// daemon that is killed leaves none that fit. Its pages are walked instead, and
// its records read.
//
// Against someone who changes the checksums too they are no help; the log is.
const (
	sumsSuffix = ".sums"
	sumsMagic  = "mcpguard\x00sums\x00v1"
	sumsHeader = len(sumsMagic) + 4 + 8 + 8
	maxSums    = 64 << 20 // bytes: of a database of 64 GiB
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// pageSums are the checksums of a file as of one transaction.
type pageSums struct {
	pageSize int64
	tx       uint64
	meta     uint64 // the checksum that bbolt gave the meta page
	pages    []uint32
}

// fit reports whether the checksums are those of the state that m describes.
func (s *pageSums) fit(m meta) bool {
	return s != nil && s.tx == m.tx && s.meta == m.sum && s.pageSize == m.pageSize && int64(len(s.pages)) == m.pages
}

// same compares one page.
func (s *pageSums) same(id int64, page []byte) bool {
	return id >= 0 && id < int64(len(s.pages)) && crc32.Checksum(page, castagnoli) == s.pages[id]
}

func (s *pageSums) encode() []byte {
	b := make([]byte, 0, sumsHeader+4*len(s.pages)+4)
	b = append(b, sumsMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(s.pageSize))
	b = binary.BigEndian.AppendUint64(b, s.tx)
	b = binary.BigEndian.AppendUint64(b, s.meta)
	for _, sum := range s.pages {
		b = binary.BigEndian.AppendUint32(b, sum)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// readSums returns the checksums of a database, nil where there are none that
// can be read: the pages are walked then.
func readSums(path string) (*pageSums, error) {
	b, err := readSmall(path+sumsSuffix, maxSums)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the checksums of the database: %w", err)
	}
	n := len(b) - 4
	if n < sumsHeader || !bytes.HasPrefix(b, []byte(sumsMagic)) || (n-sumsHeader)%4 != 0 ||
		binary.BigEndian.Uint32(b[n:]) != crc32.Checksum(b[:n], castagnoli) {
		return nil, nil
	}
	b = b[len(sumsMagic):n]
	s := &pageSums{
		pageSize: int64(binary.BigEndian.Uint32(b)), tx: binary.BigEndian.Uint64(b[4:]), meta: binary.BigEndian.Uint64(b[12:]),
		pages: make([]uint32, 0, len(b)/4-5),
	}
	for b = b[20:]; len(b) > 0; b = b[4:] {
		s.pages = append(s.pages, binary.BigEndian.Uint32(b))
	}
	return s, nil
}

// writeSums leaves the checksums of a database that is closed now. What was
// found damaged keeps the checksum that it should have, so that the next start
// finds it again.
func writeSums(path string, damaged []Damage) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("keeping the checksums of the database: %w", err)
	}
	defer f.Close()
	m, ok := newestMeta(f)
	if !ok {
		return fmt.Errorf("keeping the checksums of the database: %w: it has no valid meta page", ErrMissing)
	}
	s := &pageSums{pageSize: m.pageSize, tx: m.tx, meta: m.sum, pages: make([]uint32, 0, m.pages)}
	page := make([]byte, m.pageSize)
	r := io.NewSectionReader(f, 0, m.pages*m.pageSize)
	for range m.pages {
		if _, err := io.ReadFull(r, page); err != nil {
			return fmt.Errorf("keeping the checksums of the database: %w", err)
		}
		s.pages = append(s.pages, crc32.Checksum(page, castagnoli))
	}
	for _, d := range damaged {
		if d.Page < int64(len(s.pages)) && s.pages[d.Page] == d.has {
			s.pages[d.Page] = d.want
		}
	}
	return writeFile(path+sumsSuffix, s.encode())
}
