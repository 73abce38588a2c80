package safetext

import (
	"unicode"
)

// mimics reports whether r is a letter of another script that looks like a Latin
// one in most fonts.
func mimics(r rune) bool {
	switch r {
	case 'а', 'в', 'е', 'ԁ', 'һ', 'і', 'ј', 'ӏ', 'к', 'м', 'н', 'о', 'ԛ', 'р', 'ѕ', 'т', 'с', 'ѵ', 'у', 'х', 'ԝ', 'А', 'В', 'Е', 'Ԍ', 'Н', 'І', 'Ј', 'К', 'М', 'О', 'Р', 'Ѕ', 'Т', 'С', 'У', 'Х', 'Ү', 'Ԝ': // Cyrillic
		return true
	case 'α', 'ν', 'ο', 'ρ', 'ι', 'υ', 'κ', 'χ', 'ϳ', 'Α', 'Β', 'Ε', 'Ζ', 'Η', 'Ι', 'Κ', 'Μ', 'Ν', 'Ο', 'Ρ', 'Τ', 'Υ', 'Χ': // Greek
		return true
	case 'ո', 'ս', 'օ', 'ց', 'հ', 'Լ', 'Տ', 'Ս', 'Օ': // Armenian
		return true
	case 'Ꭺ', 'Ᏼ', 'Ꮯ', 'Ꭰ', 'Ꭼ', 'Ꮋ', 'Ꭻ', 'Ꮶ', 'Ꮮ', 'Ꮇ', 'Ꮲ', 'Ꭱ', 'Ꮪ', 'Ꭲ', 'Ꮩ', 'Ꮃ', 'Ꮓ': // Cherokee
		return true
	}
	return false
}

// wordScan finds words that mix Latin with look-alikes of other scripts, and
// words made of look-alikes alone, which count only on a line of Latin text
// without any word that is clearly in the other script.
type wordScan struct {
	start         int
	latinIn       bool // the word has Latin letters
	foreign       bool // … letters of a script with look-alikes
	mimic         bool // … among them look-alikes
	styled        bool // … full-width forms of Latin letters
	formula       bool // … mathematical forms of Latin letters
	onlyMimics    bool
	letters       int
	inWord        bool
	mixed, mimics []int
	clear, latin  bool // on the line
}

func (w *wordScan) rune(r rune, offset int, bad bool) {
	if bad || !(unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' || r >= 0x300 && unicode.Is(unicode.M, r)) {
		w.end()
		return
	}
	if !w.inWord {
		*w = wordScan{start: offset, inWord: true, onlyMimics: true, mixed: w.mixed, mimics: w.mimics, clear: w.clear, latin: w.latin}
	}
	if !unicode.IsLetter(r) {
		return
	}
	w.letters++
	switch {
	case asciiLetter(r):
		w.latinIn, w.onlyMimics = true, false
	case r < 0x370:
		w.latinIn = w.latinIn || unicode.Is(unicode.Latin, r)
		w.onlyMimics = false
	case 0x1d400 <= r && r <= 0x1d7ff:
		w.formula, w.onlyMimics = true, false
	case 0xff21 <= r && r <= 0xff5a:
		w.styled, w.onlyMimics = true, false
	case mimics(r):
		w.foreign, w.mimic = true, true
	case unicode.In(r, unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Cherokee):
		// μ, π, Δ and other Greek letters stand in Latin words for what they are.
		w.foreign = w.foreign || !unicode.Is(unicode.Greek, r)
		w.onlyMimics = false
	default:
		w.onlyMimics = false
	}
}

func (w *wordScan) end() {
	if !w.inWord {
		return
	}
	w.inWord = false
	w.latin = w.latin || w.latinIn
	switch {
	case w.latinIn && (w.foreign || w.styled), w.formula && w.letters > 1:
		w.mixed = append(w.mixed, w.start)
	case w.styled:
		w.mimics = append(w.mimics, w.start)
	case w.onlyMimics && w.mimic && w.letters > 1:
		w.mimics = append(w.mimics, w.start)
	case w.foreign && !w.onlyMimics:
		w.clear = true
	}
}
