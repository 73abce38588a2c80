package diff

import "bytes"

// Lines are the lines of a content, to be compared with those of others.
type Lines struct {
	size  int
	bytes map[string]int // of each line, newline included, times how often it stands there
}

// LinesOf reads the lines of a content. Binary content has none.
func LinesOf(data []byte) Lines {
	if isBinary(data) {
		return Lines{}
	}
	l := Lines{size: len(data), bytes: map[string]int{}}
	for line := range bytes.Lines(data) {
		l.bytes[string(line)] += len(line)
	}
	return l
}

// Similar returns how much of the larger of two texts stands in the other one as
// well, in percent, rounded down: the bytes of the lines that both have, wherever
// they stand. Git measures renamed files much like this. The result is 0 where a
// side is empty or binary, and does not depend on the order of the sides.
func Similar(a, b Lines) int {
	larger := max(a.size, b.size)
	if len(a.bytes) > len(b.bytes) {
		a, b = b, a
	}
	if len(a.bytes) == 0 {
		return 0
	}
	common := 0
	for line, n := range a.bytes {
		common += min(n, b.bytes[line])
	}
	return int(int64(common) * 100 / int64(larger))
}
