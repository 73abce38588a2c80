package effect

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/document"
)

// This file reproduces what Write and Edit of Claude Code do to a file, as observed
// with version 2.1.329. A call is refused where that version would guess
// (typographic quotes, \u escapes), where it refuses, and where its behavior is not
// known.

// DialectClaude is Claude Code's own file tools, as their hooks describe them:
// paths are absolute, and trailing blanks of new text have already been removed.
const DialectClaude = "claude-code"

var (
	utf8BOM  = []byte("\xef\xbb\xbf")
	utf16BOM = []byte("\xff\xfe")
)

// claudeBinary is how many bytes of a file Claude Code searches for NUL.
const claudeBinary = 8 << 10

// claudeWindow is how much of a file decides its line endings, in UTF-16 units.
const claudeWindow = 4096

// claudeText returns the text of a file as Claude Code's tools see it, and the byte
// order mark that they keep.
func claudeText(c content) (text, bom []byte, err error) {
	b := c.before
	_, e := document.DecodeText(b)
	switch {
	case e.Wide():
		return nil, nil, refuseWide(c.resolvedPath, e) // fail closed: what the tool would make of it is not known
	case bytes.HasPrefix(b, utf16BOM):
		return nil, nil, refusePlan("ask the user to make this change", "%q begins like UTF-16 and is none, so the tool does not write it", c.rel())
	case !utf8.Valid(b):
		return nil, nil, refusePlan("ask the user", "%q is not valid UTF-8, so the tool does not write it", c.rel())
	case bytes.IndexByte(b[:min(len(b), claudeBinary)], 0) >= 0:
		return nil, nil, refusePlan("ask the user", "%q holds NUL bytes, so the tool does not write it", c.rel())
	}
	if bytes.HasPrefix(b, utf8BOM) {
		return b[len(utf8BOM):], utf8BOM, nil
	}
	return b, nil, nil
}

// claudeWrite computes Write: the content as given, after any existing byte order
// mark.
func claudeWrite(s string, c content) ([]byte, error) {
	_, bom, err := claudeText(c)
	if err != nil {
		return nil, err
	}
	if err := claudeNew(s); err != nil {
		return nil, err
	}
	return append(bytes.Clone(bom), s...), nil
}

// claudeNew refuses new text whose encoding on disk is not known.
func claudeNew(s string) error {
	if strings.HasPrefix(s, string(utf8BOM)) || !utf8.ValidString(s) {
		return refusePlan("write plain UTF-8 without a byte order mark", "what the tool would make of the content's first or invalid bytes is not computed")
	}
	return nil
}

// claudeEdits computes Edit, or MultiEdit if there are several edits.
func claudeEdits(c content, edits []edit) ([]byte, error) {
	raw, bom, err := claudeText(c)
	if err != nil {
		return nil, err
	}
	crlf, err := claudeCRLF(raw, c.rel())
	if err != nil {
		return nil, err
	}
	text := lf(string(raw))
	for i, e := range edits {
		if text, err = claudeEdit(text, e, i, len(edits), c); err != nil {
			return nil, err
		}
	}
	if crlf {
		text = strings.ReplaceAll(lf(text), "\n", "\r\n")
	}
	return append(bytes.Clone(bom), text...), nil
}

func claudeEdit(text string, e edit, i, n int, c content) (string, error) {
	if err := claudeNew(e.new); err != nil {
		return "", err
	}
	if e.old == e.new {
		return "", refusePlan("send an edit that changes something", "the old and the new text of edit %d are the same", i+1)
	}
	if e.old == "" {
		if n != 1 || jsTrim(text) != "" || strings.Contains(text, "\r") {
			return "", refusePlan("give the text to replace", "edit %d has no text to replace, and %q is not empty", i+1, c.rel())
		}
		return e.new, nil
	}
	switch found := strings.Count(text, e.old); {
	case found == 0:
		// fail closed: the tool would try other spellings of quotes and escapes
		return "", refusePlan("read the file again and give the text exactly as it is there, quotes and escapes included",
			"the text to replace of edit %d is not in %q as it was given", i+1, c.rel())
	case found > 1 && !e.all:
		return "", refusePlan("add lines around it until it is unique, or set replace_all", "the text to replace of edit %d is in %q %d times", i+1, c.rel(), found)
	case len(text)+found*max(0, len(e.new)-len(e.old)) > MaxText:
		return "", refusePlan("replace fewer at once", "%q would have more than %d bytes", c.rel(), MaxText)
	}
	old := e.old
	if e.new == "" && !strings.HasSuffix(old, "\n") && strings.Contains(text, old+"\n") {
		old += "\n" // removing text also removes its line ending
	}
	if e.all {
		return strings.ReplaceAll(text, old, e.new), nil
	}
	return strings.Replace(text, old, e.new, 1), nil
}

// claudeCRLF reports whether the tool writes the file's lines with CRLF, which it
// does if most lines at the start of the file end so.
func claudeCRLF(raw []byte, name string) (bool, error) {
	if !bytes.Contains(raw, []byte("\r\n")) {
		return false, nil
	}
	ends := 0
	for units, i := 0, 0; i < len(raw) && units < claudeWindow; {
		r, size := utf8.DecodeRune(raw[i:])
		units++
		if r > 0xffff {
			units++
		}
		i += size
		ends = i
	}
	// It is not known whether the window counts bytes or units, or whether it may
	// split a CRLF. Where that matters, the answer is no.
	first, known := false, false
	for _, at := range []int{min(len(raw), claudeWindow-1), min(len(raw), claudeWindow), min(len(raw), ends)} {
		head := raw[:at]
		pairs := bytes.Count(head, []byte("\r\n"))
		crlf := pairs > bytes.Count(head, []byte("\n"))-pairs
		if known && crlf != first {
			// fail closed: the whole file's line ends depend on it
			return false, refusePlan("write the whole file", "%q has line ends of both kinds; which the tool would write is not known", name)
		}
		first, known = crlf, true
	}
	return first, nil
}
