package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/digest"
)

// Limits of a tool definition.
const (
	MaxDefinition      = 1 << 20 // bytes
	maxDefinitionDepth = 100
)

// definitionDomain separates these digests from all others and gives their version.
const definitionDomain = "mcpguard/definition/v1"

// DefinitionHash returns the digest of a tool definition as a server lists it. It
// ignores the order of members, white space and escapes, but covers every value.
// Numbers are compared as written, so no two are confused. A definition with a
// duplicate member has no digest.
func DefinitionHash(raw []byte) (digest.Digest, error) {
	canonical, err := canonicalDefinition(raw)
	if err != nil {
		return digest.Digest{}, fmt.Errorf("reading a tool definition: %w", err)
	}
	return digest.NewHasher(definitionDomain).Field("definition", canonical).Digest(), nil
}

func canonicalDefinition(raw []byte) ([]byte, error) {
	if len(raw) > MaxDefinition {
		return nil, fmt.Errorf("it has %d bytes; at most %d are taken", len(raw), MaxDefinition)
	}
	if !utf8.Valid(raw) {
		return nil, errors.New("it is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var out bytes.Buffer
	if err := writeCanonical(&out, dec, 0); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows it")
	}
	if out.Len() == 0 || out.Bytes()[0] != '{' {
		return nil, errors.New("it is not an object")
	}
	return out.Bytes(), nil
}

// writeCanonical copies one value with the members of objects sorted by name.
func writeCanonical(w *bytes.Buffer, dec *json.Decoder, depth int) error {
	if depth > maxDefinitionDepth {
		return errors.New("it is nested too deeply")
	}
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	switch t := tok.(type) {
	case json.Delim:
		if t == '[' {
			return writeArray(w, dec, depth)
		}
		return writeObject(w, dec, depth)
	case json.Number:
		w.WriteString(t.String())
	case string:
		writeString(w, t)
	case bool:
		fmt.Fprint(w, t)
	default:
		w.WriteString("null")
	}
	return nil
}

func writeArray(w *bytes.Buffer, dec *json.Decoder, depth int) error {
	w.WriteByte('[')
	for first := true; dec.More(); first = false {
		if !first {
			w.WriteByte(',')
		}
		if err := writeCanonical(w, dec, depth+1); err != nil {
			return err
		}
	}
	w.WriteByte(']')
	_, err := dec.Token()
	return err
}

func writeObject(w *bytes.Buffer, dec *json.Decoder, depth int) error {
	type member struct{ name, value string }
	var members []member
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := tok.(string)
		var v bytes.Buffer
		if err := writeCanonical(&v, dec, depth+1); err != nil {
			return err
		}
		members = append(members, member{name, v.String()})
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	w.WriteByte('{')
	for i, m := range members {
		if i > 0 {
			if members[i-1].name == m.name {
				return fmt.Errorf("the member %q is there twice", m.name)
			}
			w.WriteByte(',')
		}
		writeString(w, m.name)
		w.WriteByte(':')
		w.WriteString(m.value)
	}
	w.WriteByte('}')
	return nil
}

func writeString(w *bytes.Buffer, s string) {
	b, _ := json.Marshal(s) // encoding a string never fails
	w.Write(b)
}
