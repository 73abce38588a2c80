package effect

import (
	"bytes"
	"strings"

	"github.com/mcpguard/mcpguard/internal/document"
)

// edit is one replacement.
type edit struct {
	old, new string
	all      bool // every occurrence; only the built-in server supports it
}

// maxEditWork bounds the bytes that the edits of one plan may scan.
const maxEditWork = 2 << 30

// checkEditWork bounds the work of edits before any is applied.
func checkEditWork(size int, edits []edit) error {
	grown := size
	work := 0
	for _, e := range edits {
		grown += len(e.new)
		if e.all {
			grown = max(grown, MaxText) // it may grow to the limit at once
		}
		work += grown + len(e.old)
		if work > maxEditWork {
			return refusePlan("send fewer edits in one call", "%d edits of a file of %d bytes are too much work for one preview", len(edits), size)
		}
	}
	return nil
}

// nodeEdits applies edits as server-filesystem's applyFileEdits does. content is
// the decoded file with CRLF already replaced by LF.
func nodeEdits(content string, edits []edit, path string) (string, error) {
	for i, e := range edits {
		old, repl := lf(e.old), lf(e.new)
		if at := strings.Index(content, old); at >= 0 {
			content = content[:at] + repl + content[at+len(old):]
			continue
		}
		lines := strings.Split(old, "\n")
		from, to, ok := findTrimmed(content, lines)
		if !ok {
			return "", errNotFound(i, len(edits), path)
		}
		content = content[:from] + reindent(content[from:to], lines, repl) + content[to:]
	}
	return content, nil
}

func errNotFound(i, n int, path string) *Refusal {
	if n == 1 {
		return refusePlan(readAgain, "the text to replace was not found in %q", path)
	}
	return refusePlan(readAgain, "the text to replace of edit %d was not found in %q", i+1, path)
}

// findTrimmed finds the first run of lines in content that equal want when both are
// trimmed, and returns its start and end, without the last newline. It reads
// content once (Knuth-Morris-Pratt over trimmed lines).
func findTrimmed(content string, want []string) (from, to int, ok bool) {
	ids := make(map[string]int, len(want))
	pattern := make([]int, len(want))
	for i, l := range want {
		l = jsTrim(l)
		id, known := ids[l]
		if !known {
			id = len(ids)
			ids[l] = id
		}
		pattern[i] = id
	}
	fail := make([]int, len(pattern))
	for i, k := 1, 0; i < len(pattern); i++ {
		for k > 0 && pattern[k] != pattern[i] {
			k = fail[k-1]
		}
		if pattern[k] == pattern[i] {
			k++
		}
		fail[i] = k
	}
	starts := make([]int, len(pattern)) // of the latest lines, as a ring buffer
	matched, start := 0, 0
	for n := 0; ; n++ {
		end := strings.IndexByte(content[start:], '\n')
		last := end < 0
		if last {
			end = len(content)
		} else {
			end += start
		}
		starts[n%len(starts)] = start
		id, known := ids[jsTrim(content[start:end])]
		if !known {
			id = -1
		}
		for matched > 0 && pattern[matched] != id {
			matched = fail[matched-1]
		}
		if pattern[matched] == id {
			matched++
		}
		if matched == len(pattern) {
			return starts[(n+1)%len(starts)], end, true
		}
		if last {
			return 0, 0, false
		}
		start = end + 1
	}
}

// reindent indents repl as the server would: the first line like the replaced text,
// later lines relative to the requested old text, in UTF-16 units, with spaces.
func reindent(replaced string, old []string, repl string) string {
	first, _, _ := strings.Cut(replaced, "\n")
	indent := jsIndent(first)
	lines := strings.Split(repl, "\n")
	for j, line := range lines {
		if j == 0 {
			lines[j] = indent + jsTrimStart(line)
			continue
		}
		if j >= len(old) {
			continue
		}
		before, after := jsIndent(old[j]), jsIndent(line)
		if before != "" && after != "" {
			lines[j] = indent + strings.Repeat(" ", max(0, utf16Len(after)-utf16Len(before))) + jsTrimStart(line)
		}
	}
	return strings.Join(lines, "\n")
}

// exactEdits replaces bytes. Each old text must occur exactly once, or at least
// once if all occurrences are meant. If crlf is set and every line of the file ends
// in CRLF, a bare LF in old and new text means CRLF.
func exactEdits(content []byte, edits []edit, path string, crlf bool) ([]byte, error) {
	crlf = crlf && document.AllCRLF(content)
	for i, e := range edits {
		old, repl := []byte(e.old), []byte(e.new)
		if crlf {
			old, repl = document.ToCRLF(old), document.ToCRLF(repl)
		}
		if len(old) == 0 {
			return nil, refusePlan("give the text to replace", "edit %d has no text to replace", i+1)
		}
		at := bytes.Index(content, old)
		if at < 0 {
			return nil, errNotFound(i, len(edits), path)
		}
		if e.all {
			if n := bytes.Count(content, old); len(content)+n*(len(repl)-len(old)) > MaxText {
				return nil, refusePlan("replace fewer at once", "%q would have more than %d bytes", path, MaxText)
			}
			content = bytes.ReplaceAll(content, old, repl)
			continue
		}
		if bytes.Contains(content[at+1:], old) {
			return nil, refusePlan("add lines around it until it is unique", "the text to replace of edit %d is in %q more than once", i+1, path)
		}
		content = bytes.Join([][]byte{content[:at], repl, content[at+len(old):]}, nil)
	}
	return content, nil
}
