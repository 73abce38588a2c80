package change

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/safetext"
)

// kind is the kind of a segment's lines.
type kind uint8

const (
	kindContext kind = iota + 1 // unchanged lines, with a sign
	kindChange                  // deletions, then insertions, with a sign
	kindFile                    // a file's name
	kindMeta                    // other headers of a file
	kindHidden                  // repeats the file's name
	kindHunk                    // the header of a hunk
	kindText                    // a line of plain text
	kindMore                    // continues a line of text that holds newlines
	kindTitle                   // our own text
	kindNote                    // our own text, less important
	kindWarn                    // our own text, a warning
	kindField                   // a name and its value; has a cut
	kindRow                     // a path, an old and a new value; has a cut
	kindEntry                   // describes a path that has no diff
)

// segment is a run of lines of one kind. A change has n deletions and then ins
// insertions; every other kind has n lines.
type segment struct {
	line     uint32 // the first
	n, ins   uint32
	old, new uint32 // numbers of the first line; 0 where lines have none
	kind     kind
	fold     bool // shown as one row
	foldable bool // not counted among what must be read
}

func (s segment) lines() int { return int(s.n + s.ins) }

// cut says where the parts of a line end: its label and its first value.
type cut struct {
	line, label, value uint32
	identity           bool // the value names a person, host, program or file
}

// hunk is the unit of reading: a hunk of a diff, or one row of a patch with
// its values.
type hunk struct {
	line   uint32 // the first, which is the header where there is one
	lang   language
	lines  uint32 // number of lines that must be read
	asText bool   // a string's characters, not its spelling in JSON
}

// doc is an indexed text. Apart from folds it does not change.
type doc struct {
	text    string
	off     []uint32 // where each line starts
	segs    []segment
	hunks   []hunk
	cuts    []cut
	respelt map[uint32]string // headers with quoted names, without the quotes
	noEOL   map[uint32]uint32 // lines that end their file without a newline, and where they end
	digits  int               // of the largest line number; 0 if there are none
	json    bool              // what was built holds JSON …
	made    int               // … in the lines before this one
	nested  bool              // the lines have signs of their own
	whole   int               // byte at which the whole, unchanged text of the change begins; -1 if it is not included
	aside   bool              // this is not the change, so reading it does not count as having seen that
	entries bool              // a diff has lines beside it for paths without one
	unread  int               // lines of the change that are not shown anywhere, so never seen
	lang    language          // of the file at hand, while indexing
	highest uint32
}

// content returns line i without its newline.
func (d *doc) content(i int) string {
	from := d.off[i]
	if end, ok := d.noEOL[uint32(i)]; ok {
		return d.text[from:end]
	}
	if i+1 < len(d.off) {
		return d.text[from : d.off[i+1]-1]
	}
	return strings.TrimSuffix(d.text[from:], "\n")
}

// spelt returns line i as shown: a header that git quotes only because of
// non-ASCII letters is shown without quotes.
func (d *doc) spelt(i int) string {
	if s, ok := d.respelt[uint32(i)]; ok {
		return s
	}
	return d.content(i)
}

// body returns line i of a context or change segment without its sign.
func (d *doc) body(i int) string {
	if s := d.content(i); s != "" {
		return s[1:]
	}
	return ""
}

func (d *doc) lines() int { return len(d.off) }

// add appends a line that starts at pos to the segments.
func (d *doc) add(pos int, k kind, sign byte, old, new uint32) {
	line := uint32(len(d.off))
	d.off = append(d.off, uint32(pos))
	d.highest = max(d.highest, old, new)
	if n := len(d.segs); n > 0 && d.segs[n-1].kind == k {
		switch last := &d.segs[n-1]; {
		case k != kindChange:
			last.n++
			return
		case sign == '+':
			if last.ins == 0 {
				last.new = new
			}
			last.ins++
			return
		case last.ins == 0:
			last.n++
			return
		}
	}
	s := segment{line: line, old: old, new: new, kind: k, n: 1}
	if k == kindChange && sign == '+' {
		s.n, s.ins = 0, 1
	}
	d.segs = append(d.segs, s)
}

// header begins a hunk with the next line that is added.
func (d *doc) header() {
	d.hunks = append(d.hunks, hunk{line: uint32(len(d.off)), lang: d.lang})
}

// tooLong reports whether text cannot be indexed; no frame of the protocol is
// nearly that long.
func tooLong(text string) bool { return uint64(len(text)) > math.MaxUint32-1 }

// unified indexes the text from byte from as a unified diff, as written by git
// and this project. Lines inside a hunk follow the counts of its header, so a
// removed line "-- x" is not taken for a file name. Anything else is shown
// unchanged.
func (d *doc) unified(from int) {
	d.off = grow(d.off, strings.Count(d.text[from:], "\n")+1)
	hunks := strings.Count(d.text[from:], "\n@@ -")
	d.hunks, d.segs = grow(d.hunks, hunks), grow(d.segs, 4*hunks+8)
	p := diffParser{doc: d}
	for at := from; at < len(d.text); {
		end := strings.IndexByte(d.text[at:], '\n')
		next := at + end + 1
		if end < 0 {
			end, next = len(d.text)-at, len(d.text)
		}
		p.line(at, d.text[at:at+end])
		at = next
	}
}

// grow makes room for n more.
func grow[T any](s []T, n int) []T { return append(make([]T, 0, len(s)+n), s...) }

type diffParser struct {
	*doc
	old, new         uint32 // numbers of the next lines
	oldLeft, newLeft uint32 // remaining lines of the hunk
	inHunk           bool   // the last line belongs to a hunk
	entry            bool   // the last line is one for a path without a diff
	name             string // of the file, where its "---" and "+++" would repeat it
}

func (p *diffParser) line(at int, s string) {
	c := byte(' ') // some tools drop the only blank of an empty context line
	if s != "" {
		c = s[0]
	}
	switch {
	case c == '\\' && p.inHunk:
		p.unended(at - 1)
	case c == '-' && p.oldLeft > 0:
		p.add(at, kindChange, c, p.old, 0)
		p.old++
		p.oldLeft--
	case c == '+' && p.newLeft > 0:
		p.add(at, kindChange, c, 0, p.new)
		p.new++
		p.newLeft--
	case c == ' ' && p.oldLeft > 0 && p.newLeft > 0:
		p.add(at, kindContext, c, p.old, p.new)
		p.old, p.new = p.old+1, p.new+1
		p.oldLeft, p.newLeft = p.oldLeft-1, p.newLeft-1
	default:
		p.oldLeft, p.newLeft, p.inHunk = 0, 0, false
		if p.entries && entryLine(s) {
			if !p.entry { // those in a row are one hunk
				p.lang = noLanguage
				p.header()
			}
			p.entry = true
			p.add(at, kindEntry, 0, 0, 0)
			return
		}
		p.entry = false
		p.outside(at, s)
	}
}

// outside indexes a line between hunks.
func (p *diffParser) outside(at int, s string) {
	if old, oldN, new, newN, ok := hunkRanges(s); ok {
		p.old, p.oldLeft, p.new, p.newLeft, p.inHunk = old, oldN, new, newN, true
		p.header()
		p.add(at, kindHunk, 0, 0, 0)
		return
	}
	if plain, ok := unquotedHeader(s); ok {
		if p.respelt == nil {
			p.respelt = map[uint32]string{}
		}
		p.respelt[uint32(len(p.off))] = plain
		s = plain
	}
	if rest, ok := strings.CutPrefix(s, "diff --git "); ok {
		p.name = sameName(rest)
		p.lang = languageOf(strings.TrimSuffix(rest, `"`))
		if p.name != "" {
			p.add(at, kindFile, 0, 0, 0)
			return
		}
		if p.entries { // a renamed file, which may have no other hunk
			p.header()
		}
	}
	rest, isOld := strings.CutPrefix(s, "--- ")
	if p.name != "" && isOld && (rest == "/dev/null" || rest == "a/"+p.name) {
		p.add(at, kindHidden, 0, 0, 0)
		return
	}
	rest, isNew := strings.CutPrefix(s, "+++ ")
	if p.name != "" && isNew && (rest == "/dev/null" || rest == "b/"+p.name) {
		p.add(at, kindHidden, 0, 0, 0)
		return
	}
	p.add(at, kindMeta, 0, 0, 0)
}

// unquotedHeader returns a header of a diff with unquoted names, if quotes and
// escapes stand only for non-ASCII letters and blanks.
func unquotedHeader(s string) (string, bool) {
	if !strings.Contains(s, ` "`) {
		return "", false
	}
	for _, head := range []string{"diff --git ", "--- ", "+++ ", "rename from ", "rename to ", "copy from ", "copy to "} {
		rest, ok := strings.CutPrefix(s, head)
		if !ok {
			continue
		}
		out := head
		for rest != "" {
			name := rest
			if rest[0] == '"' {
				q, err := strconv.QuotedPrefix(rest)
				if err != nil {
					return "", false
				}
				if name, err = strconv.Unquote(q); err != nil || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' || r == 0x7f }) {
					return "", false
				}
				rest = rest[len(q):]
			} else {
				i := strings.Index(rest, ` "`)
				if i < 0 {
					i = len(rest)
				}
				name, rest = rest[:i], rest[i:]
			}
			out += name
			if after, ok := strings.CutPrefix(rest, " "); ok {
				out, rest = out+" ", after
			}
		}
		return out, true
	}
	return "", false
}

// sameName returns the name in "a/name b/name", or nothing if it is quoted or
// there are two names.
func sameName(s string) string {
	n := (len(s) - len("a/ b/")) / 2
	if n <= 0 || len(s) != 2*n+len("a/ b/") {
		return ""
	}
	name := s[2 : 2+n]
	if s != "a/"+name+" b/"+name {
		return ""
	}
	return name
}

// hunkRanges reads "@@ -1,2 +3 @@".
func hunkRanges(s string) (old, oldN, new, newN uint32, ok bool) {
	rest, ok1 := strings.CutPrefix(s, "@@ -")
	first, rest, ok2 := strings.Cut(rest, " +")
	second, _, ok3 := strings.Cut(rest, " @@")
	if !ok1 || !ok2 || !ok3 {
		return 0, 0, 0, 0, false
	}
	old, oldN, ok1 = hunkRange(first)
	new, newN, ok2 = hunkRange(second)
	return old, oldN, new, newN, ok1 && ok2
}

func hunkRange(s string) (start, lines uint32, ok bool) {
	first, second, two := strings.Cut(s, ",")
	a, err := strconv.ParseUint(first, 10, 31)
	if err != nil {
		return 0, 0, false
	}
	if !two {
		return uint32(a), 1, true
	}
	b, err := strconv.ParseUint(second, 10, 31)
	return uint32(a), uint32(b), err == nil
}

const (
	foldAbove = 12 // more unchanged lines in a row than this are folded
	foldKeep  = 4  // of them, so many stay at either end
)

// finish folds long context and counts what must be read.
func (d *doc) finish() {
	d.foldContext()
	if d.highest > 0 {
		d.digits = max(2, len(strconv.Itoa(int(d.highest))))
	}
	if len(d.hunks) == 0 && len(d.off) > 0 {
		d.hunks = []hunk{{lang: d.lang}}
	}
	for _, s := range d.segs {
		if s.kind == kindHidden || s.foldable {
			continue
		}
		d.require(int(s.line), s.lines())
	}
}

// require counts lines among those that must be read. Here, what precedes the
// first hunk belongs to it. The lines may belong to several hunks, if they are
// headers.
func (d *doc) require(line, n int) {
	for end := line + n; line < end; {
		h := max(0, d.hunkOf(line))
		next := end
		if h+1 < len(d.hunks) {
			next = min(end, int(d.hunks[h+1].line))
		}
		d.hunks[h].lines += uint32(next - line)
		line = next
	}
}

// unended notes that the last line, which ends at byte end, ends its file
// without a newline.
func (d *doc) unended(end int) {
	if d.noEOL == nil {
		d.noEOL = map[uint32]uint32{}
	}
	if line := uint32(len(d.off) - 1); d.noEOL[line] == 0 {
		d.noEOL[line] = uint32(end)
	}
}

// hunkOf returns the hunk of a line, -1 before the first hunk.
func (d *doc) hunkOf(line int) int {
	lo, hi := 0, len(d.hunks)
	for lo < hi {
		if mid := (lo + hi) / 2; int(d.hunks[mid].line) <= line {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// segmentOf returns the segment that line belongs to.
func (d *doc) segmentOf(line int) int {
	lo, hi := 0, len(d.segs)
	for lo < hi {
		if mid := (lo + hi) / 2; int(d.segs[mid].line) <= line {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// foldContext folds the middle of long runs of unchanged lines. A fold never
// contains a line with a hazard.
func (d *doc) foldContext() {
	long := false
	for _, s := range d.segs {
		long = long || s.kind == kindContext && s.n > foldAbove
	}
	if !long {
		return
	}
	out := make([]segment, 0, len(d.segs)+2)
	for _, s := range d.segs {
		if s.kind != kindContext || s.n <= foldAbove {
			out = append(out, s)
			continue
		}
		out = d.foldRun(out, s)
	}
	d.segs = out
}

func (d *doc) foldRun(out []segment, s segment) []segment {
	part := func(from, to uint32, fold bool) {
		if from == to {
			return
		}
		p := s
		p.line, p.n = s.line+from, to-from
		if s.old > 0 {
			p.old, p.new = s.old+from, s.new+from
		}
		p.fold, p.foldable = fold, fold
		out = append(out, p)
	}
	from, last := uint32(foldKeep), s.n-foldKeep
	part(0, from, false)
	for i := from; i < last; i++ {
		if !hazardous(d.body(int(s.line + i))) {
			continue
		}
		part(from, i, true)
		part(i, i+1, false)
		from = i + 1
	}
	part(from, last, true)
	part(last, s.n, false)
	return out
}

// hazardous reports whether a line contains anything that safetext marks or
// warns of. A carriage return at its end is ordinary.
func hazardous(s string) bool {
	if len(s) > safetext.LongLine {
		return true
	}
	s = strings.TrimSuffix(s, "\r")
	if plainASCII(s) {
		return false
	}
	return len(safetext.Scan([]byte(s))) > 0 || marked(s)
}
