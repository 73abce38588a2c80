package change

import (
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/diff"
)

const (
	// fineCells bounds the product of the two lengths that are compared
	// character by character; a pair of lines then takes well under a
	// millisecond, whatever it holds.
	fineCells = 1 << 15
	// keptPairs bounds the pairs of lines whose comparison is remembered.
	keptPairs = 4096
)

// pair is the difference within two lines, one of which replaces the other.
type pair struct{ old, new []diff.Span }

// pairs remembers comparisons by the deleted line.
type pairs map[uint32]pair

// of returns the spans of a line in a change; none if the other side has no
// line for it.
func (m pairs) of(d *doc, s segment, line int) []diff.Span {
	k := uint32(line) - s.line
	inserted := k >= s.n
	if inserted {
		k -= s.n
	}
	if k >= min(s.n, s.ins) {
		return nil
	}
	key := s.line + k
	p, ok := m[key]
	if !ok {
		if len(m) >= keptPairs {
			clear(m)
		}
		p = compare(d.body(int(key)), d.body(int(key+s.n)))
		m[key] = p
	}
	if inserted {
		return p.new
	}
	return p.old
}

// compare returns which words of two lines differ; none if most of both
// differ, because then the whole line has changed.
func compare(old, new string) pair {
	prefix, suffix := common(old, new)
	oldMiddle, newMiddle := old[prefix:len(old)-suffix], new[prefix:len(new)-suffix]
	p := pair{span(prefix, len(oldMiddle)), span(prefix, len(newMiddle))}
	if len(oldMiddle) > 0 && len(newMiddle) > 0 && len(oldMiddle)*len(newMiddle) <= fineCells {
		p.old, p.new = diff.Intraline([]byte(oldMiddle), []byte(newMiddle))
		shift(p.old, prefix)
		shift(p.new, prefix)
	}
	p.old, p.new = toWords(old, p.old), toWords(new, p.new)
	if mostly(old, p.old) && mostly(new, p.new) {
		return pair{}
	}
	return p
}

func span(from, n int) []diff.Span {
	if n == 0 {
		return nil
	}
	return []diff.Span{{Start: from, End: from + n}}
}

func shift(spans []diff.Span, by int) {
	for i := range spans {
		spans[i].Start += by
		spans[i].End += by
	}
}

// mostly reports whether more than two thirds of s changed.
func mostly(s string, spans []diff.Span) bool {
	n := 0
	for _, sp := range spans {
		n += sp.End - sp.Start
	}
	return 3*n > 2*len(s)
}

// common returns how many bytes two lines share at their start and end, cut
// between characters.
func common(a, b string) (prefix, suffix int) {
	n := min(len(a), len(b))
	for prefix < n && a[prefix] == b[prefix] {
		prefix++
	}
	for back := 0; back < utf8.UTFMax-1 && prefix > 0 && (inside(a, prefix) || inside(b, prefix)); back++ {
		prefix--
	}
	n -= prefix
	for suffix < n && a[len(a)-1-suffix] == b[len(b)-1-suffix] {
		suffix++
	}
	for forth := 0; forth < utf8.UTFMax-1 && suffix > 0 && inside(a, len(a)-suffix); forth++ {
		suffix--
	}
	return prefix, suffix
}

func inside(s string, i int) bool { return i < len(s) && !utf8.RuneStart(s[i]) }

// toWords extends spans to whole words and joins those that then touch.
func toWords(s string, spans []diff.Span) []diff.Span {
	out := spans[:0]
	for _, sp := range spans {
		for sp.Start > 0 && wordByte(s[sp.Start-1]) && wordByte(s[sp.Start]) {
			sp.Start--
		}
		for sp.End < len(s) && wordByte(s[sp.End]) && wordByte(s[sp.End-1]) {
			sp.End++
		}
		if n := len(out); n > 0 && out[n-1].End >= sp.Start {
			out[n-1].End = max(out[n-1].End, sp.End)
			continue
		}
		out = append(out, sp)
	}
	return out
}

// wordByte reports whether c belongs to a word; non-ASCII bytes do, so that no
// character is cut.
func wordByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || c >= utf8.RuneSelf
}
