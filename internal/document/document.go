package document

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// MaxOps bounds the operations of one patch.
const MaxOps = 1000

// maxPatchWork bounds the bytes that are parsed again while the operations of a
// patch are applied one by one.
const maxPatchWork = 256 << 20

// Patch applies a JSON Patch (RFC 6902) to a JSON, YAML or TOML file, told by its
// extension, and returns the new text. What the patch does not touch keeps its
// bytes. If that is not possible, the file is rewritten, comments are kept as far
// as the format's library can, and rewritten is set. If rewriting could change the
// meaning, the patch is refused.
//
// The result always parses as the patched value: it is read back and compared. The
// error is a *Refusal.
func Patch(name string, text []byte, p jsonvalue.Patch) (out []byte, rewritten bool, err error) {
	return patch(name, text, p, false)
}

// PatchInline is Patch for a YAML text whose lists of plain values are on one line,
// as in [a, b], and whose texts are quoted unless plain: new ones are written the
// same way.
func PatchInline(name string, text []byte, p jsonvalue.Patch) (out []byte, rewritten bool, err error) {
	return patch(name, text, p, true)
}

func patch(name string, text []byte, p jsonvalue.Patch, inline bool) (out []byte, rewritten bool, err error) {
	ext := path.Ext(name)
	before, notes, err := ParseDocument(ext, text)
	switch {
	case errors.Is(err, ErrUnknownFormat):
		return nil, false, refuse("edit it as text", "%q is no JSON, YAML or TOML file by its name", name)
	case err != nil:
		return nil, false, refuse("edit it as text", "%q cannot be read as a document: %v", name, err)
	case len(notes.Duplicates) > 0:
		// fail closed: readers differ about what such a file means
		return nil, false, refuse("edit it as text", "%q gives a member more than once: %.100s", name, notes.Duplicates[0])
	case len(p) > MaxOps:
		return nil, false, refuse("send fewer operations", "the patch has %d operations; at most %d are taken", len(p), MaxOps)
	}
	want, err := p.Apply(before)
	if err != nil {
		return nil, false, refusePatch(name, err)
	}
	ops := elementary(before, want)
	if len(ops)*len(text) > maxPatchWork {
		return nil, false, refuse("send fewer operations", "the patch changes too much of %q at once", name)
	}
	d := document{ext: ext, notes: notes, want: want, inline: inline}
	if out, ok := d.tryEach(text, before, ops); ok {
		return out, false, nil
	}
	if out, ok := d.tryWhole(text, ops); ok {
		return out, true, nil
	}
	return nil, false, refuse("edit it as text", "the patch cannot be written into %q without changing more than it says", name)
}

// Refusal says why a patch is not applied to a document, and what to do instead.
type Refusal struct {
	Reason, Repair string // sentences for people and for the agent
}

func (r *Refusal) Error() string { return r.Reason }

// readAgain is the repair for a patch that does not fit the file.
const readAgain = "read the file again and send a call that fits what is there now"

func refuse(repair, format string, args ...any) *Refusal {
	return &Refusal{Reason: fmt.Sprintf(format, args...), Repair: repair}
}

func refusePatch(name string, err error) *Refusal {
	var pe *jsonvalue.PatchError
	if !errors.As(err, &pe) {
		return refuse(readAgain, "the patch does not apply to %q", name)
	}
	return refuse(readAgain, "the patch does not apply to %q: operation %d, %s at %.100q: %v", name, pe.Index+1, pe.Op, pe.Path, pe.Err)
}

// elementary returns the smallest change from before to after as additions,
// removals and replacements.
func elementary(before, after jsonvalue.Value) jsonvalue.Patch {
	var out jsonvalue.Patch
	now := before
	for _, o := range jsonvalue.MakePatch(before, after) {
		next, err := jsonvalue.Patch{o}.Apply(now)
		if err != nil {
			return nil // impossible: the patch was made for this value
		}
		switch o.Op {
		case jsonvalue.OpTest:
		case jsonvalue.OpMove, jsonvalue.OpCopy:
			v, err := now.At(o.From)
			if err != nil {
				return nil
			}
			if o.Op == jsonvalue.OpMove {
				out = append(out, jsonvalue.Op{Op: jsonvalue.OpRemove, Path: o.From})
			}
			out = append(out, jsonvalue.Op{Op: jsonvalue.OpAdd, Path: o.Path, Value: v})
		default:
			out = append(out, o)
		}
		now = next
	}
	return out
}

// document is a patch being applied to a text.
type document struct {
	ext   string
	notes Notes // of the text before
	want  jsonvalue.Value

	inline bool // new lists of plain values are written on one line
}

// tryEach applies the operations to the text one by one.
func (d document) tryEach(text []byte, before jsonvalue.Value, ops jsonvalue.Patch) (out []byte, ok bool) {
	defer recovered(&ok)
	now := before
	for _, o := range ops {
		next, err := jsonvalue.Patch{o}.Apply(now)
		if err != nil {
			return nil, false
		}
		switch d.notes.Format {
		case "json", "jsonc":
			text, err = patchJSON(text, o)
		case "yaml":
			text, err = d.patchYAMLText(text, o)
		case "toml":
			text, err = patchTOML(text, o, now, next)
		default:
			err = errLayout
		}
		if err != nil {
			return nil, false
		}
		now = next
	}
	return text, d.reads(text)
}

// tryWhole rewrites the file. TOML is left out: no library here keeps its comments.
func (d document) tryWhole(text []byte, ops jsonvalue.Patch) (out []byte, ok bool) {
	defer recovered(&ok)
	switch d.notes.Format {
	case "json":
		root, err := readJSON(text)
		if err != nil {
			return nil, false
		}
		out = splice(text, root.span, styleOfJSON(text, root).render(d.want, "", false))
	case "yaml":
		doc, err := readYAML(text)
		if err != nil {
			return nil, false
		}
		for _, o := range ops {
			if err := patchYAMLTree(doc, o); err != nil {
				return nil, false
			}
		}
		if out, err = encodeYAML(doc, yamlIndent(doc)); err != nil {
			return nil, false
		}
		if AllCRLF(text) {
			out = ToCRLF(out)
		}
	}
	return out, out != nil && d.reads(out)
}

// recovered turns a panic of a format's library into "not possible".
func recovered(ok *bool) {
	if r := recover(); r != nil {
		*ok = false // fail closed: a text from a reader that failed is not used
	}
}

// reads reports whether a text has the wanted value, without any new part that
// parsers of the format read differently.
func (d document) reads(text []byte) bool {
	got, notes, err := ParseDocument(d.ext, text)
	if err != nil || len(jsonvalue.MakePatch(got, d.want)) > 0 || notes.BOM != d.notes.BOM || len(notes.Duplicates) > 0 {
		return false
	}
	left := spellings(d.notes.Ambiguous)
	for _, s := range spellings(notes.Ambiguous) {
		i := slices.Index(left, s)
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return true
}

// spellings drops the paths of ambiguous values, as elements may have moved.
func spellings(notes []string) []string {
	out := make([]string, len(notes))
	for i, n := range notes {
		_, out[i], _ = strings.Cut(n, " ")
	}
	return out
}

// yamlIndent returns the indentation of the first nested entry.
func yamlIndent(doc *yaml.Node) int {
	n := doc.Content[0]
	for n.Kind == yaml.MappingNode && len(n.Content) > 1 {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if v := n.Content[i+1]; v.Kind == yaml.MappingNode && v.Style&yaml.FlowStyle == 0 && v.Column > n.Column {
				return min(8, v.Column-n.Column)
			}
		}
		n = n.Content[1]
	}
	return 2
}

// AllCRLF reports whether b has line endings and all of them are CRLF.
func AllCRLF(b []byte) bool {
	n := bytes.Count(b, []byte{'\n'})
	return n > 0 && bytes.Count(b, []byte("\r\n")) == n
}

// ToCRLF returns b with each line ending as CRLF.
func ToCRLF(b []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}
