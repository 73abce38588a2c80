package safetext

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Identity returns s, the name of something (a tool, path, host, address or
// tenant), as one line in which names that differ do not look alike. Letters of
// one script are shown; see [Deceptive] for what is marked. A space at either end
// and every control character are marked, too.
func Identity(s string) Line { return Style{}.Identity(s) }

// Identity is like the function, in this style.
func (st Style) Identity(s string) Line {
	w := writer{st: st, out: make([]byte, 0, len(s)+16)}
	doubt := Deceptive(s)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			w.badByte(s[i])
		case r == ' ' && (i == 0 || i == len(s)-1), r < ' ', r == 0x7f:
			w.mark(r)
		case r == '<' && st.ASCII && startsMarker(s[i+1:]):
			w.mark(r)
		case r < utf8.RuneSelf:
			w.asciiByte(s[i], s[i+1:])
		case doubt[i]:
			w.mark(r)
		default:
			w.rune(r, s[i:i+n])
		}
		i += n
	}
	return w.line()
}

// Marked returns s as one line in which every rune beyond ASCII is marked, and
// every control character.
func (st Style) Marked(s string) Line {
	w := writer{st: st, out: make([]byte, 0, len(s)+16)}
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			w.badByte(s[i])
		case r < ' ', r >= 0x7f:
			w.mark(r)
		default:
			w.asciiByte(s[i], s[i+1:])
		}
		i += n
	}
	return w.line()
}

// writing is a group of scripts that stand together in the names of one
// language. The zero writing is none.
type writing uint8

const (
	latin writing = iota + 1
	japanese
	korean
	han // belongs to the two before and to the one behind
	bopomofo
	others // plus the index in scripts
)

// scripts are those of living languages that are written from left to right. A
// name in one written from right to left would change places with what stands
// beside it.
var scripts = []*unicode.RangeTable{
	unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Georgian, unicode.Devanagari, unicode.Bengali, unicode.Gurmukhi, unicode.Gujarati,
	unicode.Oriya, unicode.Tamil, unicode.Telugu, unicode.Kannada, unicode.Malayalam, unicode.Sinhala, unicode.Thai, unicode.Lao, unicode.Khmer,
	unicode.Myanmar, unicode.Ethiopic, unicode.Tibetan,
}

// writingOf returns what the letter or mark r is written in.
func writingOf(r rune) writing {
	switch {
	case unicode.Is(unicode.Latin, r):
		return latin
	case unicode.Is(unicode.Han, r):
		return han
	case unicode.In(r, unicode.Hiragana, unicode.Katakana), r == 'ー':
		return japanese
	case unicode.Is(unicode.Hangul, r):
		return korean
	case unicode.Is(unicode.Bopomofo, r):
		return bopomofo
	}
	for i, s := range scripts {
		if unicode.Is(s, r) {
			return others + writing(i)
		}
	}
	return 0
}

// together returns the writing of a text that holds letters of both, 0 where
// they do not stand together in a name.
func together(a, b writing) writing {
	switch {
	case a == b, b == han && (a == japanese || a == korean || a == bopomofo):
		return a
	case a == han && (b == japanese || b == korean || b == bopomofo):
		return b
	}
	return 0
}

// twins are letters that many fonts draw like one of ASCII.
const twins = "аеԁһіјӏоԛрѕсѵухԝАВЕԌНІЈКМОРЅТСУХҮԜ" + "ανορικυχϳΑΒΕΖΗΙΚΜΝΟΡΤΥΧ" + "ոսօցհԼՏՍՕ" + "ノ一丨工口ロ〇"

// usual reports whether the letter r, beyond ASCII, is one of a living language
// that is not drawn like a letter or sign of ASCII.
func usual(r rune) bool {
	if r < 0x250 {
		switch r {
		case 'ı', 'ĸ', 'ŉ', 'ſ':
			return false
		}
		// Beyond the letters of European languages, those with an accent.
		return 0xc0 <= r && r <= 0x17f || norm.NFD.PropertiesString(string(r)).Decomposition() != nil
	}
	if writingOf(r) == latin {
		return 0x1e00 <= r && r <= 0x1eff && norm.NFD.PropertiesString(string(r)).Decomposition() != nil
	}
	return true
}

// Deceptive reports for each byte of a name whether the rune it belongs to could
// deceive: whatever beyond ASCII is no letter, and of letters
//
//   - those of a word that mixes scripts (Japanese and Korean names have several),
//     or of a part of a path with words in several scripts beside Latin
//   - those of a word in which each letter looks like one of ASCII
//   - the ones that look like one of ASCII within Latin words, that stand for
//     another form of a letter (full-width, ligatures), that are written from
//     right to left, or are of no living language
//   - a mark that would compose with its letter: the same name can be written
//     with and without, and looks alike
func Deceptive(s string) []bool {
	out := make([]bool, len(s))
	if plainASCII(s) {
		return out
	}
	for from := 0; from < len(s); {
		end := strings.IndexAny(s[from:], `/\@:?#&=`)
		if end < 0 {
			end = len(s) - from
		}
		deceptivePart(s[from:from+end], out[from:from+end])
		from += end + 1
	}
	return out
}

func plainASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// deceptivePart judges one part of a path.
func deceptivePart(s string, out []bool) {
	var foreign writing // of the words beside Latin ones
	mixed := false
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if !inWord(r) {
			mark(out[i:i+n], r >= utf8.RuneSelf)
			i += n
			continue
		}
		end := i
		for end < len(s) {
			r, n := utf8.DecodeRuneInString(s[end:])
			if !inWord(r) {
				break
			}
			end += n
		}
		switch w := deceptiveWord(s[i:end], out[i:end]); {
		case w == 0 || w == latin:
		case foreign == 0:
			foreign = w
		default:
			foreign = together(foreign, w)
			mixed = mixed || foreign == 0
		}
		i = end
	}
	if mixed {
		markAll(s, out)
	}
}

// inWord reports whether r is part of a word.
func inWord(r rune) bool {
	return unicode.IsLetter(r) || isMark(r) || unicode.Is(unicode.Nd, r)
}

// deceptiveWord judges one word and returns its writing, 0 where there is none or
// it was judged deceptive as a whole.
func deceptiveWord(s string, out []bool) writing {
	var all writing
	clear, letters := false, false
	var last rune // the letter that a mark would join
	for i, r := range s {
		n := utf8.RuneLen(r)
		if r < utf8.RuneSelf {
			if asciiLetter(r) {
				if all != 0 && all != latin {
					markAll(s, out)
					return 0
				}
				all, clear, letters = latin, true, true
			}
			last = r
			continue
		}
		w := writingOf(r)
		switch {
		case isMark(r) && !unicode.IsLetter(r):
			composes := last != 0 && norm.NFC.String(string(last)+string(r)) != string(last)+string(r)
			mark(out[i:i+n], last == 0 || composes || w == 0 || w == latin || w != all)
			continue
		case unicode.Is(unicode.Nd, r):
			mark(out[i:i+n], w != all || w < others) // digits of another script than their word's look like others
			continue
		case w == 0, unicode.Is(unicode.Lm, r) && w < japanese, norm.NFKC.String(string(r)) != string(r), !usual(r):
			mark(out[i:i+n], true)
			last = 0
			continue
		}
		if all != 0 && together(all, w) == 0 {
			markAll(s, out)
			return 0
		}
		if all == 0 {
			all = w
		}
		all = together(all, w)
		letters = true
		clear = clear || !strings.ContainsRune(twins, r)
		last = r
	}
	if letters && !clear {
		markAll(s, out)
		return 0
	}
	return all
}

func mark(out []bool, yes bool) {
	for i := range out {
		out[i] = out[i] || yes
	}
}

// markAll marks all of a text that is not ASCII.
func markAll(s string, out []bool) {
	for i := range len(s) {
		out[i] = out[i] || s[i] >= utf8.RuneSelf
	}
}
