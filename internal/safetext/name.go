package safetext

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// ReadableName reports whether the name of something can be read as it is by
// whoever knows its script: [Identity] would mark nothing in it. Every name of
// printable ASCII is one, blanks at its ends aside.
func ReadableName(s string) bool {
	return utf8.ValidString(s) && strings.Trim(s, " ") == s &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) &&
		!slices.Contains(Deceptive(s), true) && !strings.Contains(Text(s).String(), "⟨")
}
