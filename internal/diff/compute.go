package diff

import "strconv"

// Options are the settings of a line comparison. The zero value is the default.
type Options struct {
	// Context is the number of unchanged lines shown around a change: 0 means
	// 3, a negative number none.
	Context int
	// Budget is the number of steps that may be spent on a minimal result; 0
	// means a default that keeps 100,000 lines well under a second.
	Budget int
}

const (
	defaultContext = 3
	maxContext     = 1 << 20
)

func (o Options) context() int {
	switch {
	case o.Context == 0:
		return defaultContext
	case o.Context < 0:
		return 0
	}
	return min(o.Context, maxContext)
}

// Kind says what a line of a hunk does. The zero value is no valid kind.
type Kind uint8

// The kinds of line.
const (
	Equal Kind = iota + 1
	Delete
	Insert
)

// String returns the kind in lower case.
func (k Kind) String() string {
	switch k {
	case Equal:
		return "equal"
	case Delete:
		return "delete"
	case Insert:
		return "insert"
	}
	return "Kind(" + strconv.Itoa(int(k)) + ")"
}

// Line is one line of a hunk.
type Line struct {
	Kind Kind
	Old  int    // line number before, from 1; 0 if the line was not there
	New  int    // line number after, from 1; 0 if the line is no more there
	Text []byte // without its newline; aliases the input; a final CR belongs to it
	// NoEOL says that the line ends its file without a newline.
	NoEOL bool
}

// Hunk is a run of changed lines with the context around them. Starts count
// from 1; the start of an empty side is the line after which it stands, which
// is 0 at the top of the file.
type Hunk struct {
	OldStart, OldLines int
	NewStart, NewLines int
	Lines              []Line
}

// Result is the difference between two contents.
type Result struct {
	Hunks          []Hunk
	Added, Removed int // lines
	// Binary says that one side is not text by git's rule, a NUL among its first
	// 8000 bytes. Hunks is then empty, also where the contents differ.
	Binary bool
	// Coarse says that the step budget did not suffice for a minimal result.
	// The hunks are right, but unchanged lines may appear as removed and added
	// again, so a single changed line can hide among them: a hazard.
	Coarse bool
}

// Equal says that no line differs. Binary contents are never called equal.
func (r Result) Equal() bool { return !r.Binary && len(r.Hunks) == 0 }

// Compute compares two contents line by line. A line ends after "\n"; a "\r"
// is an ordinary byte, so a change of line endings changes every line. Lines in
// the result alias before and after. A content may have up to 2^31 lines.
func Compute(before, after []byte, o Options) Result {
	if isBinary(before) || isBinary(after) {
		return Result{Binary: true}
	}
	prefix, suffix := trimLines(before, after)
	if prefix == len(before) && prefix == len(after) {
		return Result{}
	}
	context := o.context()
	around := context + maxSlide
	from, linesUp := lastLines(before[:prefix], around)
	tail := before[len(before)-suffix:]
	to, linesDown := firstLines(tail, around)
	a := splitLines(before[from : len(before)-suffix+to])
	b := splitLines(after[from : len(after)-suffix+to])

	table := newInterner(len(a) + len(b))
	ida, idb := table.ids(a), table.ids(b)
	blocks, coarse := Align(ida[linesUp:len(ida)-linesDown], idb[linesUp:len(idb)-linesDown], len(table.line), o.Budget)
	for i := range blocks {
		k := &blocks[i]
		k.A0, k.A1, k.B0, k.B1 = k.A0+linesUp, k.A1+linesUp, k.B0+linesUp, k.B1+linesUp
	}
	slide(blocks, a, b, ida, idb)
	return assemble(blocks, a, b, countLines(before[:from]), context, coarse)
}

// assemble groups blocks into hunks. offset is the number of lines before a[0]
// and b[0].
func assemble(blocks []Block, a, b [][]byte, offset, context int, coarse bool) Result {
	r := Result{Coarse: coarse}
	for i := 0; i < len(blocks); {
		j := i + 1
		for j < len(blocks) && blocks[j].A0-blocks[j-1].A1 <= 2*context {
			j++
		}
		group := blocks[i:j]
		first, last := group[0], group[len(group)-1]
		up := min(context, first.A0)
		down := min(context, len(a)-last.A1)
		h := Hunk{
			OldStart: offset + first.A0 - up, OldLines: last.A1 - first.A0 + up + down,
			NewStart: offset + first.B0 - up, NewLines: last.B1 - first.B0 + up + down,
		}
		w := hunkWriter{a: a, b: b, i: first.A0 - up, j: first.B0 - up, offset: offset}
		for _, k := range group {
			w.equal(k.A0)
			w.delete(k.A1)
			w.insert(k.B1)
			r.Removed += k.A1 - k.A0
			r.Added += k.B1 - k.B0
		}
		w.equal(last.A1 + down)
		h.Lines = w.lines
		if h.OldLines > 0 {
			h.OldStart++
		}
		if h.NewLines > 0 {
			h.NewStart++
		}
		r.Hunks = append(r.Hunks, h)
		i = j
	}
	return r
}

// hunkWriter walks both sides in step; i and j are the next lines of a and b.
type hunkWriter struct {
	a, b   [][]byte
	i, j   int
	offset int
	lines  []Line
}

func (w *hunkWriter) equal(until int) {
	for ; w.i < until; w.i, w.j = w.i+1, w.j+1 {
		w.lines = append(w.lines, newLine(Equal, w.offset+w.i+1, w.offset+w.j+1, w.a[w.i]))
	}
}

func (w *hunkWriter) delete(until int) {
	for ; w.i < until; w.i++ {
		w.lines = append(w.lines, newLine(Delete, w.offset+w.i+1, 0, w.a[w.i]))
	}
}

func (w *hunkWriter) insert(until int) {
	for ; w.j < until; w.j++ {
		w.lines = append(w.lines, newLine(Insert, 0, w.offset+w.j+1, w.b[w.j]))
	}
}

func newLine(kind Kind, before, after int, raw []byte) Line {
	l := Line{Kind: kind, Old: before, New: after, Text: raw}
	if n := len(raw) - 1; n >= 0 && raw[n] == '\n' {
		l.Text = raw[:n:n]
	} else {
		l.NoEOL = true
	}
	return l
}
