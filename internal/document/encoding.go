package document

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// Encoding is the name of a text encoding, for display.
type Encoding string

// Encodings recognised by the first bytes of a file.
const (
	UTF8    Encoding = "UTF-8"
	UTF8BOM Encoding = "UTF-8 with a byte order mark"
	UTF16LE Encoding = "UTF-16, little-endian"
	UTF16BE Encoding = "UTF-16, big-endian"
	Other   Encoding = "no UTF-8"
)

const bom = "\ufeff"

// Wide reports whether the encoding is UTF-16.
func (e Encoding) Wide() bool { return e == UTF16LE || e == UTF16BE }

// DecodeText returns the content of a file as UTF-8 for people to read, and its
// encoding. UTF-16 is decoded if there is a byte order mark and the rest is valid
// text; the mark is removed. Everything else is returned unchanged, including the
// UTF-8 mark.
func DecodeText(data []byte) (text []byte, e Encoding) {
	var order binary.ByteOrder = binary.LittleEndian
	switch {
	case bytes.HasPrefix(data, []byte(bom)) && utf8.Valid(data):
		return data, UTF8BOM
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}):
		e = UTF16LE
	case bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		order, e = binary.BigEndian, UTF16BE
	case utf8.Valid(data):
		return data, UTF8
	default:
		return data, Other
	}
	text, ok := decodeUTF16(data[2:], order)
	if !ok {
		return data, Other
	}
	return text, e
}

// decodeUTF16 decodes text; half a character or a NUL makes it fail.
func decodeUTF16(data []byte, order binary.ByteOrder) ([]byte, bool) {
	if len(data)%2 != 0 {
		return nil, false
	}
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); i += 2 {
		r := rune(order.Uint16(data[i:]))
		if utf16.IsSurrogate(r) {
			if i += 2; i == len(data) {
				return nil, false
			}
			if r = utf16.DecodeRune(r, rune(order.Uint16(data[i:]))); r == utf8.RuneError {
				return nil, false
			}
		}
		if r == 0 {
			return nil, false
		}
		out = utf8.AppendRune(out, r)
	}
	return out, true
}
