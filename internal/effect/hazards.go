package effect

import (
	"bytes"
	"fmt"
	"os"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/safetext"
)

// The hazards that a plan finds by itself.
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
	HazardEmptied     = "emptied"
	HazardLarge       = "large_change"
	HazardCoarse      = "coarse_diff"
	HazardRewritten   = "layout_lost"
	HazardBroken      = "document_broken"
	HazardDuplicate   = "duplicate_member"
)

// A change beyond these is more than a person reads.
const (
	largeLines = 2000
	largeText  = 256 << 10
)

func hazard(kind, format string, args ...any) guard.Hazard {
	return guard.Hazard{Kind: kind, Text: fmt.Sprintf(format, args...)}
}

// contentHazards lists what a reviewer must not miss about a file's change, in
// a fixed order.
func (b *Binding) contentHazards(c content, r diff.Result, text int) []guard.Hazard {
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
	if !r.Binary && utf8.Valid(c.before) && !utf8.Valid(c.after) {
		add(HazardInvalidUTF8, "the file will not be valid UTF-8")
	}
	if shown := len(c.hazards) > 0; !shown && !r.Binary && len(r.Hunks) > 0 && !utf8.Valid(c.before) {
		add(HazardInvalidUTF8, "the file holds bytes that are not valid UTF-8; where they are shown they cannot be told apart")
	}
	if before, after := crlfCount(c.before), crlfCount(c.after); len(c.before) > 0 && !r.Binary {
		switch {
		case before > 0 && after == 0 && len(c.after) > 0:
			add(HazardLineEndings, "the line endings of the whole file change from CRLF to LF (%d lines)", before)
		case before == 0 && after > 0:
			add(HazardLineEndings, "%d lines will end in CRLF; none did", after)
		}
	}
	if !r.Binary {
		out = append(out, secretHazards("what is added", addedText(r))...)
	}
	if !c.exists {
		return append(out, textHazards(c.after)...)
	}
	if c.stat.perm()&0o111 != 0 && text > 0 {
		add(HazardExecutable, "changes an executable file")
	}
	if c.mode != 0 && c.mode != c.stat.perm() {
		add(HazardMode, "the mode changes from %04o to %04o", c.stat.perm(), c.mode)
	}
	if b.replaces() && c.stat.nlink > 1 {
		add(HazardHardLink, "breaks hard links: the file's other %d names keep the old content", c.stat.nlink-1)
	}
	if b.replaces() && int(c.stat.uid) != os.Geteuid() {
		add(HazardOwner, "the file's owner changes from user %d to user %d", c.stat.uid, os.Geteuid())
	}
	return append(out, addedHazards(c, r)...)
}

func crlfCount(b []byte) int { return bytes.Count(b, []byte("\r\n")) }

// addedHazards looks for hostile characters in the lines that are new. The
// lines keep their numbers: what is not new is left blank.
func addedHazards(c content, r diff.Result) []guard.Hazard {
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
			added.Write(l.Text)
			if !l.NoEOL {
				added.WriteByte('\n')
				line++
			}
		}
	}
	return textHazards(added.Bytes())
}

// textHazards lists the characters that could mislead whoever reads text.
func textHazards(text []byte) []guard.Hazard {
	var out []guard.Hazard
	for _, f := range safetext.Scan(text) {
		out = append(out, guard.Hazard{Kind: string(f.Kind), Text: f.String()})
	}
	return out
}

// nameHazards lists those of the paths that a call names.
func nameHazards(places []place) []guard.Hazard {
	var out []guard.Hazard
	for _, p := range places {
		for _, f := range safetext.Scan([]byte(p.rel())) {
			out = append(out, guard.Hazard{Kind: string(f.Kind), Text: "in the name of the file: " + f.String()})
		}
	}
	return out
}
