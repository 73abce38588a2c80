package diff

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/safetext"
)

// File is one side of a change to a file.
type File struct {
	// Path is the name with "/" between folders. A leading "/" is left out of
	// the patch, as git does, so that an absolute path applies below /.
	Path string
	// Data is the content; it is ignored if Exists is false.
	Data []byte
	// Mode holds the Unix permission bits (0o7777 at most). On a new or deleted
	// file 0 means 0o644; between two existing files it is taken literally.
	Mode uint32
	// Exists is false for the missing side of a creation or a deletion.
	Exists bool
}

func (f File) data() []byte {
	if !f.Exists {
		return nil
	}
	return f.Data
}

const noEOL = "\\ No newline at end of file\n"

// Unified returns the patch from before to after in git's extended unified
// format, and the comparison behind it. The text is empty if nothing changes.
//
// For every pair of contents that is not binary, `git apply` and GNU
// `patch -p1` accept the text and reproduce after from before, whatever bytes
// the lines hold; with a negative Context git needs --unidiff-zero. Modes are
// written as they are, not reduced to 644 and 755 as git does; where git's
// index knows a file only as 644 or 755 it may warn, and applies. A name with a
// blank, a quote, a backslash or a control character is quoted as in C: git would
// leave a blank alone, GNU patch would not find such a file. Letters beyond ASCII
// stay where the whole name can be read as it is ([safetext.ReadableName]); in any
// other name each byte of them is quoted.
//
// A binary change is stated with sizes and SHA-256 sums and cannot be applied.
// There is no "index" line: blob names would bind the text to a repository.
func Unified(before, after File, o Options) (text []byte, r Result) {
	r = Compute(before.data(), after.data(), o)
	if !before.Exists && !after.Exists {
		return nil, r
	}
	oldPath, newPath := before.Path, after.Path
	if !before.Exists {
		oldPath = newPath
	}
	if !after.Exists {
		newPath = oldPath
	}
	oldPath, newPath = strings.TrimLeft(oldPath, "/"), strings.TrimLeft(newPath, "/")
	sameData := bytes.Equal(before.data(), after.data())
	if before.Exists && after.Exists && sameData && before.Mode == after.Mode && oldPath == newPath {
		return nil, r
	}

	var w bytes.Buffer
	w.Grow(256 + patchSize(r))
	fmt.Fprintf(&w, "diff --git %s %s\n", quotePath("a/"+oldPath), quotePath("b/"+newPath))
	writeExtended(&w, before, after, oldPath, newPath)
	oldName, newName := quotePath("a/"+oldPath), quotePath("b/"+newPath)
	if !before.Exists {
		oldName = "/dev/null"
	}
	if !after.Exists {
		newName = "/dev/null"
	}
	switch {
	case sameData:
	case r.Binary:
		fmt.Fprintf(&w, "Binary files %s and %s differ\n", oldName, newName)
		writeBinarySide(&w, "before", before)
		writeBinarySide(&w, "after", after)
	default:
		fmt.Fprintf(&w, "--- %s\n+++ %s\n", oldName, newName)
		for i := range r.Hunks {
			r.Hunks[i].write(&w)
		}
	}
	return w.Bytes(), r
}

// patchSize estimates the bytes that the hunks will take.
func patchSize(r Result) int {
	n := 0
	for _, h := range r.Hunks {
		n += 64
		for _, l := range h.Lines {
			n += len(l.Text) + 2
		}
	}
	return n
}

func writeExtended(w *bytes.Buffer, before, after File, oldPath, newPath string) {
	presumed := func(mode uint32) uint32 {
		if mode == 0 {
			return 0o644
		}
		return mode
	}
	const regular = 0o100000
	switch {
	case !before.Exists:
		fmt.Fprintf(w, "new file mode %o\n", regular|presumed(after.Mode)&0o7777)
		return
	case !after.Exists:
		fmt.Fprintf(w, "deleted file mode %o\n", regular|presumed(before.Mode)&0o7777)
		return
	}
	if before.Mode != after.Mode {
		fmt.Fprintf(w, "old mode %o\nnew mode %o\n", regular|before.Mode&0o7777, regular|after.Mode&0o7777)
	}
	if oldPath != newPath {
		fmt.Fprintf(w, "rename from %s\nrename to %s\n", quotePath(oldPath), quotePath(newPath))
	}
}

func writeBinarySide(w *bytes.Buffer, side string, f File) {
	if !f.Exists {
		fmt.Fprintf(w, "%s: no file\n", side)
		return
	}
	fmt.Fprintf(w, "%s: %d bytes, %s\n", side, len(f.Data), digest.Sum(f.Data))
}

// write appends the hunk in unified format.
func (h Hunk) write(w *bytes.Buffer) {
	w.WriteString(h.Header())
	w.WriteByte('\n')
	for _, l := range h.Lines {
		switch l.Kind {
		case Delete:
			w.WriteByte('-')
		case Insert:
			w.WriteByte('+')
		default:
			w.WriteByte(' ')
		}
		w.Write(l.Text)
		w.WriteByte('\n')
		if l.NoEOL {
			w.WriteString(noEOL)
		}
	}
}

// Header returns the hunk's "@@ … @@" line without a newline.
func (h Hunk) Header() string {
	return "@@ -" + hunkRange(h.OldStart, h.OldLines) + " +" + hunkRange(h.NewStart, h.NewLines) + " @@"
}

func hunkRange(start, lines int) string {
	if lines == 1 {
		return strconv.Itoa(start)
	}
	return strconv.Itoa(start) + "," + strconv.Itoa(lines)
}

// quotePath quotes a path the way git reads it, where it needs quotes. Bytes
// beyond ASCII are quoted where they could be taken for something else.
func quotePath(path string) string {
	readable := safetext.ReadableName(path)
	asIs := func(c byte) bool {
		return c > ' ' && c < 0x7f && c != '"' && c != '\\' || c >= utf8.RuneSelf && readable
	}
	if !slices.ContainsFunc([]byte(path), func(c byte) bool { return !asIs(c) }) {
		return path
	}
	var w strings.Builder
	w.WriteByte('"')
	for i := 0; i < len(path); i++ {
		c := path[i]
		if short := strings.IndexByte("\a\b\t\n\v\f\r\"\\", c); short >= 0 {
			w.WriteByte('\\')
			w.WriteByte("abtnvfr\"\\"[short])
		} else if c == ' ' || asIs(c) {
			w.WriteByte(c)
		} else {
			fmt.Fprintf(&w, "\\%03o", c)
		}
	}
	w.WriteByte('"')
	return w.String()
}
