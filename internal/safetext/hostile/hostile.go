// Package hostile is a corpus of text that attacks whoever shows it, for the
// tests of everything that shows text: console, commands, logs and audit.
//
// Each case is meant to be pushed through every field that an agent or upstream
// can fill, and [Check] to be run over what comes out. The package will not make
// anything safe, and no program imports it.
package hostile

import (
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"
)

// Case is one hostile string.
type Case struct {
	Name string // unique, fit for a subtest
	Text string // may be invalid UTF-8
}

// Corpus returns the cases. The slice is the caller's.
func Corpus() []Case {
	return slices.Concat(controls(), hidden(), composed(), lookAlikes(), broken(), foreign())
}

// controls is what drives a terminal.
func controls() []Case {
	return []Case{
		{"nul", "a\x00b"},
		{"all-c0", "\x01\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1c\x1d\x1e\x1f"},
		{"delete", "rm\x7f\x7fls"},
		{"backspace", "rm -rf /\b\b\b\b\b\b\b\bls -l   "},
		{"carriage-return", "rm -rf /\rls -l     "},
		{"newline", "harmless\nAPPROVED by root\n"},
		{"crlf", "one\r\ntwo\r\n"},
		{"vertical-tab-form-feed", "a\vb\fc"},
		{"tabs", "\ta\tb\t\t"},
		{"csi-clear", "\x1b[2J\x1b[H"},
		{"csi-colour", "\x1b[8mhidden\x1b[0m"},
		{"csi-cursor-up", "\x1b[1A\x1b[2Kforged line"},
		{"csi-report", "\x1b[6n\x1b[c"},
		{"csi-unfinished", "\x1b["},
		{"esc-alone", "\x1b"},
		{"esc-reset", "\x1bc"},
		{"osc-title", "\x1b]0;approve --yes\x07"},
		{"osc-hyperlink", "\x1b]8;;https://evil.example\x1b\\safe.example\x1b]8;;\x1b\\"},
		{"osc-clipboard", "\x1b]52;c;cm0gLXJmIC8K\x07"},
		{"dcs", "\x1bP$q\"p\x1b\\"},
		{"c1-csi", "\u009b31mred"},
		{"c1-raw-byte", "\x9b31mred"},
		{"c1-nel", "a\u0085b"},
	}
}

// hidden is what reorders text or does not show.
func hidden() []Case {
	return []Case{
		{"bidi-override", "access\u202e txt.exe\u202c"},
		{"bidi-isolate", "if admin\u2066 // check\u2069 {"},
		{"bidi-marks", "a\u200eb\u200fc\u061cd"},
		{"bidi-deprecated", "a\u206a\u206fb"},
		{"rtl-letters", "rm \u05d0\u05d1\u05d2 /etc/passwd"},
		{"zero-width-space", "pass\u200bword"},
		{"zero-width-joiner", "pass\u200dword\u200c"},
		{"word-joiner", "a\u2060b\u2061\u2062\u2063\u2064"},
		{"bom", "\ufeffa\ufeff"},
		{"soft-hyphen", "ad\u00admin"},
		{"line-separator", "a\u2028b\u2029c"},
		{"no-break-space", "rm\u00a0-rf"},
		{"blank-spaces", "a\u2002\u2003\u2009\u200a\u202f\u205f\u3000\u1680b"},
		{"hangul-filler", "a\u3164b\uffa0c\u115f\u1160"},
		{"braille-blank", "a\u2800b"},
		{"mongolian-separator", "a\u180eb\u180b"},
		{"grapheme-joiner", "a\u034fb"},
		{"null-notehead", "a\U0001d159b"},
		{"musical-format", "a\U0001d173\U0001d17ab"},
		{"interlinear", "a\ufff9b\ufffac\ufffb"},
		{"variation-selectors", "a\ufe00\ufe0fb"},
		{"variation-smuggling", "ok\U000e0100\U000e0148\U000e0155\U000e0155\U000e015f"},
		{"tag-smuggling", "ok\U000e0064\U000e0065\U000e006c\U000e0065\U000e0074\U000e0065\U000e007f"},
	}
}

// composed is what takes several runes to one place on the screen.
func composed() []Case {
	return []Case{
		{"emoji-family", "\U0001f468\u200d\U0001f469\u200d\U0001f467"},
		{"emoji-modifier", "\U0001f44d\U0001f3fd"},
		{"flag", "\U0001f1e9\U0001f1ea"},
		{"keycap", "1\ufe0f\u20e3"},
		{"zalgo", "z\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308\u0309\u030a"},
		{"strike-through", "t\u0336r\u0336u\u0336e\u0336"},
		{"overlay", "=\u0338"},
		{"leading-mark", "\u0301\u0302abc"},
		{"enclosing", "a\u20dd\u20e3\u0488"},
		{"virama-chain", "\u0915\u094d\u0915\u094d\u0915\u094d\u0915\u094d\u0915\u094d\u0915\u094d\u0915"},
		{"jamo-run", "\u1100\u1100\u1161\u1161\u11a8\u11a8"},
		{"half-width-marks", "a\uff9e\uff9e\uff9e\uff9f"},
	}
}

// lookAlikes is what looks like something else.
func lookAlikes() []Case {
	return []Case{
		{"homoglyph-cyrillic", "p\u0430ypal.com"},
		{"homoglyph-whole-word", "\u0440\u0430\u0443\u0440\u0430\u04cf login"},
		{"homoglyph-greek", "g\u03bf\u03bfgle"},
		{"mathematical", "\U0001d429\U0001d41a\U0001d432"},
		{"full-width", "ｒｍ　－ｒｆ"},
		{"forged-marker", "\u27e8U+202E\u27e9 \u27e8ESC\u27e9"},
		{"forged-marker-ascii", "<U+202E> <ESC> <0x9b> <"},
		{"forged-marker-look-alike", "\u2329ESC\u232a \u3008ESC\u3009 \u276cESC\u276d"},
		{"forged-signs", "a\u23ceb\u21e5c"},
	}
}

// broken is bytes that are no text, and runes that stand for nothing.
func broken() []Case {
	return []Case{
		{"invalid-utf8", "a\xffb\xfe\xc0\xafc"},
		{"truncated-utf8", "a\xe2\x82"},
		{"utf8-surrogate", "\xed\xa0\x80\xed\xb0\x80"},
		{"overlong-nul", "a\xc0\x80b"},
		{"beyond-unicode", "\xf4\x90\x80\x80"},
		{"replacement", "a\ufffdb\ufffc"},
		{"private-use", "a\ue000\U000f0000b"},
		{"noncharacter", "a\uffff\U0010ffff"},
	}
}

// foreign is what other readers obey: shells, pages, formats, tables.
func foreign() []Case {
	return []Case{
		{"shell", "$(rm -rf ~) `id` ; && | > /dev/null"},
		{"markup", "<script>alert(1)</script> [x](javascript:y) **b**"},
		{"format-verbs", "%s%d%!x(MISSING)%n"},
		{"template", "{{.Secret}} ${HOME} {name}"},
		{"tsv", "a\tb\tc\nforged\trow\t1"},
		{"quotes", "\"'`\\\\\" \\n \\u202e"},
		{"spaces-at-the-ends", "  name  "},
		{"empty", ""},
	}
}

// Check returns an error when out, output for a terminal, holds anything that no
// untrusted text may put there: control characters other than newline, invalid
// UTF-8, runes that hide or reorder. styled permits the escape sequences for
// colours and attributes (CSI … m), which the program itself writes.
func Check(out []byte, styled bool) error {
	for i := 0; i < len(out); {
		if n := sgr(out[i:]); styled && n > 0 {
			i += n
			continue
		}
		r, n := utf8.DecodeRune(out[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return fmt.Errorf("byte %d: invalid UTF-8 0x%02x", i, out[i])
		case r == '\n':
		case unicode.IsControl(r):
			return fmt.Errorf("byte %d: control character %U", i, r)
		case unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return fmt.Errorf("byte %d: format character %U", i, r)
		case unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r), unicode.Is(unicode.Variation_Selector, r):
			return fmt.Errorf("byte %d: invisible %U", i, r)
		case r != ' ' && unicode.Is(unicode.Zs, r):
			return fmt.Errorf("byte %d: blank %U", i, r)
		case unicode.Is(unicode.Co, r), !unicode.IsGraphic(r):
			return fmt.Errorf("byte %d: unprintable %U", i, r)
		}
		i += n
	}
	return nil
}

// sgr returns the length of the colour sequence at the start of b, 0 if there is
// none.
func sgr(b []byte) int {
	if len(b) < 3 || b[0] != 0x1b || b[1] != '[' {
		return 0
	}
	for i := 2; i < len(b) && i < 40; i++ {
		switch c := b[i]; {
		case c == 'm':
			return i + 1
		case c >= '0' && c <= '9', c == ';', c == ':':
		default:
			return 0
		}
	}
	return 0
}
