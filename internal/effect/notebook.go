package effect

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// This file reproduces what NotebookEdit of Claude Code 2.1.329 does to a notebook:
// it parses the whole file as JSON, changes one cell, and writes everything again
// as JavaScript does. Content that this would not preserve, and behavior that is
// not known, are refused.

// NotebookEdit changes, adds or removes one cell of a Jupyter notebook.
const NotebookEdit = "notebook.edit"

// HazardOwnID says that the client chooses a part of the new content.
const HazardOwnID = "own_id"

// ownID stands for the id that the client generates for a new cell.
const ownID = "????????"

var notebookEdit = contentKind{
	name: NotebookEdit, verb: "edit", fill: fillNotebook,
	params: []param{
		{name: "source", want: expr.String}, {"cell", expr.String, true}, {"type", expr.String, true}, {"mode", expr.String, true},
	},
	required: func(s Spec) error {
		if s.Dialect != DialectClaude {
			return fmt.Errorf("effect %s is known of Claude Code's own tool alone", s.Kind)
		}
		return nil
	},
}

// cellEdit holds the arguments of the call; empty ones were not given.
type cellEdit struct{ source, cell, typ, mode string }

func (b *Binding) cellEdit(in Input) (e cellEdit, err error) {
	if err := b.texts(in, map[string]*string{"source": &e.source, "cell": &e.cell, "type": &e.typ, "mode": &e.mode}); err != nil {
		return e, err
	}
	e.mode = cmp.Or(e.mode, "replace")
	switch {
	case e.mode != "replace" && e.mode != "insert" && e.mode != "delete":
		return e, refusePlan("use replace, insert or delete", "%q is no way to edit a cell", e.mode)
	case e.typ != "" && e.typ != "code" && e.typ != "markdown":
		return e, refusePlan("use code or markdown", "%q is no type of a cell", e.typ)
	case e.mode == "insert" && e.typ == "":
		return e, refusePlan("say whether it is code or markdown", "a new cell needs a type")
	}
	return e, claudeNew(e.source)
}

// fillNotebook computes the notebook after the call.
func fillNotebook(b *Binding, in Input, c *content) error {
	e, err := b.cellEdit(in)
	if err != nil {
		return err
	}
	if !strings.HasSuffix(c.rel(), ".ipynb") {
		return refusePlan("edit it as the file that it is", "%q is no notebook", c.rel())
	}
	raw, bom, err := claudeText(*c)
	if err == nil && bom != nil {
		err = refusePlan("ask the user", "%q begins with a byte order mark; what the tool would make of it is not known", c.rel())
	}
	if err != nil {
		return err
	}
	crlf, err := claudeCRLF(raw, c.rel())
	if err != nil {
		return err
	}
	doc, err := readNotebook(raw, c.rel())
	if err != nil {
		return err
	}
	if err := doc.edit(e, c); err != nil {
		return err
	}
	text := doc.stringify()
	if bytes.HasSuffix(raw, []byte("\n")) {
		text = append(text, '\n')
	}
	if crlf {
		text = bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
	}
	c.after = text
	return nil
}

// notebook is the whole file, an object with a list of cells.
type notebook struct{ *jsValue }

func readNotebook(raw []byte, name string) (notebook, error) {
	v, err := jsonvalue.Decode(raw)
	if err != nil {
		return notebook{}, refusePlan("ask the user", "%q is no JSON that all readers take alike: %v", name, err)
	}
	doc, err := jsParse(v)
	if err != nil {
		return notebook{}, refusePlan("ask the user", "%q cannot be written again as it is: %v", name, err)
	}
	cells := doc.member("cells")
	if cells == nil || cells.typ != jsonvalue.TypeArray || slices.ContainsFunc(cells.items, func(cell *jsValue) bool { return !hasSource(cell) }) {
		return notebook{}, refusePlan("ask the user", "%q is not a notebook whose cells all have a source", name)
	}
	return notebook{doc}, nil
}

// hasSource reports whether a cell has a source: a text or a list of texts.
func hasSource(cell *jsValue) bool {
	source := cell.member("source")
	switch {
	case source == nil:
		return false
	case source.typ == jsonvalue.TypeArray:
		return !slices.ContainsFunc(source.items, func(line *jsValue) bool { return line.typ != jsonvalue.TypeString })
	}
	return source.typ == jsonvalue.TypeString
}

// edit changes n in place.
func (n notebook) edit(e cellEdit, c *content) error {
	cells := n.member("cells")
	at, err := n.find(e, c.rel())
	if err != nil {
		return err
	}
	switch e.mode {
	case "delete":
		cells.items = slices.Delete(cells.items, at, at+1)
	case "insert":
		cell, own, err := n.fresh(e, c.rel())
		if err != nil {
			return err
		}
		cells.items = slices.Insert(cells.items, at, cell)
		if own {
			c.open = true
			c.hazards = append(c.hazards, guard.Hazard{Kind: HazardOwnID,
				Text: "the client makes up the id of the new cell, shown as " + ownID + "; what it writes cannot be compared with what you approve"})
		}
	default:
		cell := cells.items[at]
		code := cell.member("cell_type").is("code")
		cell.set("source", jsText(e.source))
		if code {
			cell.set("execution_count", jsLiteral("null"))
			cell.set("outputs", &jsValue{typ: jsonvalue.TypeArray})
		}
		if e.typ != "" && !cell.member("cell_type").is(e.typ) {
			cell.set("cell_type", jsText(e.typ))
		}
	}
	return nil
}

// cellIndex matches the tool's name for a cell without an id, or by index.
var cellIndex = regexp.MustCompile(`^cell-([0-9]+)$`)

// find returns the index of the named cell, or of the cell to insert after it.
func (n notebook) find(e cellEdit, name string) (int, error) {
	cells := n.member("cells").items
	insert := e.mode == "insert"
	if e.cell == "" {
		if insert {
			return 0, nil
		}
		return 0, refusePlan("name the cell", "the call names no cell of %q", name)
	}
	at := slices.IndexFunc(cells, func(cell *jsValue) bool { return cell.member("id").is(e.cell) })
	if at < 0 {
		m := cellIndex.FindStringSubmatch(e.cell)
		var err error
		if m != nil {
			at, err = strconv.Atoi(m[1])
		}
		if m == nil || err != nil || at >= len(cells) {
			return 0, refusePlan("read the notebook again", "there is no cell %.100q in %q", e.cell, name)
		}
	}
	if insert {
		at++
	}
	return at, nil
}

// fresh returns a new cell. own says that the client generates its id.
func (n notebook) fresh(e cellEdit, name string) (cell *jsValue, own bool, err error) {
	major, ok := n.version("nbformat")
	minor, also := n.version("nbformat_minor")
	if !ok || !also {
		return nil, false, refusePlan("ask the user", "%q does not say its version in plain numbers", name)
	}
	cell = &jsValue{typ: jsonvalue.TypeObject}
	cell.set("cell_type", jsText(e.typ))
	if own = major > 4 || major == 4 && minor >= 5; own {
		cell.set("id", jsText(ownID))
	}
	cell.set("source", jsText(e.source))
	cell.set("metadata", &jsValue{typ: jsonvalue.TypeObject})
	if e.typ == "code" {
		cell.set("execution_count", jsLiteral("null"))
		cell.set("outputs", &jsValue{typ: jsonvalue.TypeArray})
	}
	return cell, own, nil
}

// version reads a whole number; a missing one counts as 0.
func (n notebook) version(name string) (int, bool) {
	v := n.member(name)
	if v == nil {
		return 0, true
	}
	i, err := strconv.Atoi(v.text)
	return i, err == nil && v.typ == jsonvalue.TypeNumber
}
