package effect

import (
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

var notebookEdit1 = Spec{Kind: NotebookEdit, Dialect: DialectClaude, Params: map[string]string{
	"path": "args.notebook_path", "source": "args.new_source", "cell": "has(args.cell_id) ? args.cell_id : ''",
	"type": "has(args.cell_type) ? args.cell_type : ''", "mode": "has(args.edit_mode) ? args.edit_mode : ''",
}}

// TestNotebookEdit checks what NotebookEdit of Claude Code 2.1.329 does to a
// notebook; e2e/claude checks the same rules against the real tool.
func TestNotebookEdit(t *testing.T) {
	const (
		code  = `{"cell_type":"code","id":"a1","metadata":{},"outputs":[{"x":1}],"execution_count":3,"source":["1\n","2"]}`
		text  = `{"cell_type":"markdown","id":"b2","metadata":{},"source":"# t"}`
		first = "{\n \"cells\": [\n  {\n   \"cell_type\": \"code\",\n   \"id\": \"a1\",\n   \"metadata\": {},\n   \"outputs\": [],\n   \"execution_count\": null,\n   \"source\": \"x\\n\"\n  }"
		end   = "\n ],\n \"nbformat\": 4\n}"
		bare  = "\n  {\n   \"cell_type\": \"markdown\",\n   \"source\": \"n\",\n   \"metadata\": {}\n  }"
		full  = "\n  {\n   \"cell_type\": \"code\",\n   \"id\": \"????????\",\n   \"source\": \"n\",\n   \"metadata\": {},\n   \"execution_count\": null,\n   \"outputs\": []\n  }"
	)
	book := func(rest string, cells ...string) string {
		return `{"cells":[` + strings.Join(cells, ",") + `],` + rest + `}`
	}
	source := func(cell, source string) m { return m{"cell_id": cell, "new_source": source} }
	insert := m{"cell_type": "code", "edit_mode": "insert", "new_source": "n"}
	for name, c := range map[string]struct {
		before string
		args   m
		after  string // "!" where it is refused
	}{
		"replace":             {book(`"nbformat":4`, code), source("a1", "x\n"), first + end},
		"a newline stays":     {book(`"nbformat":4`, code) + "\n", source("a1", "x\n"), first + end + "\n"},
		"crlf":                {book(`"nbformat":4`, code) + "\r\n", source("a1", "x\n"), strings.ReplaceAll(first+end+"\n", "\n", "\r\n")},
		"by place":            {book(`"nbformat":4`, code), source("cell-0", "x\n"), first + end},
		"an id before places": {book(`"nbformat":4`, strings.Replace(code, "a1", "cell-1", 1), text), source("cell-1", "x\n"), strings.Replace(first, "a1", "cell-1", 1) + ",\n  {\n   \"cell_type\": \"markdown\",\n   \"id\": \"b2\",\n   \"metadata\": {},\n   \"source\": \"# t\"\n  }" + end},
		"delete":              {book(`"nbformat":4`, code), m{"cell_id": "a1", "new_source": "", "edit_mode": "delete"}, "{\n \"cells\": [],\n \"nbformat\": 4\n}"},
		"to text":             {book(`"nbformat":4`, code), m{"cell_id": "a1", "new_source": "x\n", "cell_type": "markdown"}, strings.Replace(first, `"code"`, `"markdown"`, 1) + end},
		"insert, no ids":      {book(`"nbformat":4`), m{"cell_type": "markdown", "edit_mode": "insert", "new_source": "n"}, "{\n \"cells\": [" + bare + end},
		"insert, with ids":    {book(`"nbformat":4,"nbformat_minor":5`), insert, "?{\n \"cells\": [" + full + "\n ],\n \"nbformat\": 4,\n \"nbformat_minor\": 5\n}"},
		"insert, later major": {book(`"nbformat":5`), insert, "?{\n \"cells\": [" + full + "\n ],\n \"nbformat\": 5\n}"},
		"numbers and names": {`{"m":{"b":1.50,"10":-0.0,"9":1e-7,"01":12E2,"4294967295":0.1234567890123456789},"cells":[` + strings.Replace(code, `"id":"a1",`, "", 1) + `]}`, source("cell-0", "x\n"),
			"{\n \"m\": {\n  \"9\": 1e-7,\n  \"10\": 0,\n  \"b\": 1.5,\n  \"01\": 1200,\n  \"4294967295\": 0.12345678901234568\n }," + strings.Replace(strings.TrimPrefix(first, "{"), "\n   \"id\": \"a1\",", "", 1) + "\n ]\n}"},

		"no cell named":      {book(`"nbformat":4`, code), m{"new_source": "x"}, "!"},
		"no such cell":       {book(`"nbformat":4`, code), source("zz", "x"), "!"},
		"no such place":      {book(`"nbformat":4`, code), source("cell-1", "x"), "!"},
		"a place too far":    {book(`"nbformat":4`, code), source("cell-99999999999999999999", "x"), "!"},
		"no type":            {book(`"nbformat":4`), m{"edit_mode": "insert", "new_source": "n"}, "!"},
		"another type":       {book(`"nbformat":4`, code), m{"cell_id": "a1", "cell_type": "raw", "new_source": "n"}, "!"},
		"another mode":       {book(`"nbformat":4`, code), m{"cell_id": "a1", "edit_mode": "append", "new_source": "n"}, "!"},
		"no JSON":            {"{", source("a1", "x"), "!"},
		"a list":             {"[]", source("a1", "x"), "!"},
		"a name twice":       {`{"cells":[],"cells":[` + code + `]}`, source("a1", "x"), "!"},
		"a surrogate":        {book(`"x":"\ud800"`, code), source("a1", "x"), "!"},
		"digits that go":     {book(`"x":12345678901234567890`, code), source("a1", "x"), "!"},
		"too large a number": {book(`"x":1e400`, code), source("a1", "x"), "!"},
		"a cell of none":     {book(`"nbformat":4`, code, "null"), source("a1", "x"), "!"},
		"no source":          {book(`"nbformat":4`, code, `{"id":"c"}`), source("a1", "x"), "!"},
		"an odd source":      {book(`"nbformat":4`, code, `{"source":["a",1]}`), source("a1", "x"), "!"},
		"an odd version":     {book(`"nbformat":"5"`), insert, "!"},
		"a mark":             {"\xef\xbb\xbf" + book(`"nbformat":4`, code), source("a1", "x"), "!"},
	} {
		t.Run(name, func(t *testing.T) {
			root := workspace(t)
			args := m{"notebook_path": write(t, root, "f.ipynb", c.before)}
			for k, v := range c.args {
				args[k] = v
			}
			p, err := plan(t, compile(t, notebookEdit1), input(t, args, root))
			if c.after == "!" {
				refused(t, err, guard.RulePreviewFailed)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want, open := strings.CutPrefix(c.after, "?")
			text, _ := diff.Unified(diff.File{Path: "f.ipynb", Data: []byte(c.before), Exists: true, Mode: p.Effects[0].Before.Mode},
				diff.File{Path: "f.ipynb", Data: []byte(want), Exists: true, Mode: p.Effects[0].Before.Mode}, diff.Options{})
			if p.Change.Text != string(text) {
				t.Errorf("got\n%s\nwant\n%s", p.Change.Text, text)
			}
			after := p.Effects[0].After
			if open != !after.Computed || !open && after.SHA256 != digest.Sum([]byte(want)) || open && (len(p.Hazards) == 0 || p.Hazards[0].Kind != HazardOwnID) {
				t.Errorf("%+v %+v", after, p.Hazards)
			}
		})
	}
}

// TestNotebookEditRefusesOtherFiles: files that are not notebooks, and missing
// files, are refused.
func TestNotebookEditRefusesOtherFiles(t *testing.T) {
	root := workspace(t)
	write(t, root, "a.txt", `{"cells":[]}`)
	for _, name := range []string{"a.txt", "none.ipynb"} {
		_, err := plan(t, compile(t, notebookEdit1), input(t, m{"notebook_path": root + "/" + name, "new_source": "", "edit_mode": "insert", "cell_type": "code"}, root))
		refused(t, err, guard.RulePreviewFailed)
	}
	if _, err := Compile(nil, Spec{Kind: NotebookEdit}); err == nil {
		t.Error("another server's notebooks are computed")
	}
}
