package document

import (
	"encoding/binary"
	"testing"
	"unicode/utf16"
)

func utf16Bytes(order binary.AppendByteOrder, s string) (out []byte) {
	for _, u := range utf16.Encode([]rune("\ufeff" + s)) {
		out = order.AppendUint16(out, u)
	}
	return out
}

func TestDecodeText(t *testing.T) {
	const text = "größer\r\n\U0001f600 日本\n"
	for name, c := range map[string]struct {
		data []byte
		text string
		e    Encoding
	}{
		"nothing":         {nil, "", UTF8},
		"UTF-8":           {[]byte(text), text, UTF8},
		"a mark":          {[]byte("\ufeff" + text), "\ufeff" + text, UTF8BOM},
		"little-endian":   {utf16Bytes(binary.LittleEndian, text), text, UTF16LE},
		"big-endian":      {utf16Bytes(binary.BigEndian, text), text, UTF16BE},
		"only a mark":     {[]byte{0xff, 0xfe}, "", UTF16LE},
		"half a unit":     {[]byte{0xff, 0xfe, 'a'}, "\xff\xfea", Other},
		"half a pair":     {[]byte{0xff, 0xfe, 0x3d, 0xd8}, "\xff\xfe\x3d\xd8", Other},
		"a wrong pair":    {[]byte{0xff, 0xfe, 0x3d, 0xd8, 'a', 0}, "\xff\xfe\x3d\xd8a\x00", Other},
		"UTF-32":          {[]byte{0xff, 0xfe, 0, 0, 'a', 0, 0, 0}, "\xff\xfe\x00\x00a\x00\x00\x00", Other},
		"no text":         {[]byte("a\xff"), "a\xff", Other},
		"a mark, no text": {[]byte("\ufeffa\xff"), "\ufeffa\xff", Other},
	} {
		if got, e := DecodeText(c.data); string(got) != c.text || e != c.e {
			t.Errorf("%s: %q, %s; want %q, %s", name, got, e, c.text, c.e)
		}
	}
}
