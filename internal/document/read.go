package document

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// Reasons why a file has no structural view, for errors.Is.
var (
	// ErrUnknownFormat means that the extension is of no supported format.
	ErrUnknownFormat = errors.New("no known document format")
	// ErrNotOneDocument means that a YAML stream holds several documents.
	ErrNotOneDocument = errors.New("not one document")
	// ErrTooLarge means that the format's parser would take too long.
	ErrTooLarge = errors.New("too large for a structural view")
)

const (
	// maxDocument bounds the bytes of a JSON document.
	maxDocument = 64 << 20
	// maxForeign and maxMarks bound a YAML or TOML document: its bytes, and the
	// positions where something begins. The parsers of these formats take quadratic
	// time in the number of entries and recurse without limit; at this size they
	// stay well below a second.
	maxForeign = 1 << 20
	maxMarks   = 10_000
)

// Notes records what is lost when a document is read as a plain value. Paths are
// JSON Pointers; "path text" entries hold a path and what is written there.
type Notes struct {
	// Format is json, jsonc, yaml or toml.
	Format string
	// Duplicates are the paths of repeated members. The last one counts here; other
	// parsers take the first or refuse.
	Duplicates []string
	// Anchors are the names of YAML anchors. Aliases are replaced by values.
	Anchors []string
	// MergeKeys are the paths of objects that YAML merge keys contribute to.
	MergeKeys []string
	// Ambiguous are the paths and texts of what parsers of this format read
	// differently, or for which JSON has no type: yes and 012 in YAML, dates, tags,
	// infinities, names that are not strings, merge keys.
	Ambiguous []string
	// BOM says that a byte order mark precedes the document.
	BOM bool
}

// SameReading reports whether documents with equal values and these notes mean the
// same to every parser. Only then may a change with an empty structural patch be
// called formatting only.
func (n Notes) SameReading(m Notes) bool {
	return n.Format == m.Format && n.BOM == m.BOM && len(n.Duplicates) == 0 && len(m.Duplicates) == 0 &&
		slices.Equal(n.Ambiguous, m.Ambiguous)
}

// ParseDocument reads a configuration file by its extension, .json, .jsonc, .yaml,
// .yml or .toml, with or without the dot, in any case. The value is for comparing
// and showing, not for writing the file back: comments, anchors and spelling are
// lost. It fails closed: whatever the value cannot represent exactly is an error or
// is recorded in the notes.
func ParseDocument(ext string, data []byte) (jsonvalue.Value, Notes, error) {
	format := strings.ToLower(strings.TrimPrefix(ext, "."))
	if format == "yml" {
		format = "yaml"
	}
	read := map[string]func([]byte, *Notes) (jsonvalue.Value, error){"json": parseJSON, "jsonc": parseJSON, "yaml": parseYAML, "toml": parseTOML}[format]
	if read == nil {
		return jsonvalue.Value{}, Notes{}, fmt.Errorf("%w: %.16q", ErrUnknownFormat, ext)
	}
	notes := Notes{Format: format}
	data, notes.BOM = bytes.CutPrefix(data, []byte("\ufeff"))
	v, err := read(data, &notes)
	if err != nil {
		return jsonvalue.Value{}, notes, fmt.Errorf("reading %s document: %w", format, err)
	}
	return v, notes, nil
}

func parseJSON(data []byte, n *Notes) (v jsonvalue.Value, err error) {
	if len(data) > maxDocument {
		return jsonvalue.Value{}, ErrTooLarge
	}
	v, n.Duplicates, err = jsonvalue.DecodeDocument(data, n.Format == "jsonc")
	return v, err
}

// checkForeign applies the limits for third-party parsers.
func checkForeign(data []byte) error {
	marks := 0
	for i, c := range data {
		switch c {
		case '\n', '\r', ',', '[', '{', '&', '!', '*', '?':
			marks++
		case '-', ':':
			if i+1 < len(data) && (data[i+1] == ' ' || data[i+1] == '\t') {
				marks++
			}
		}
	}
	switch {
	case len(data) > maxForeign || marks > maxMarks:
		return ErrTooLarge
	case !utf8.Valid(data):
		return errors.New("invalid UTF-8")
	}
	return nil
}

// guarded runs a third-party parser; a panic becomes an error.
func guarded(read func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("the reader failed") // fail closed: no structural view
		}
	}()
	return read()
}
