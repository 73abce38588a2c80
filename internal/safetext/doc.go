// Package safetext makes text that an agent or an upstream wrote safe to show on
// a terminal.
//
// It is an allow-list: a rune is shown only if it is printable and cannot hide,
// reorder, overlay or stand in for something else; everything else becomes a
// visible marker, and nothing is dropped. A [Line] can be made here alone, so a
// view that takes Lines cannot be handed raw text by mistake. [Scan] lists the
// hazards of a whole payload.
//
// The package will not strip, normalise or translate text, read or write
// terminals, produce escape sequences, or decide what a hazard means for a call.
//
// # What is shown
//
// Shown are the plain space and every rune that Unicode calls a letter, mark,
// number, punctuation or symbol, except: default-ignorable runes and variation
// selectors; runes that look blank (Hangul fillers, the Braille blank, …); U+FFFC
// and U+FFFD; regional indicators, emoji modifiers and conjoining Hangul vowels
// and finals, whose width terminals disagree about; enclosing marks and the marks
// that strike a letter through; a combining mark without a letter before it, or
// the third one and later on a letter; and the brackets ⟨ ⟩ of the markers with
// their look-alikes, and the signs ⏎ and ⇥.
//
// # Markers
//
// A marker is ⟨U+202E⟩ for a rune, ⟨ESC⟩ for a control character that has a
// short name, and ⟨0xff⟩ for a byte that is not UTF-8. A newline is shown as ⏎,
// a tab as ⇥ and spaces up to the next column that is a multiple of four. A
// bracket in the text is itself marked, ⟨U+27E8⟩, so no text can look like a
// marker, and two different texts never look the same: [Text] is injective.
//
// # Names
//
// What names something is shown with [Identity]: letters of one script, accented
// Latin among them, are as they are, and what could pass for another name is a
// marker. [Deceptive] says what that is.
//
// With [Style].ASCII the markers are <U+202E>, <ESC>, <0xff>, <LF> and <TAB>, every
// rune beyond ASCII is marked, and a "<" in the text is marked only where it
// would begin something that reads as a marker, or ends the text.
package safetext
