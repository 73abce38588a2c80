package effect

import (
	"bytes"
	"fmt"
	"os"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/document"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/safetext"
)

// Hazards that a plan finds by itself.
const (
	HazardOpaque      = "opaque"
	HazardUnproven    = "unproven_version"
	HazardLink        = "symbolic_link"
	HazardDangling    = "link_left_behind"
	HazardHardLink    = "hard_link"
	HazardExecutable  = "executable"
	HazardMode        = "mode_changed"
	HazardOwner       = "owner_changed"
	HazardBinary      = "binary"
	HazardInvalidUTF8 = "invalid_utf8"
	HazardLineEndings = "line_endings"
	HazardEncoding    = "encoding"
	HazardBOM         = "byte_order_mark"
	HazardReadOnly    = "read_only"
	HazardAttributes  = "attributes_lost"
	HazardEmptied     = "emptied"
	HazardLarge       = "large_change"
	HazardCoarse      = "coarse_diff"
	HazardRewritten   = "layout_lost"
	HazardBroken      = "document_broken"
	HazardDuplicate   = "duplicate_member"
)

// Larger changes are more than a person reads.
const (
	largeLines = 2000
	largeText  = 256 << 10
)

func hazard(kind, format string, args ...any) guard.Hazard {
	return guard.Hazard{Kind: kind, Text: fmt.Sprintf(format, args...)}
}

// contentHazards lists what a reviewer must not miss about a change to a file, in a
// fixed order.
func (b *Binding) contentHazards(c content, v texts, r diff.Result, text int) []guard.Hazard {
	out := c.hazards
	add := func(kind, format string, args ...any) {
		out = append(out, guard.Hazard{Kind: kind, Text: fmt.Sprintf(format, args...)})
	}
	if r.Coarse {
		add(HazardCoarse, "the change is too large to be compared closely; unchanged lines may show as changed")
	}
	if r.Binary {
		add(HazardBinary, "the content is binary and not shown")
	}
	if !r.Binary && (r.Added+r.Removed > largeLines || text > largeText) {
		add(HazardLarge, "%d lines change", r.Added+r.Removed)
	}
	if len(c.before) > 0 && len(c.after) == 0 {
		add(HazardEmptied, "the file is emptied")
	}
	out = append(out, encodingHazards(c, v, r)...)
	if !r.Binary {
		out = append(out, secretHazards("adds", addedText(r))...)
	}
	if !c.exists {
		return append(out, textHazards(bytes.TrimPrefix(v.after, utf8BOM))...)
	}
	out = append(out, b.fileHazards(c, text > 0)...)
	return append(out, addedHazards(v, r)...)
}

// encodingHazards lists changes to a file's encoding and line endings.
func encodingHazards(c content, v texts, r diff.Result) (out []guard.Hazard) {
	add := func(kind, format string, args ...any) { out = append(out, hazard(kind, format, args...)) }
	marked := func(e document.Encoding) bool { return e == document.UTF8BOM }
	switch {
	case (v.from.Wide() || v.to.Wide()) && v.from != v.to && c.exists && len(c.after) > 0:
		add(HazardEncoding, "the file is %s and will be %s; programs that read it may not expect that", v.from, v.to)
	case v.to.Wide() && !c.exists:
		add(HazardEncoding, "the new file is %s", v.to)
	case !r.Binary && utf8.Valid(v.before) && !utf8.Valid(v.after):
		add(HazardInvalidUTF8, "the file will not be valid UTF-8")
	case len(c.hazards) == 0 && !r.Binary && len(r.Hunks) > 0 && !utf8.Valid(v.before):
		add(HazardInvalidUTF8, "the file holds bytes that are not valid UTF-8; where they are shown they cannot be told apart")
	case marked(v.from) && !marked(v.to) && len(c.after) > 0:
		add(HazardBOM, "the byte order mark at the beginning of the file goes; programs that need it take the file for another encoding")
	case marked(v.to) && !marked(v.from):
		add(HazardBOM, "the file will begin with a byte order mark, which nobody sees and which many programs take for content")
	}
	if before, after := crlfCount(v.before), crlfCount(v.after); len(c.before) > 0 && !r.Binary {
		switch {
		case before > 0 && after == 0 && len(c.after) > 0:
			add(HazardLineEndings, "the line endings of the whole file change from CRLF to LF (%d lines)", before)
		case before == 0 && after > 0:
			add(HazardLineEndings, "%d lines will end in CRLF; none did", after)
		}
	}
	return out
}

// fileHazards lists changes to an existing file other than its content.
func (b *Binding) fileHazards(c content, changes bool) (out []guard.Hazard) {
	add := func(kind, format string, args ...any) { out = append(out, hazard(kind, format, args...)) }
	if c.stat.perm()&0o111 != 0 && changes {
		add(HazardExecutable, "changes an executable file")
	}
	if c.mode != 0 && c.mode != c.stat.perm() {
		add(HazardMode, "the mode changes from %04o to %04o", c.stat.perm(), c.mode)
	}
	if !b.replaces() || !changes && b.dialect == DialectWorkspace {
		return out // the built-in server does not touch a file that already has the content
	}
	// The following holds because a new file replaces the old one.
	if c.stat.nlink > 1 {
		add(HazardHardLink, "breaks hard links: the file's other %d names keep the old content", c.stat.nlink-1)
	}
	if int(c.stat.uid) != os.Geteuid() {
		add(HazardOwner, "the file's owner changes from user %d to user %d", c.stat.uid, os.Geteuid())
	}
	if c.stat.readOnly() {
		add(HazardReadOnly, "the file is read-only (%04o); it is replaced all the same", c.stat.perm())
	}
	if len(c.attributes) > 0 {
		add(HazardAttributes, "extended attributes of the file are lost: %s", named(c.attributes))
	}
	return out
}

func crlfCount(b []byte) int { return bytes.Count(b, []byte("\r\n")) }

// addedHazards looks for hostile characters in new lines. Lines keep their numbers:
// unchanged lines are blanked.
func addedHazards(v texts, r diff.Result) []guard.Hazard {
	if r.Binary {
		return nil
	}
	var added bytes.Buffer
	line := 1
	for _, h := range r.Hunks {
		for _, l := range h.Lines {
			if l.Kind != diff.Insert {
				continue
			}
			for ; line < l.New; line++ {
				added.WriteByte('\n')
			}
			text := l.Text
			if l.New == 1 && v.to == document.UTF8BOM {
				text = bytes.TrimPrefix(text, utf8BOM) // kept, or already reported
			}
			added.Write(text)
			if !l.NoEOL {
				added.WriteByte('\n')
				line++
			}
		}
	}
	return textHazards(added.Bytes())
}

// textHazards lists characters that could mislead a reader of text.
func textHazards(text []byte) []guard.Hazard {
	var out []guard.Hazard
	for _, f := range safetext.Scan(text) {
		out = append(out, guard.Hazard{Kind: string(f.Kind), Text: f.String()})
	}
	return out
}

// nameHazards lists such characters in the paths that a call names.
func nameHazards(places []resolvedPath) []guard.Hazard {
	var out []guard.Hazard
	for _, p := range places {
		for _, f := range safetext.Scan([]byte(p.rel())) {
			out = append(out, guard.Hazard{Kind: string(f.Kind), Text: "in the name of the file: " + f.String()})
		}
	}
	return out
}
