package safetext

import (
	"unicode"
)

// maxMarks is how many combining marks a letter may carry. Vietnamese, Hebrew,
// Arabic and Thai need two; stacks of them run into the lines above.
const maxMarks = 2

// notShown are printable runes that are marked all the same.
var notShown = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x034f, 0x034f, 1}, // combining grapheme joiner
		{0x0334, 0x0338, 1}, // overlays: strike a letter through
		{0x1100, 0x11ff, 1}, // conjoining Hangul, fillers among it
		{0x17b4, 0x17b5, 1}, // Khmer inherent vowels, invisible
		{0x20d0, 0x20ff, 1}, // marks for symbols: overlays, enclosures
		{0x21e5, 0x21e5, 1}, // ⇥
		{0x2329, 0x232a, 1}, // look-alikes of the brackets
		{0x23ce, 0x23ce, 1}, // ⏎
		{0x276c, 0x276d, 1},
		{0x2770, 0x2771, 1},
		{0x27e8, 0x27e9, 1}, // ⟨ ⟩
		{0x2800, 0x2800, 1}, // Braille blank
		{0x29fc, 0x29fd, 1},
		{0x3008, 0x3009, 1},
		{0x3164, 0x3164, 1}, // Hangul filler
		{0xa960, 0xa97f, 1}, // conjoining Hangul
		{0xd7b0, 0xd7ff, 1},
		{0xfe00, 0xfe0f, 1}, // variation selectors
		{0xff9e, 0xffa0, 1}, // half-width voiced sound marks, which stack; half-width Hangul filler
		{0xfffc, 0xfffd, 1}, // object replacement, replacement
	},
	R32: []unicode.Range32{
		{0x13441, 0x13446, 1}, // Egyptian blanks and lost signs
		{0x16fe4, 0x16fe4, 1}, // Khitan filler
		{0x1d159, 0x1d159, 1}, // null notehead
		{0x1d167, 0x1d169, 1}, // tremolo overlays
		{0x1f1e6, 0x1f1ff, 1}, // regional indicators
		{0x1f3fb, 0x1f3ff, 1}, // emoji modifiers
		{0xe0000, 0xe0fff, 1}, // tags, more variation selectors
	},
}

// ignorable is what renders as nothing, format characters aside.
var ignorable = []*unicode.RangeTable{unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector}

// shown reports whether r, which is not ASCII, may be shown where it is not a
// combining mark.
func shown(r rune) bool {
	return unicode.IsPrint(r) && !unicode.Is(notShown, r) && !unicode.IsOneOf(ignorable, r)
}

// isMark reports whether r, beyond ASCII, joins the rune before it: marks, and
// the Thai and Lao vowel AM, which is a letter to Unicode.
func isMark(r rune) bool {
	return r >= 0x300 && (unicode.Is(unicode.M, r) || r == 0x0e33 || r == 0x0eb3)
}

// maxLinks is how many consonants a virama may tie to the one before. Some
// terminals give such a chain one column, others one for each.
const maxLinks = 3

// virama are the marks that tie the next letter to their own.
func virama(r rune) bool {
	switch r {
	case 0x094d, 0x09cd, 0x0acd, 0x0b4d, 0x0c4d, 0x0d4d:
		return true
	}
	return false
}

// bidiControl are the runes that reorder what stands around them.
func bidiControl(r rune) bool {
	switch {
	case r == 0x061c, r == 0x200e, r == 0x200f:
	case 0x202a <= r && r <= 0x202e, 0x2066 <= r && r <= 0x2069, 0x206a <= r && r <= 0x206f:
	default:
		return false
	}
	return true
}

func variationSelector(r rune) bool {
	return 0xfe00 <= r && r <= 0xfe0f || 0xe0100 <= r && r <= 0xe01ef || 0x180b <= r && r <= 0x180f && r != 0x180e
}

func tagCharacter(r rune) bool { return 0xe0000 <= r && r <= 0xe007f }

// invisible reports whether r, beyond ASCII and none of the above, renders as
// nothing or as blank.
func invisible(r rune) bool {
	switch {
	case unicode.IsOneOf(ignorable, r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Z, r):
		return true
	case r == 0x2800, r == 0x1d159, r == 0x16fe4, 0x13441 <= r && r <= 0x13446, 0xe0000 <= r && r <= 0xe0fff:
		return true
	}
	return false
}

// Seen reports whether r puts ink on a screen by itself: no blank, no control,
// no mark that needs a letter, nothing that renders as nothing or is not assigned.
func Seen(r rune) bool {
	return unicode.IsPrint(r) && r != ' ' && r != '\ufffc' && r != '\ufffd' && !isMark(r) && !invisible(r) && !variationSelector(r)
}

// rightToLeft reports whether r belongs to a script written from right to left.
func rightToLeft(r rune) bool {
	return 0x590 <= r && r <= 0x8ff || 0xfb1d <= r && r <= 0xfdff || 0xfe70 <= r && r <= 0xfefe ||
		0x10800 <= r && r <= 0x10fff || 0x1e800 <= r && r <= 0x1efff
}

// controlNames are the short names of the C0 controls.
const controlNames = "NULSOHSTXETXEOTENQACKBELBS TABLF VT FF CR SO SI DLEDC1DC2DC3DC4NAKSYNETBCANEM SUBESCFS GS RS US "

// controlName returns the short name of a C0 control or DEL, "" for others.
func controlName(r rune) string {
	if r == 0x7f {
		return "DEL"
	}
	if r < 0 || r >= 0x20 {
		return ""
	}
	name := controlNames[3*r : 3*r+3]
	for name[len(name)-1] == ' ' {
		name = name[:len(name)-1]
	}
	return name
}
