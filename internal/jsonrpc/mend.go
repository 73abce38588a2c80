package jsonrpc

import "unicode/utf8"

// Mend returns a copy of a frame in which each byte that is no UTF-8 and each
// lone surrogate is U+FFFD, and how many there were. It is for answers of
// servers, which cut texts in the middle of a character: the rest of such an
// answer means one thing only. Whether the result is a message, Admit says.
func Mend(frame []byte) (mended []byte, places int) {
	mended = make([]byte, 0, len(frame)+16)
	for i := 0; i < len(frame); {
		c := frame[i]
		switch {
		case c == '\\':
			_, n, why := escape(frame[i:])
			switch {
			case why == LoneSurrogate:
				mended, places, i = append(mended, `\ufffd`...), places+1, i+6
			case n == 0: // no escape; Admit refuses it
				mended, i = append(mended, c), i+1
			default:
				mended, i = append(mended, frame[i:i+n]...), i+n
			}
		case c < utf8.RuneSelf:
			mended, i = append(mended, c), i+1
		default:
			r, n := utf8.DecodeRune(frame[i:])
			if r == utf8.RuneError && n == 1 {
				places++
			}
			mended, i = utf8.AppendRune(mended, r), i+n
		}
	}
	return mended, places
}
