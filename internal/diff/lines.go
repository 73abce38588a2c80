package diff

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
)

// binaryWindow is how many leading bytes decide whether content is text. It is
// the number that git uses (FIRST_FEW_BYTES in its xdiff-interface.c).
const binaryWindow = 8000

// isBinary applies git's rule: content with a NUL among its first 8000 bytes is
// not text.
func isBinary(b []byte) bool {
	return bytes.IndexByte(b[:min(len(b), binaryWindow)], 0) >= 0
}

// commonPrefix returns how many leading bytes a and b share. Whole blocks are
// compared first because bytes.Equal is vectorised.
func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for i+4096 <= n && bytes.Equal(a[i:i+4096], b[i:i+4096]) {
		i += 4096
	}
	for i+8 <= n && binary.LittleEndian.Uint64(a[i:]) == binary.LittleEndian.Uint64(b[i:]) {
		i += 8
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// commonSuffix returns how many trailing bytes a and b share.
func commonSuffix(a, b []byte) int {
	n := min(len(a), len(b))
	la, lb := len(a), len(b)
	i := 0
	for i+4096 <= n && bytes.Equal(a[la-i-4096:la-i], b[lb-i-4096:lb-i]) {
		i += 4096
	}
	for i+8 <= n && binary.LittleEndian.Uint64(a[la-i-8:]) == binary.LittleEndian.Uint64(b[lb-i-8:]) {
		i += 8
	}
	for i < n && a[la-i-1] == b[lb-i-1] {
		i++
	}
	return i
}

// trimLines returns how many bytes of whole lines a and b share at the front
// and at the back. The two never overlap, and both cuts fall on line starts in
// a as well as in b. Trimming whole common lines keeps a minimal diff minimal.
func trimLines(a, b []byte) (prefix, suffix int) {
	prefix = commonPrefix(a, b)
	if prefix == len(a) && prefix == len(b) {
		return prefix, 0
	}
	prefix = bytes.LastIndexByte(a[:prefix], '\n') + 1
	ra, rb := a[prefix:], b[prefix:]
	suffix = commonSuffix(ra, rb)
	startsLine := func(s []byte) bool {
		at := len(s) - suffix
		return at == 0 || s[at-1] == '\n'
	}
	if !startsLine(ra) || !startsLine(rb) {
		shared := ra[len(ra)-suffix:]
		if i := bytes.IndexByte(shared, '\n'); i >= 0 {
			suffix = len(shared) - i - 1
		} else {
			suffix = 0
		}
	}
	return prefix, suffix
}

// countLines returns the number of lines in b; a last line without a newline
// counts.
func countLines(b []byte) int {
	n := bytes.Count(b, []byte{'\n'})
	if len(b) > 0 && b[len(b)-1] != '\n' {
		n++
	}
	return n
}

// lastLines returns the start of the last n whole lines of b, which must be
// empty or end in a newline, and how many lines there are from there.
func lastLines(b []byte, n int) (start, lines int) {
	start = len(b)
	for lines < n && start > 0 {
		start = bytes.LastIndexByte(b[:start-1], '\n') + 1
		lines++
	}
	return start, lines
}

// firstLines returns the end of the first n lines of b and how many they are.
func firstLines(b []byte, n int) (end, lines int) {
	for lines < n && end < len(b) {
		i := bytes.IndexByte(b[end:], '\n')
		lines++
		if i < 0 {
			return len(b), lines
		}
		end += i + 1
	}
	return end, lines
}

// splitLines cuts b after each newline. The newline stays with its line, so
// that "x" at the end of a file and "x\n" are different lines.
func splitLines(b []byte) [][]byte {
	lines := make([][]byte, 0, countLines(b))
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n') + 1
		if i == 0 {
			i = len(b)
		}
		lines = append(lines, b[:i:i])
		b = b[i:]
	}
	return lines
}

// interner gives equal lines equal numbers, counted up from 0 in the order of
// first appearance. The hash is seeded per call, which defeats prepared
// collisions; the numbers do not depend on the seed.
type interner struct {
	seed  maphash.Seed
	table []int32 // open addressing, number+1, 0 = free
	hash  []uint64
	line  [][]byte
}

func newInterner(capacity int) *interner {
	size := 16
	for size < 2*capacity {
		size *= 2
	}
	return &interner{seed: maphash.MakeSeed(), table: make([]int32, size)}
}

// id returns the number of line. At most the capacity given to newInterner
// different lines may be added.
func (t *interner) id(line []byte) int32 {
	h := maphash.Bytes(t.seed, line)
	mask := uint64(len(t.table) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		n := t.table[i]
		if n == 0 {
			t.line = append(t.line, line)
			t.hash = append(t.hash, h)
			t.table[i] = int32(len(t.line))
			return int32(len(t.line) - 1)
		}
		if t.hash[n-1] == h && bytes.Equal(t.line[n-1], line) {
			return n - 1
		}
	}
}

func (t *interner) ids(lines [][]byte) []int32 {
	ids := make([]int32, len(lines))
	for i, l := range lines {
		ids[i] = t.id(l)
	}
	return ids
}
