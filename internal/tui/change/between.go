package change

import (
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/diff"
)

// Between returns a view of the difference between two changes: what a
// reviewer who has read the old one must read of the new one. It begins with
// the facts that differ, then compares the texts line by line. Hunk headers
// that differ only in position count as equal. Both details are kept, as by
// New.
func Between(old, new client.Detail, o Options) *View {
	v := &View{plain: true, build: func(int) *doc { return between(old, new) }}
	v.start(o)
	return v
}

func between(old, new client.Detail) *doc {
	b := &builder{doc: &doc{whole: -1, nested: looksUnified(textOf(new.Diff))}}
	b.title("what changed since you last looked")
	said := b.said(old, new)
	if old.Diff.Pruned || new.Diff.Pruned {
		b.warn("the content of one of the two is no longer kept")
		return b.done()
	}
	before, after := readable(old), readable(new)
	switch {
	case tooLong(before) || tooLong(after):
		// fail closed: what cannot be compared must not look unchanged
		b.warn("the changes are too long to compare; read the new one")
	case before == after:
		if !said {
			b.note("nothing: both changes are the same")
		} else {
			b.note("the lines of both changes are the same")
		}
	case moved(before) == moved(after):
		b.note("the same lines change, at other line numbers:")
		b.compared(before, after)
	default:
		b.note("line numbers are not compared")
		b.compared(moved(before), moved(after))
	}
	return b.done()
}

// said adds the facts that differ between two changes, and reports whether
// there are any.
func (b *builder) said(old, new client.Detail) bool {
	n := len(b.off)
	b.replaced("tier", old.Tier, new.Tier)
	b.replaced("summary", old.Summary, new.Summary)
	b.replaced("target", old.Target, new.Target)
	b.replaced("arguments", string(arguments(old)), string(arguments(new)))
	b.replaced("policy", old.PolicyHash, new.PolicyHash)
	b.replaced("tool definition", old.Definition, new.Definition)
	b.sets("side effect", old.SideEffects, new.SideEffects)
	b.sets("hazard", hazardTexts(old), hazardTexts(new))
	for i := range max(len(old.Effects), len(new.Effects)) {
		var was, will client.Effect
		if i < len(old.Effects) {
			was = old.Effects[i]
		}
		if i < len(new.Effects) {
			will = new.Effects[i]
		}
		b.replaced("effect", effectText(was), effectText(will))
		b.replaced("target as it is now", stateText(was.Before), stateText(will.Before))
		b.replaced("target afterwards", stateText(was.After), stateText(will.After))
	}
	return len(b.off) > n
}

func hazardTexts(d client.Detail) []string {
	out := make([]string, len(d.Hazards))
	for i, h := range d.Hazards {
		out[i] = h.Text
	}
	return out
}

func effectText(e client.Effect) string {
	return strings.TrimSpace(e.Kind + " " + e.Key + " " + e.Dest)
}

func stateText(s client.State) string {
	switch {
	case !s.Computed && s.SHA256 == "":
		return ""
	case !s.Exists:
		return "not there"
	}
	return strings.TrimSpace(strings.Join([]string{s.Kind, s.SHA256, s.Mode}, " "))
}

// replaced adds a value that differs.
func (b *builder) replaced(name, old, new string) {
	if old == new {
		return
	}
	b.header()
	b.line(kindHunk, 0, name)
	for _, side := range []struct {
		sign byte
		text string
	}{{'-', old}, {'+', new}} {
		if side.text != "" {
			for part := range strings.SplitSeq(side.text, "\n") {
				b.line(kindChange, side.sign, part)
			}
		}
	}
}

// sets adds what is in only one of two lists.
func (b *builder) sets(name string, old, new []string) {
	for _, s := range old {
		if !slices.Contains(new, s) {
			b.replaced(name, s, "")
		}
	}
	for _, s := range new {
		if !slices.Contains(old, s) {
			b.replaced(name, "", s)
		}
	}
}

// readable returns the text of a change in the form that is compared.
func readable(d client.Detail) string {
	if text := textOf(d.Diff); text != "" && (d.Diff.Type == "unified" || d.Diff.Type == "json_diff" || looksUnified(text)) {
		return text
	}
	return build(d, docShown).text
}

// moved returns a diff without the line numbers of its hunks.
func moved(text string) string {
	const mark = "\n@@ -"
	var b strings.Builder
	for {
		i := strings.Index(text, mark)
		if i < 0 {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:i+1])
		text = text[i+1:]
		line, _, _ := strings.Cut(text, "\n")
		if _, _, _, _, ok := hunkRanges(line); ok {
			b.WriteString("@@ .. @@")
			text = text[strings.Index(text, " @@")+len(" @@"):]
		} else {
			b.WriteString(mark[1:])
			text = text[len(mark)-1:]
		}
	}
}

// compared adds the lines in which two texts differ, with context.
func (b *builder) compared(before, after string) {
	// Content with a NUL near its start would count as binary. A shared first
	// line, longer than the part that is checked, prevents that.
	shared := strings.Repeat(" ", 8192) + "\n"
	r := diff.Compute([]byte(shared+before), []byte(shared+after), diff.Options{})
	if r.Coarse {
		b.warn("the two are too different for a fine comparison; lines that did not change may show as changed")
	}
	for _, h := range r.Hunks {
		b.header()
		b.line(kindHunk, 0, "in the change itself")
		for _, l := range h.Lines {
			text := strings.TrimSuffix(string(l.Text), "\n")
			switch {
			case l.Old == 1 && l.New == 1: // the shared line
				continue
			case l.Kind == diff.Delete:
				b.line(kindChange, '-', text)
			case l.Kind == diff.Insert:
				b.line(kindChange, '+', text)
			default:
				b.line(kindContext, ' ', text)
			}
			b.ends(l.NoEOL)
		}
	}
}

// ends notes that the last line has no newline at its end.
func (b *builder) ends(noEOL bool) {
	if noEOL {
		b.unended(b.out.Len() - 1)
	}
}
