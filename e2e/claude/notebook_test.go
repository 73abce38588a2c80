package claude

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
)

// TestNotebooksAsComputed: what the real client makes of notebooks is what the
// plan said. The id of a new cell is its own, so that one is shown and not
// predicted.
func TestNotebooksAsComputed(t *testing.T) {
	w, settings := newHookWorld(t)
	const (
		head = "{\n \"cells\": [\n"
		one  = "  {\n   \"cell_type\": \"code\",\n   \"execution_count\": 7,\n   \"id\": \"aa11\",\n   \"metadata\": {},\n   \"outputs\": [\n    {\n     \"text\": [\n      \"1\\n\"\n     ]\n    }\n   ],\n   \"source\": [\n    \"a = 1\\n\",\n    \"print(a)\"\n   ]\n  }"
		tail = "\n ],\n \"metadata\": {\n  \"language_info\": {\n   \"name\": \"python\"\n  }\n },\n \"nbformat\": 4,\n \"nbformat_minor\": %\n}\n"
	)
	book := func(minor string, cells ...string) string {
		return head + strings.Join(cells, ",\n") + strings.Replace(tail, "%", minor, 1)
	}
	const text = "  {\n   \"cell_type\": \"markdown\",\n   \"id\": \"bb22\",\n   \"metadata\": {},\n   \"source\": \"# h\\u00e4 \\u2028 \\ud83d\\ude00 </b>\"\n  }"
	const odd = "{\"x\": {\"b\": 1, \"10\": 1.0, \"2\": -0.0, \"02\": 1e-7, \"a\": 12E2, \"n\": 0.1234567890123456789}, \"cells\":[{\"cell_type\":\"raw\",\"source\":[],\"metadata\":{}}]}"
	type edit struct {
		before string
		input  map[string]any
		want   string // in what the file is afterwards
	}
	edits := map[string]edit{
		"replace.ipynb": {book("5", one, text), map[string]any{"cell_id": "aa11", "new_source": "b = 2\nprint(\"\\t\u00e4</b>\u2028\")"}, `"source": "b = 2\nprint(\"\\t`},
		"place.ipynb":   {book("5", one, text), map[string]any{"cell_id": "cell-1", "new_source": "c\u0001\u007f"}, `"source": "c\u0001` + "\u007f\""},
		"type.ipynb":    {book("5", one), map[string]any{"cell_id": "aa11", "cell_type": "markdown", "new_source": "x"}, `"cell_type": "markdown"`},
		"delete.ipynb":  {book("5", one, text), map[string]any{"cell_id": "aa11", "edit_mode": "delete", "new_source": ""}, "# h\u00e4 \u2028 \U0001f600 </b>"},
		"last.ipynb":    {book("5", one), map[string]any{"cell_id": "aa11", "edit_mode": "delete", "new_source": "unused"}, `"cells": []`},
		"old.ipynb":     {book("4", one), map[string]any{"cell_id": "aa11", "edit_mode": "insert", "cell_type": "code", "new_source": "new"}, `"source": "new"`},
		"first.ipynb":   {book("4", one), map[string]any{"edit_mode": "insert", "cell_type": "markdown", "new_source": "new"}, `"source": "new"`},
		"fresh.ipynb":   {book("5", one), map[string]any{"cell_id": "cell-0", "edit_mode": "insert", "cell_type": "code", "new_source": "new"}, `"source": "new"`},
		"crlf.ipynb":    {strings.ReplaceAll(book("5", one), "\n", "\r\n"), map[string]any{"cell_id": "aa11", "new_source": "1\r\n2\n"}, "\"source\": \"1\\r\\n2\\n\"\r\n"},
		"odd.ipynb":     {odd, map[string]any{"cell_id": "cell-0", "new_source": "r"}, `"2": 0,`},
	}
	own := regexp.MustCompile(`"id": "[0-9a-f]{8}"`)
	names := slices.Sorted(maps.Keys(edits))
	steps := []step{call("ToolSearch", map[string]any{"query": "select:NotebookEdit"})}
	for _, name := range names {
		e := edits[name]
		w.write(name, e.before)
		e.input["notebook_path"] = filepath.Join(w.project, name)
		steps = append(steps, call("Read", map[string]any{"file_path": e.input["notebook_path"]}), call("NotebookEdit", e.input))
	}
	a := serve(t, steps...)
	s := w.start(a, "--settings", settings, "--allowedTools", "NotebookEdit,Read,ToolSearch")
	asked := map[string]client.Detail{}
	for _, name := range names { // the client makes them one after the other
		d := w.pending()
		if d.Tool != "NotebookEdit" || d.Diff.Type != "unified" || !strings.Contains(d.Diff.Text, "+++ b/"+name) {
			t.Errorf("%s: %+v", d.Tool, d.Diff)
		}
		asked[name] = d
		w.decide(d, client.Allow, "as computed")
	}
	w.finish(s)
	for name, e := range edits {
		t.Run(name, func(t *testing.T) {
			w, d := *w, asked[name]
			w.t = t
			got := w.read(name)
			if !strings.Contains(got, e.want) {
				t.Errorf("it is %s\nthe model was told %v", got, a.told())
			}
			end := w.ended(d.ID)
			want := "verified"
			if name == "fresh.ipynb" {
				want = "unverifiable"
				if !own.MatchString(got) || !strings.Contains(d.Diff.Text, `+   "id": "????????",`) {
					t.Errorf("the id:\n%s\n%s", got, d.Diff.Text)
				}
			}
			if end.Status != client.Executed || end.Receipt == nil || end.Receipt.ReadBack != want {
				t.Errorf("it ended as %s, %+v\n%s\nthe file is\n%s", end.Status, end.Receipt, d.Diff.Text, got)
			}
		})
	}
}
