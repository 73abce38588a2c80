package document

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

func patchOf(t testing.TB, raw string) jsonvalue.Patch {
	t.Helper()
	p, err := jsonvalue.ParsePatch([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const packageJSON = `{
    "name": "shop",
    "version": "1.0.0",

    "scripts": { "test": "go test", "lint": "vet" },
    "files": [
        "a",
        "b"
    ],
    "deps": {
        "x": 1.50
    },
    "empty": {}
}
`

const composeYAML = `# what runs
services:
  web:
    image: "nginx:1.25"   # pinned
    ports:
    - 80
    - 443

  # the store
  db:
    image: postgres
    env: {A: 1}
    note: |
      two
      lines
version: 3.9
`

const cargoTOML = `# a crate
name = "x"        # its name
version = '1.0'
dates = [1979-05-27]

[deps]
serde = { version = "1", features = ["a", "b"] }
"odd key" = 1

[[bin]]
name = "one"

[[bin]]
name = "two"
path = "b"

[deps.extra]
on = true
`

func TestPatchKeepsTheRest(t *testing.T) {
	for name, c := range map[string]struct{ file, text, patch, old, new string }{
		"replace a string":         {"p.json", packageJSON, `[{"op":"replace","path":"/version","value":"1.0.1"}]`, `"1.0.0"`, `"1.0.1"`},
		"keep the number":          {"p.json", packageJSON, `[{"op":"replace","path":"/deps/x","value":1.0}]`, `1.50`, `1.0`},
		"add a member":             {"p.json", packageJSON, `[{"op":"add","path":"/deps/y","value":{"a":[1,{}]}}]`, "1.50\n", "1.50,\n        \"y\": {\n            \"a\": [\n                1,\n                {}\n            ]\n        }\n"},
		"add to one line":          {"p.json", packageJSON, `[{"op":"add","path":"/scripts/build","value":{"a":1}}]`, `"lint": "vet" }`, `"lint": "vet", "build": {"a": 1} }`},
		"add to the empty":         {"p.json", packageJSON, `[{"op":"add","path":"/empty/a","value":1}]`, "{}\n", "{\n        \"a\": 1\n    }\n"},
		"append an element":        {"p.json", packageJSON, `[{"op":"add","path":"/files/-","value":"c"}]`, "\"b\"\n", "\"b\",\n        \"c\"\n"},
		"insert an element":        {"p.json", packageJSON, `[{"op":"add","path":"/files/0","value":"0"}]`, "\"a\",", "\"0\",\n        \"a\","},
		"remove the last":          {"p.json", packageJSON, `[{"op":"remove","path":"/empty"}]`, ",\n    \"empty\": {}", ""},
		"remove the first":         {"p.json", packageJSON, `[{"op":"remove","path":"/name"}]`, "\"name\": \"shop\",\n    ", ""},
		"remove the only":          {"p.json", packageJSON, `[{"op":"remove","path":"/deps/x"}]`, "{\n        \"x\": 1.50\n    }", "{}"},
		"rename":                   {"p.json", packageJSON, `[{"op":"move","from":"/deps/x","path":"/deps/z"}]`, "\"x\"", "\"z\""},
		"nothing":                  {"p.json", packageJSON, `[{"op":"test","path":"/name","value":"shop"}]`, "shop", "shop"},
		"dos":                      {"p.json", "{\r\n  \"a\": 1\r\n}\r\n", `[{"op":"add","path":"/b","value":[1]}]`, "1\r\n", "1,\r\n  \"b\": [\r\n    1\r\n  ]\r\n"},
		"tight":                    {"p.json", `{"a":1,"b":[1,2]}`, `[{"op":"add","path":"/c","value":{"x":[1,2]}}]`, "2]}", `2],"c":{"x":[1,2]}}`},
		"root":                     {"p.json", "[1, 2]\n", `[{"op":"replace","path":"","value":{"a":1}}]`, "[1, 2]", `{"a": 1}`},
		"byte order mark":          {"p.json", "\ufeff{\"a\": 1}", `[{"op":"add","path":"/b","value":2}]`, "1}", `1, "b": 2}`},
		"comments":                 {"p.jsonc", "{\n  // one\n  \"a\": 1, // first\n  \"b\": 2 // last\n}\n", `[{"op":"add","path":"/c","value":3}]`, "2 // last\n", "2, // last\n  \"c\": 3\n"},
		"trailing comma":           {"p.jsonc", "{\n  \"a\": 1,\n}\n", `[{"op":"add","path":"/c","value":3}]`, "1,\n", "1,\n  \"c\": 3,\n"},
		"yaml scalar":              {"c.yaml", composeYAML, `[{"op":"replace","path":"/services/web/image","value":"nginx:1.27"}]`, `1.25`, `1.27`},
		"yaml plain":               {"c.yml", composeYAML, `[{"op":"replace","path":"/services/db/image","value":"postgres:16"}]`, `image: postgres`, `image: postgres:16`},
		"yaml needs quotes":        {"c.yml", composeYAML, `[{"op":"replace","path":"/services/db/image","value":"yes"}]`, `image: postgres`, `image: "yes"`},
		"yaml number":              {"c.yml", composeYAML, `[{"op":"replace","path":"/version","value":4}]`, `3.9`, `4`},
		"yaml add":                 {"c.yml", composeYAML, `[{"op":"add","path":"/services/web/env","value":{"B":"x: y"}}]`, "    - 443\n", "    - 443\n    env:\n      B: \"x: y\"\n"},
		"yaml append":              {"c.yml", composeYAML, `[{"op":"add","path":"/services/web/ports/-","value":8080}]`, "    - 443\n", "    - 443\n    - 8080\n"},
		"yaml insert":              {"c.yml", composeYAML, `[{"op":"add","path":"/services/web/ports/0","value":8080}]`, "    - 80\n", "    - 8080\n    - 80\n"},
		"yaml remove":              {"c.yml", composeYAML, `[{"op":"remove","path":"/services/web/ports"}]`, "    ports:\n    - 80\n    - 443\n", ""},
		"yaml remove a block":      {"c.yml", composeYAML, `[{"op":"remove","path":"/services/db/note"}]`, "    note: |\n      two\n      lines\n", ""},
		"yaml replace a block":     {"c.yml", composeYAML, `[{"op":"replace","path":"/services/db/note","value":"one"}]`, "    note: |\n      two\n      lines\n", "    note: one\n"},
		"yaml add to the top":      {"c.yml", composeYAML, `[{"op":"add","path":"/x","value":null}]`, "version: 3.9\n", "version: 3.9\nx: null\n"},
		"yaml list of mappings":    {"c.yml", "a:\n  - n: 1\n    m: 2\n  - n: 3\n", `[{"op":"add","path":"/a/1/m","value":4}]`, "  - n: 3\n", "  - n: 3\n    m: 4\n"},
		"yaml flow list":           {"c.yml", "a: [x, \"y]\"] # both\nb: 1\n", `[{"op":"add","path":"/a/-","value":"z z"}]`, `"y]"]`, `"y]", "z z"]`},
		"yaml flow list in one":    {"c.yml", "a: {b: [1, 2], c: 3}\n", `[{"op":"add","path":"/a/b/-","value":{"d":"e, f"}}]`, `2]`, `2, {d: "e, f"}]`},
		"yaml flow mapping":        {"c.yml", "a: {b: 1} # one\n", `[{"op":"add","path":"/a/c","value":[1]}]`, `1}`, `1, c: [1]}`},
		"yaml flow scalar":         {"c.yml", "a: {b: x, c: 3} # one\n", `[{"op":"replace","path":"/a/b","value":"y: {"}]`, `b: x`, `b: "y: {"`},
		"yaml flow apostrophe":     {"c.yml", "a: [it's, 'that''s]'] # one\n", `[{"op":"add","path":"/a/-","value":1}]`, `s]'`, `s]', 1`},
		"yaml fill the empty":      {"c.yml", "a: {} # none yet\nb: 1\n", `[{"op":"add","path":"/a/x","value":{"y":1}}]`, "a: {} # none yet\n", "a: # none yet\n  x:\n    \"y\": 1\n"},
		"yaml fill null":           {"c.yml", "a:    # none # yet\nb: 1\n", `[{"op":"replace","path":"/a","value":{"x":1}}]`, "a:    # none # yet\n", "a: # none # yet\n  x: 1\n"},
		"yaml fill a list":         {"c.yml", "a: []\nb: 1\n", `[{"op":"add","path":"/a/-","value":"x"}]`, "a: []\n", "a:\n  - x\n"},
		"yaml empty a block":       {"c.yml", "a: # some\n  x: 1 # one\n  # last\nb: 1\n", `[{"op":"replace","path":"/a","value":null}]`, "  x: 1 # one\n  # last\n", ""},
		"yaml remove the first":    {"c.yml", "# top\na: 1\n# of b\nb: 2\n", `[{"op":"remove","path":"/a"}]`, "a: 1\n", ""},
		"yaml remove the last":     {"c.yml", "# top\na: 1\n# of b\nb:\n  - 2\n# end\n", `[{"op":"remove","path":"/b"}]`, "b:\n  - 2\n", ""},
		"yaml block for a scalar":  {"c.yml", "a: 1 # 'one'\nb: 2\n", `[{"op":"replace","path":"/a","value":[1]}]`, "a: 1 # 'one'\n", "a: # 'one'\n  - 1\n"},
		"yaml no newline":          {"c.yml", "a: 1", `[{"op":"add","path":"/b","value":2}]`, "a: 1", "a: 1\nb: 2\n"},
		"yaml dos":                 {"c.yml", "a: 1\r\nb: 2\r\n", `[{"op":"add","path":"/c","value":{"x":1}}]`, "b: 2\r\n", "b: 2\r\nc:\r\n  x: 1\r\n"},
		"toml string":              {"c.toml", cargoTOML, `[{"op":"replace","path":"/name","value":"y"}]`, `"x" `, `"y" `},
		"toml nested":              {"c.toml", cargoTOML, `[{"op":"replace","path":"/deps/serde/version","value":"2"}]`, `{ version = "1", features = ["a", "b"] }`, `{ features = ["a", "b"], version = "2" }`},
		"toml add":                 {"c.toml", cargoTOML, `[{"op":"add","path":"/deps/tokio","value":"1"}]`, "\"odd key\" = 1\n", "\"odd key\" = 1\ntokio = \"1\"\n"},
		"toml add to the top":      {"c.toml", cargoTOML, `[{"op":"add","path":"/edition","value":2021}]`, "27]\n", "27]\nedition = 2021\n"},
		"toml remove":              {"c.toml", cargoTOML, `[{"op":"remove","path":"/deps/odd key"}]`, "\"odd key\" = 1\n", ""},
		"toml remove a table":      {"c.toml", cargoTOML, `[{"op":"remove","path":"/deps/extra"}]`, "[deps.extra]\non = true\n", ""},
		"toml in an array":         {"c.toml", cargoTOML, `[{"op":"replace","path":"/bin/1/path","value":"c"}]`, `path = "b"`, `path = "c"`},
		"toml float stays a float": {"c.toml", "a = 1.5\n", `[{"op":"replace","path":"/a","value":1.0}]`, "1.5", "1.0"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Count(c.text, c.old) != 1 && c.old != c.new {
				t.Fatalf("the test's %q is not unique", c.old)
			}
			want := strings.Replace(c.text, c.old, c.new, 1)
			got, rewritten, err := Patch(c.file, []byte(c.text), patchOf(t, c.patch))
			if err != nil || rewritten {
				t.Fatalf("rewritten: %v, error: %v", rewritten, err)
			}
			if string(got) != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestPatchRefusals(t *testing.T) {
	for name, c := range map[string]struct{ file, text, patch, reason string }{
		"no document":       {"p.txt", "{}", `[]`, "no JSON"},
		"broken":            {"p.json", "{", `[]`, "cannot be read"},
		"twice":             {"p.json", `{"a":1,"a":2}`, `[{"op":"add","path":"/b","value":1}]`, "more than once"},
		"test fails":        {"p.json", `{"a":1}`, `[{"op":"test","path":"/a","value":2}]`, "operation 1, test"},
		"no such path":      {"p.json", `{"a":1}`, `[{"op":"remove","path":"/b"}]`, "operation 1, remove"},
		"several documents": {"p.yaml", "a: 1\n---\nb: 2\n", `[{"op":"add","path":"/c","value":1}]`, "cannot be read"},
		"through an alias":  {"p.yaml", "a: &x {b: 1}\nc: *x\n", `[{"op":"replace","path":"/c/b","value":2}]`, "cannot be written"},
		"null in toml":      {"p.toml", "a = 1\n", `[{"op":"replace","path":"/a","value":null}]`, "cannot be written"},
		"toml dates":        {"p.toml", "a = [1979-05-27]\n", `[{"op":"add","path":"/a/-","value":1}]`, "cannot be written"},
		"toml array tables": {"p.toml", "[[a]]\nx = 1\n[[a]]\nx = 2\n", `[{"op":"remove","path":"/a/0"}]`, "cannot be written"},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := Patch(c.file, []byte(c.text), patchOf(t, c.patch))
			var r *Refusal
			if !errors.As(err, &r) || !strings.Contains(r.Reason, c.reason) || r.Repair == "" || got != nil {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestPatchSaysWhenItRewrites(t *testing.T) {
	text := "# head\na: {b: 1, c: [1, 2]}\nd: 1 # one\n"
	got, rewritten, err := Patch("x.yaml", []byte(text), patchOf(t, `[{"op":"add","path":"/a/c/0","value":3}]`))
	if err != nil || !rewritten || !strings.Contains(string(got), "# head") || !strings.Contains(string(got), "# one") {
		t.Errorf("got %q, %v, %v", got, rewritten, err)
	}
}

func TestPatchInlineWritesListsOnOneLine(t *testing.T) {
	got, rewritten, err := PatchInline("c.yaml", []byte("a: 1 # one\n"), patchOf(t, `[{"op":"add","path":"/b","value":{"c":["x","-1","y z"],"d":[{"e":"yes"}],"f":[]}}]`))
	want := "a: 1 # one\nb:\n  c: [x, \"-1\", \"y z\"]\n  d:\n    - e: \"yes\"\n  f: []\n"
	if err != nil || rewritten || string(got) != want {
		t.Errorf("%v, %v, got:\n%s\nwant:\n%s", rewritten, err, got, want)
	}
}

// TestMarkYAML adds a remark to the comment of a line and removes it again.
func TestMarkYAML(t *testing.T) {
	for name, c := range map[string]struct{ text, path, with string }{
		"bare":           {"a:\n  b: x\nc: 1\n", "/a/b", "a:\n  b: x # it's said\nc: 1\n"},
		"another remark": {"a: x   # mine; yours\n", "/a", "a: x   # mine; yours; it's said\n"},
		"quoted hash":    {"a: \"x # y\"\n", "/a", "a: \"x # y\" # it's said\n"},
		"flow":           {"a: {b: x, c: 'it # s'} # fine\n", "/a/b", "a: {b: x, c: 'it # s'} # fine; it's said\n"},
		"dos":            {"a: x\r\nb: y\r\n", "/a", "a: x # it's said\r\nb: y\r\n"},
		"no newline":     {"a: x", "/a", "a: x # it's said"},
	} {
		got, err := MarkYAML([]byte(c.text), c.path, "it's said", true)
		if err != nil || string(got) != c.with {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, c.with)
			continue
		}
		if again, err := MarkYAML(got, c.path, "it's said", true); err != nil || string(again) != c.with {
			t.Errorf("%s: twice: got %q, %v", name, again, err)
		}
		if without, err := MarkYAML(got, c.path, "it's said", false); err != nil || string(without) != c.text {
			t.Errorf("%s: taken away: got %q, %v, want %q", name, without, err, c.text)
		}
	}
	for name, c := range map[string]struct{ text, path string }{
		"no such value": {"a: 1\n", "/b"},
		"block text":    {"a: |\n  x\n", "/a"},
		"mapping":       {"a:\n  b: 1\n", "/a"},
		"over lines":    {"a: \"x\n  y\"\n", "/a"},
	} {
		if got, err := MarkYAML([]byte(c.text), c.path, "said", true); err == nil {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// randomValue draws a small JSON value.
func randomValue(depth int) *rapid.Generator[jsonvalue.Value] {
	return rapid.Custom(func(t *rapid.T) jsonvalue.Value {
		kinds := 4
		if depth > 0 {
			kinds = 6
		}
		var raw string
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			raw = rapid.SampledFrom([]string{"true", "false", "null"}).Draw(t, "word")
		case 1:
			raw = rapid.SampledFrom([]string{"0", "-1", "1.0", "1.50", "1e3", "42"}).Draw(t, "number")
		case 2, 3:
			raw = string(encodeString(rapid.SampledFrom([]string{"", "a", "yes", "null", "1", "# no", "a: b", "x\ny", " lead", "é😀", "-", "~", "\"q\"", "'", "2001-01-01", "0x1f", "<<", "a\tb"}).Draw(t, "text")))
		case 4:
			var parts []string
			for _, v := range rapid.SliceOfN(randomValue(depth-1), 0, 3).Draw(t, "elements") {
				parts = append(parts, string(v.Encode()))
			}
			raw = "[" + strings.Join(parts, ",") + "]"
		default:
			var parts []string
			for _, n := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c d", "e/f", "~", "yes", "1", ""}), 0, 3, rapid.ID[string]).Draw(t, "names") {
				parts = append(parts, string(encodeString(n))+":"+string(randomValue(depth-1).Draw(t, "member").Encode()))
			}
			raw = "{" + strings.Join(parts, ",") + "}"
		}
		v, err := jsonvalue.Decode([]byte(raw))
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		return v
	})
}

// TestPatchedDocumentsReadAsPatched makes a document, lays it out at random and
// patches it into another: the text must parse as the other, or be refused.
func TestPatchedDocumentsReadAsPatched(t *testing.T) {
	kept, rewritten, refusals := map[string]int{}, map[string]int{}, map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		a, b := objectOf(t, randomValue(2).Draw(t, "a")), objectOf(t, randomValue(2).Draw(t, "b"))
		for _, ext := range []string{".json", ".jsonc", ".yaml", ".toml"} {
			text, ok := layOut(t, ext, a)
			if !ok {
				continue
			}
			now, notes, err := ParseDocument(ext, text)
			if err != nil || len(notes.Duplicates) > 0 {
				continue
			}
			out, re, err := Patch("x"+ext, text, jsonvalue.MakePatch(now, b))
			var r *Refusal
			switch {
			case errors.As(err, &r):
				refusals[ext]++
				if ext == ".json" {
					t.Fatalf("%s\n%s", r.Reason, text)
				}
				continue
			case err != nil:
				t.Fatal(err)
			case re:
				rewritten[ext]++
			default:
				kept[ext]++
			}
			got, _, err := ParseDocument(ext, out)
			if err != nil || len(jsonvalue.MakePatch(got, b)) > 0 {
				t.Fatalf("%s\n%s\nwant %s, %v", text, out, b, err)
			}
		}
	})
	t.Logf("kept %v, rewritten %v, refused %v", kept, rewritten, refusals)
}

func objectOf(t *rapid.T, v jsonvalue.Value) jsonvalue.Value {
	o, err := jsonvalue.Object(jsonvalue.Member{Name: "top", Value: v}, jsonvalue.Member{Name: "n", Value: jsonvalue.Int(1)})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// layOut writes a value in one of the layouts of a format.
func layOut(t *rapid.T, ext string, v jsonvalue.Value) ([]byte, bool) {
	style := jsonStyle{colon: ": ", unit: rapid.SampledFrom([]string{"  ", "\t", "    "}).Draw(t, "unit"), newline: rapid.SampledFrom([]string{"", "\n", "\r\n"}).Draw(t, "newline")}
	switch ext {
	case ".json", ".jsonc":
		text := style.render(v, "", false)
		if ext == ".jsonc" {
			text = "// head\n" + strings.Replace(text, ",\n", ", // note\n", 1)
		}
		return []byte(text + "\n"), true
	case ".yaml":
		out, err := encodeYAML(yamlNode(v), rapid.SampledFrom([]int{2, 4}).Draw(t, "indent"))
		return append([]byte("# head\n"), out...), err == nil
	}
	var b strings.Builder
	for name, e := range v.Members() {
		s, err := renderTOML(e)
		if err != nil {
			return nil, false
		}
		fmt.Fprintf(&b, "%s = %s # note\n", tomlName(name), s)
	}
	return []byte(b.String()), true
}
