package safetext

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// latinLookalikes are letters of the Latin blocks that pass for another letter
// or for two.
const latinLookalikes = "ıĸŉſĿŀĳĲ"

// ReadableName reports whether the name of something can be read as it is by
// whoever knows its script: nothing in it hides, reorders or stands in for
// something else, each word is of one script, and no other spelling of the same
// characters looks like it. Every name of printable ASCII is one. Names that are
// not are shown with marks (see [Identity]) or quoted.
func ReadableName(s string) bool {
	if !utf8.ValidString(s) || !norm.NFKC.IsNormalString(s) {
		return false
	}
	var prev rune
	for _, r := range s {
		switch {
		case r < ' ' || r == 0x7f:
			return false
		case r < utf8.RuneSelf:
		case !shown(r) || isMark(r) && !unicode.IsLetter(prev) && !isMark(prev):
			return false
		case !unicode.IsLetter(r) && !isMark(r) && !unicode.IsDigit(r):
			return false // fail closed: signs look like other signs
		case unicode.Is(unicode.Latin, r) && !plainLatin(r):
			return false
		}
		prev = r
	}
	return oneScriptWords(s) && len(Scan([]byte(s))) == 0
}

// plainLatin reports whether r is a Latin letter of a language's alphabet rather
// than of phonetics or of typesetting.
func plainLatin(r rune) bool {
	for _, l := range latinLookalikes {
		if r == l {
			return false
		}
	}
	return r <= 0x17f || 0x1e00 <= r && r <= 0x1eff || r == 0x218 || r == 0x219 || r == 0x21a || r == 0x21b || r == 0x1a0 || r == 0x1a1 || r == 0x1af || r == 0x1b0
}

// sharedScripts are scripts that one language writes side by side.
var sharedScripts = [][]*unicode.RangeTable{
	{unicode.Han, unicode.Hiragana, unicode.Katakana},
	{unicode.Han, unicode.Hangul},
	{unicode.Han, unicode.Bopomofo},
}

// oneScriptWords reports whether no word holds letters of more than one script,
// as one that imitates another does.
func oneScriptWords(s string) bool {
	var word []*unicode.RangeTable // that all letters of the word so far may belong to
	for _, r := range s {
		letter := unicode.IsLetter(r) || r >= utf8.RuneSelf && unicode.IsDigit(r)
		if !letter {
			if !unicode.IsDigit(r) && r != '_' && !isMark(r) {
				word = nil
			}
			continue
		}
		script := scriptOf(r)
		if script == nil {
			return false // fail closed: nobody knows what it looks like
		}
		if word = joined(word, script); word == nil {
			return false
		}
	}
	return true
}

// joined is a word's scripts with one more, nil where they do not go together.
func joined(word []*unicode.RangeTable, script *unicode.RangeTable) []*unicode.RangeTable {
	for _, have := range word {
		if have == script {
			return word
		}
	}
	all := append(word[:len(word):len(word)], script)
	if len(all) == 1 {
		return all
	}
	for _, group := range sharedScripts {
		if within(all, group) {
			return all
		}
	}
	return nil
}

func within(list, group []*unicode.RangeTable) bool {
	for _, x := range list {
		found := false
		for _, y := range group {
			found = found || x == y
		}
		if !found {
			return false
		}
	}
	return true
}

// scriptOf is the script of a letter; common letters count as those of Han,
// beside which they stand, and others have none.
func scriptOf(r rune) *unicode.RangeTable {
	for _, t := range commonScripts {
		if unicode.Is(t, r) {
			return t
		}
	}
	for name, t := range unicode.Scripts {
		if name != "Common" && name != "Inherited" && unicode.Is(t, r) {
			return t
		}
	}
	if r == 'ー' || r == '々' || r == '〆' || r == '〇' {
		return unicode.Katakana
	}
	return nil
}

// commonScripts are looked at first.
var commonScripts = []*unicode.RangeTable{
	unicode.Latin, unicode.Cyrillic, unicode.Greek, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul,
	unicode.Arabic, unicode.Hebrew, unicode.Devanagari, unicode.Thai,
}
