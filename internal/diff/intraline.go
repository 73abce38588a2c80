package diff

import (
	"unicode/utf8"

	"github.com/sergi/go-diff/diffmatchpatch"
)

// Span is a range of bytes [Start, End) of a line.
type Span struct{ Start, End int }

const (
	// intralineTokens is the most characters of one line that are compared
	// one by one after the common ends are cut off.
	intralineTokens = 4096
	// intralineCells bounds the product of both sides' characters, and with it
	// the work of one call to some milliseconds.
	intralineCells = 1 << 20
	// intralineGap is the longest run of unchanged characters between two
	// changes that is shown as changed with them.
	intralineGap = 2
)

// Intraline returns which bytes of a replaced pair of lines differ, in order and
// not touching. Spans begin and end between characters; a byte that is not
// valid UTF-8 is a character of its own, so \xff and \xfe differ. Where lines are
// too long or too different for a fine comparison, one span covers all that lies
// between their common ends.
func Intraline(before, after []byte) (oldSpans, newSpans []Span) {
	prefix := commonPrefix(before, after)
	for back := 0; back < utf8.UTFMax-1 && prefix > 0 && (continues(before, prefix) || continues(after, prefix)); back++ {
		prefix--
	}
	oldRest, newRest := before[prefix:], after[prefix:]
	suffix := commonSuffix(oldRest, newRest)
	for forth := 0; forth < utf8.UTFMax-1 && suffix > 0 && continues(oldRest, len(oldRest)-suffix); forth++ {
		suffix--
	}
	oldMiddle, newMiddle := oldRest[:len(oldRest)-suffix], newRest[:len(newRest)-suffix]

	oldWhole := nonEmpty(Span{prefix, prefix + len(oldMiddle)})
	newWhole := nonEmpty(Span{prefix, prefix + len(newMiddle)})
	if len(oldMiddle) == 0 || len(newMiddle) == 0 ||
		len(oldMiddle) > utf8.UTFMax*intralineTokens || len(newMiddle) > utf8.UTFMax*intralineTokens {
		return oldWhole, newWhole
	}
	names := map[string]rune{}
	oldTokens, oldEnds := characters(oldMiddle, names)
	newTokens, newEnds := characters(newMiddle, names)
	if len(oldTokens) > intralineTokens || len(newTokens) > intralineTokens || len(oldTokens)*len(newTokens) > intralineCells {
		return oldWhole, newWhole
	}
	engine := diffmatchpatch.New()
	engine.DiffTimeout = 0 // a clock would make the result depend on the load
	return spans(engine.DiffMainRunes(oldTokens, newTokens, false), prefix, oldEnds, newEnds)
}

// continues says that b[at] cannot begin a character.
func continues(b []byte, at int) bool { return at < len(b) && !utf8.RuneStart(b[at]) }

func nonEmpty(s Span) []Span {
	if s.Start == s.End {
		return nil
	}
	return []Span{s}
}

// characters replaces each character by a small valid rune, equal ones by the
// same, since the engine passes text through strings and would turn all invalid
// bytes into one. ends[i] is where character i ends in b.
func characters(b []byte, names map[string]rune) (tokens []rune, ends []int) {
	const first = 0x100 // all names stay below the surrogates
	for at := 0; at < len(b); {
		_, n := utf8.DecodeRune(b[at:])
		name, ok := names[string(b[at:at+n])]
		if !ok {
			name = first + rune(len(names))
			names[string(b[at:at+n])] = name
		}
		at += n
		tokens, ends = append(tokens, name), append(ends, at)
		if len(tokens) > intralineTokens {
			break
		}
	}
	return tokens, ends
}

// spans turns the engine's edits into spans that are offset bytes into the line.
func spans(edits []diffmatchpatch.Diff, offset int, oldEnds, newEnds []int) (oldSpans, newSpans []Span) {
	end := func(ends []int, n int) int {
		if n == 0 {
			return offset
		}
		return offset + ends[n-1]
	}
	i, j := 0, 0
	for k, e := range edits {
		n := utf8.RuneCountInString(e.Text)
		switch {
		case e.Type == diffmatchpatch.DiffDelete:
			oldSpans = extend(oldSpans, Span{end(oldEnds, i), end(oldEnds, i+n)})
			i += n
		case e.Type == diffmatchpatch.DiffInsert:
			newSpans = extend(newSpans, Span{end(newEnds, j), end(newEnds, j+n)})
			j += n
		default:
			if n <= intralineGap && k > 0 && k < len(edits)-1 {
				oldSpans = extend(oldSpans, Span{end(oldEnds, i), end(oldEnds, i+n)})
				newSpans = extend(newSpans, Span{end(newEnds, j), end(newEnds, j+n)})
			}
			i, j = i+n, j+n
		}
	}
	return oldSpans, newSpans
}

// extend appends next, joined to the last span if the two touch.
func extend(all []Span, next Span) []Span {
	if n := len(all); n > 0 && all[n-1].End == next.Start {
		all[n-1].End = next.End
		return all
	}
	return append(all, next)
}
