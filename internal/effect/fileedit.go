package effect

import (
	"errors"

	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// FileEdit replaces parts of a file's text.
const FileEdit = "file.edit"

var fileEdit = contentKind{
	name: FileEdit, verb: "edit", fill: fillEdit,
	params:   []param{{"edits", expr.Dyn, true}, {"old", expr.String, true}, {"new", expr.String, true}, {"all", expr.Bool, true}},
	required: checkEditParams,
	creates:  func(dialect string) bool { return dialect == DialectClaude }, // an edit without old text creates the file
}

// checkEditParams requires either a list of edits or one old and new text.
func checkEditParams(s Spec) error {
	_, edits := s.Params["edits"]
	_, old := s.Params["old"]
	_, repl := s.Params["new"]
	if _, all := s.Params["all"]; all && edits {
		return errors.New(`effect file.edit takes "all" beside "old" and "new" only`)
	}
	if edits == old || old != repl {
		return errors.New(`effect file.edit needs either "edits", or "old" and "new"`)
	}
	return nil
}

func fillEdit(b *Binding, in Input, c *content) error {
	edits, err := b.edits(in)
	if err != nil {
		return err
	}
	if err := checkEditWork(len(c.before), edits); err != nil {
		return err
	}
	if b.dialect == DialectClaude {
		if !c.exists && (len(edits) != 1 || edits[0].old != "") {
			return refusePlan(listFirst, "%q is not there", c.rel())
		}
		c.after, err = claudeEdits(*c, edits)
		return err
	}
	if b.dialect != DialectFilesystem {
		c.after, err = exactEdits(c.before, edits, c.rel(), b.dialect == DialectWorkspace)
		return err
	}
	text := decodeUTF8(c.before)
	if text != string(c.before) {
		if len(c.before) > nodeChunk {
			// fail closed: the server decodes piece by piece
			return refusePlan("ask the user to make this change", "%q is large and not valid UTF-8; what the server would make of it is not known", c.rel())
		}
		c.hazards = append(c.hazards, guard.Hazard{Kind: HazardInvalidUTF8, Text: "bytes that are not valid UTF-8 are replaced by U+FFFD and lost"})
	}
	after, err := nodeEdits(lf(text), edits, c.rel())
	c.after = []byte(after)
	return err
}

// nodeChunk is how many bytes of a file Node decodes at once.
const nodeChunk = 512 << 10

// maxEdits bounds the edits of one call.
const maxEdits = 10_000

// edits returns the replacements that the call asks for.
func (b *Binding) edits(in Input) ([]edit, error) {
	if !b.has("edits") {
		old, err := b.text(in, "old")
		if err != nil {
			return nil, err
		}
		repl, err := b.text(in, "new")
		if err != nil {
			return nil, err
		}
		all, err := b.flag(in, "all")
		if err != nil {
			return nil, err
		}
		return []edit{{old: old, new: repl, all: all}}, nil
	}
	v, err := b.value(in, "edits")
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		return nil, refusePlan("give a list of edits", "the edits are not a list")
	}
	if len(list) > maxEdits {
		return nil, refusePlan("send fewer edits in one call", "%d edits were given; at most %d are taken", len(list), maxEdits)
	}
	out := make([]edit, len(list))
	for i, x := range list {
		if out[i], err = oneEdit(i, x); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// oneEdit reads {oldText, newText} or {old_text, new_text, replace_all}. An unknown
// member could change what the server does, so it is refused.
func oneEdit(i int, v any) (e edit, err error) {
	m, ok := v.(map[string]any)
	if !ok {
		return e, refusePlan("give edits as objects", "edit %d is not an object", i+1)
	}
	var old, repl bool
	for name, v := range m {
		switch name {
		case "oldText", "old_text", "old_string":
			old = !old
			e.old, ok = v.(string)
		case "newText", "new_text", "new_string":
			repl = !repl
			e.new, ok = v.(string)
		case "replaceAll", "replace_all":
			e.all, ok = v.(bool)
		default:
			ok = false
		}
		if !ok {
			return e, refusePlan("give the old and the new text as strings", "edit %d has a member that is not understood", i+1)
		}
	}
	if !old || !repl {
		return e, refusePlan("give the old and the new text", "edit %d lacks its old or its new text", i+1)
	}
	return e, nil
}
