package change

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// textOf returns the text of a change without loss.
func textOf(d client.Diff) string {
	if len(d.Raw) > 0 {
		return string(d.Raw)
	}
	return d.Text
}

// plainDiff reports whether a change is only a unified diff.
func plainDiff(d client.Diff) bool {
	return d.Type == "unified" && d.Text != "" && !d.Pruned && !present(d.Preview) && !present(d.Patch)
}

func present(raw []byte) bool { return len(raw) > 0 && string(raw) != "null" && string(raw) != "[]" }

// build makes one of the texts of an approval.
func build(d client.Detail, which int) *doc {
	b := &builder{doc: &doc{whole: -1}}
	if d.Diff.Exec != nil && d.Diff.Exec.Run != nil {
		b.unread = len(d.Diff.Exec.Run.Folded)
	}
	text := textOf(d.Diff)
	if which != docShown && text == "" {
		text = string(arguments(d))
	}
	switch {
	case d.Diff.Pruned:
		b.note("the content is no longer stored")
	case tooLong(text):
		// fail closed: what cannot be shown must not look like nothing
		b.warn("the change is too long to show; do not approve it unread")
	case which == docRaw && text != "", which == docDocument && text != "" && d.Diff.Type != "unified" && !looksUnified(text):
		b.whole = 0
		b.aside = d.Diff.Type != "opaque" && textOf(d.Diff) == "" // the arguments alone
		b.plainText(text)
	case which == docDocument && text != "":
		b.unifiedText(text)
	case which != docShown:
		b.aside = true
		b.note("the change has no text")
	default:
		b.shown(d, text)
	}
	return b.done()
}

func arguments(d client.Detail) []byte {
	if present(d.Arguments) {
		return d.Arguments
	}
	return nil
}

func looksUnified(text string) bool {
	return strings.HasPrefix(text, "diff --git ") || strings.HasPrefix(text, "--- ") || strings.HasPrefix(text, "@@ -")
}

// shown makes the text meant for reading.
func (b *builder) shown(d client.Detail, text string) {
	rows := b.rows(d.Diff)
	switch d.Diff.Type {
	case "unified", "json_patch", "json_diff":
		b.textBeside(d, text, rows)
	case "exec":
		b.exec(d, text)
	case "message":
		b.letter(text)
	case "http":
		b.request(text)
	case "sql":
		b.statement(text)
	default:
		if Read(d) {
			b.note("a read, with these arguments:")
		} else {
			b.warn("effect not computed; you approve the arguments:")
		}
		if text == "" {
			text = string(arguments(d))
		}
		b.value(text)
	}
	if len(b.off) == 0 && b.rest == "" {
		b.note("it is not known what would change")
		b.value(string(arguments(d)))
	}
}

// textBeside adds the text of a change after its rows. The rows of a document
// hold only its values: comments, order and blanks are in the text, so the
// text always follows. The rows of a record are the whole change; its text
// repeats them and is left out.
func (b *builder) textBeside(d client.Detail, text string, rows bool) {
	unified := d.Diff.Type != "json_patch" || looksUnified(text)
	switch {
	case text == "" && rows:
	case text == "":
		b.note("no line changes")
		b.effects(d.Effects)
	case unified && rows:
		b.title("full text")
		b.unifiedText(text)
	case unified:
		b.unifiedText(text)
	case !rows:
		b.value(text)
	}
}

// Read reports whether a call changes nothing, as far as the daemon knows.
func Read(d client.Detail) bool { return strings.HasPrefix(d.Tier, "T0") && len(d.Effects) == 0 }

// effects lists what would happen to each resource.
func (b *builder) effects(list []client.Effect) {
	for _, e := range list {
		b.identity(e.Kind+": ", pathText(e.Key))
		if e.Dest != "" {
			b.identity("to: ", pathText(e.Dest))
		}
		if e.Before.Mode != "" && e.After.Mode != "" && e.Before.Mode != e.After.Mode {
			b.field("mode: ", e.Before.Mode+" to "+e.After.Mode)
		}
	}
}

// builder builds a text from lines.
type builder struct {
	*doc
	out  strings.Builder
	rest string // text after the built lines, to be parsed as a unified diff
	part bool   // rest is not the whole text of the change
	// after adds what follows rest; nil for nothing.
	after func()
}

func (b *builder) done() *doc {
	d := b.doc
	from := b.out.Len()
	d.made = len(d.off)
	if b.rest != "" && !b.part {
		d.whole = from
	}
	switch {
	case from == 0:
		d.text = b.rest
	default:
		d.text = b.out.String() + b.rest
	}
	if b.rest != "" {
		d.unified(from)
	}
	if b.after != nil {
		if !strings.HasSuffix(d.text, "\n") {
			d.text += "\n"
		}
		b.out.Reset()
		b.out.WriteString(d.text)
		b.after()
		d.text = b.out.String()
	}
	d.finish()
	return d
}

// line adds a line. A newline in s starts another one that continues it.
func (b *builder) line(k kind, sign byte, s string) {
	for {
		part, rest, more := strings.Cut(s, "\n")
		b.add(b.out.Len(), k, sign, 0, 0)
		if sign != 0 {
			b.out.WriteByte(sign)
		}
		b.out.WriteString(part)
		b.out.WriteByte('\n')
		if !more {
			return
		}
		s = rest
		if k == kindField || k == kindRow || k == kindText {
			k = kindMore
		}
	}
}

func (b *builder) title(s string) { b.line(kindTitle, 0, s) }
func (b *builder) note(s string)  { b.line(kindNote, 0, s) }
func (b *builder) warn(s string)  { b.line(kindWarn, 0, s) }

// field adds a line with a name in front.
func (b *builder) field(label, value string) {
	b.cuts = append(b.cuts, cut{line: uint32(len(b.off)), label: uint32(len(label)), value: uint32(len(label))})
	b.line(kindField, 0, label+value)
}

// identity adds a line whose value is a name that must not be confused with
// another.
func (b *builder) identity(label, value string) {
	n := len(b.cuts)
	b.field(label, value)
	b.cuts[n].identity = true
}

// plainText adds a text unchanged.
func (b *builder) plainText(text string) {
	for line := range strings.Lines(text) {
		b.line(kindText, 0, strings.TrimSuffix(line, "\n"))
	}
}

func (b *builder) unifiedText(text string) { b.rest = text }

// changed adds all lines of two texts, with the differences marked.
func (b *builder) changed(old, new string) {
	r := diff.Compute([]byte(old), []byte(new), diff.Options{Context: 1 << 20})
	if len(r.Hunks) == 0 { // binary or equal: show both
		b.all('-', old)
		b.all('+', new)
		return
	}
	for _, h := range r.Hunks {
		for _, l := range h.Lines {
			switch l.Kind {
			case diff.Delete:
				b.line(kindChange, '-', string(l.Text))
			case diff.Insert:
				b.line(kindChange, '+', string(l.Text))
			default:
				b.line(kindContext, ' ', string(l.Text))
			}
			b.ends(l.NoEOL)
		}
	}
}

// all adds all lines of a text as changed.
func (b *builder) all(sign byte, text string) {
	for line := range strings.Lines(text) {
		whole, ended := strings.CutSuffix(line, "\n")
		b.line(kindChange, sign, whole)
		b.ends(!ended)
	}
}

// maxRow is how many bytes of path and values fit on one row.
const maxRow = 160

// rows adds the rows of a patch and reports whether there are any.
func (b *builder) rows(d client.Diff) bool {
	list := previewRows(d.Preview)
	if list == nil {
		list = patchRows(d.Patch)
	}
	if len(list) == 0 {
		return false
	}
	b.json = true
	b.title(count(len(list), "value changes", "values change"))
	for _, r := range list {
		b.row(r)
	}
	return true
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// change is one row of a patch.
type change struct {
	op, path, from string
	old, new       jsonvalue.Value
}

// previewRows parses [{op, path, from, to}]; nil if raw is something else.
func previewRows(raw []byte) []change {
	if !present(raw) {
		return nil
	}
	v, err := jsonvalue.Decode(raw)
	if err != nil || v.Type() != jsonvalue.TypeArray {
		return nil
	}
	var out []change
	for _, e := range v.Elems() {
		out = append(out, change{
			op: e.Member("op").Text(), path: e.Member("path").Text(), from: e.Member("fromPath").Text(),
			old: e.Member("from"), new: e.Member("to"),
		})
	}
	return out
}

// patchRows parses an RFC 6902 patch. A removed value is known only if a test
// for it precedes the operation.
func patchRows(raw []byte) []change {
	if !present(raw) {
		return nil
	}
	ops, err := jsonvalue.ParsePatch(raw)
	if err != nil {
		return nil
	}
	var out []change
	for i, o := range ops {
		c := change{op: o.Op, path: o.Path, from: o.From, new: o.Value}
		if i > 0 && ops[i-1].Op == jsonvalue.OpTest && ops[i-1].Path == o.Path && (o.Op == jsonvalue.OpReplace || o.Op == jsonvalue.OpRemove) {
			c.old = ops[i-1].Value
			out = out[:len(out)-1]
		}
		out = append(out, c)
	}
	return out
}

// operationSign returns what precedes a row of a patch: a sign, or the name of
// a test or an unknown operation.
func operationSign(op string) string {
	switch op {
	case jsonvalue.OpAdd:
		return "+ "
	case jsonvalue.OpRemove:
		return "- "
	case jsonvalue.OpReplace:
		return "~ "
	case jsonvalue.OpMove, jsonvalue.OpCopy:
		return "> "
	}
	return pathText(op) + " "
}

// row adds one row of a patch, on one line if it fits.
func (b *builder) row(c change) {
	sign := operationSign(c.op)
	head := sign + pathText(c.path)
	if c.from != "" || c.op == jsonvalue.OpMove || c.op == jsonvalue.OpCopy {
		head = sign + c.op + " " + pathText(c.from) + " to " + pathText(c.path)
		if !c.new.Present() || bytes.Equal(c.old.Encode(), c.new.Encode()) {
			c.old, c.new = jsonvalue.Value{}, onlyPresent(c.new, c.old)
		}
	}
	b.header()
	old, new := scalar(c.old), scalar(c.new)
	if len(head)+len(old)+len(new) <= maxRow && (old != "" || !c.old.Present()) && (new != "" || !c.new.Present()) {
		b.cuts = append(b.cuts, cut{line: uint32(len(b.off)), label: uint32(len(head)), value: uint32(len(head) + len(old))})
		b.line(kindRow, 0, head+old+new)
		return
	}
	texts := (lines(c.old) || lines(c.new)) && textual(c.old) && textual(c.new)
	if texts {
		head += "  (text)"
	}
	b.hunks[len(b.hunks)-1].asText = texts
	b.line(kindHunk, 0, head)
	b.changed(spelled(c.old, texts), spelled(c.new, texts))
}

// textual reports whether a value is a string or absent.
func textual(v jsonvalue.Value) bool { return v.Type() == jsonvalue.TypeString || !v.Present() }

func onlyPresent(a, b jsonvalue.Value) jsonvalue.Value {
	if a.Present() {
		return a
	}
	return b
}

// scalar returns a value on one line; "" if it is absent or reads better on
// several.
func scalar(v jsonvalue.Value) string {
	if !v.Present() || lines(v) || (v.Type() == jsonvalue.TypeArray || v.Type() == jsonvalue.TypeObject) && v.Len() > 3 {
		return ""
	}
	raw := v.Encode()
	if len(raw) > maxRow {
		return ""
	}
	return string(raw)
}

// lines reports whether a value is a text of several lines.
func lines(v jsonvalue.Value) bool {
	return v.Type() == jsonvalue.TypeString && strings.Contains(strings.TrimSuffix(v.Text(), "\n"), "\n")
}

// spelled returns a value for reading: a text unchanged, anything else as
// JSON, nothing if absent.
func spelled(v jsonvalue.Value, asText bool) string {
	switch {
	case !v.Present():
		return ""
	case asText:
		return v.Text()
	}
	return jsonLines(v)
}
