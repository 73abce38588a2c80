package effect

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// TestDocumentViews writes documents of every format and checks what is shown
// besides the text diff.
func TestDocumentViews(t *testing.T) {
	const comments, formatting, both = "comments only", "formatting only", "formatting and comments only"
	for _, c := range []struct {
		name, before, after string
		rows                string // op path, parted by blanks
		says                string // beginning of a side effect
		hazards             string
	}{
		{"a.json", `{"a":1}`, `{"a":2}`, "replace /a", "", ""},
		{"a.json", `{"a":1,"b":2}`, "{\n  \"b\": 2,\n  \"a\": 1\n}\n", "", formatting, ""},
		{"a.json", `{"port":"8080"}`, `{"port":8080}`, "replace /port", "", HazardType},
		{"a.json", `{"a":1}`, `{"a":1,"a":2}`, "replace /a", "", HazardDuplicate},
		{"a.json", `{"a":1}`, `{"a":`, "", "", HazardBroken},
		{"a.json", `{"a":1}`, "// x\n{\"a\":1}", "", "", HazardBroken},
		{"a.json", "{\"a\":1}", "{\"a\":1,}", "", "", HazardBroken},
		{"a.json", `{"a":1}`, `{"a":1.0}`, "replace /a", "", ""},
		{"a.json", `{"a":9007199254740992}`, `{"a":9007199254740993}`, "replace /a", "", ""},
		{"a.json", `{"a":{"b":1}}`, `{"c":{"b":1}}`, "move /c", "", ""},
		{"a.json", `{"a":null}`, `{"a":"x"}`, "replace /a", "", ""},
		{"tsconfig.json", "{\n  // old\n  \"a\": 1\n}", "{\n  // new\n  \"a\": 1\n}", "", comments, ""},
		{"a.jsonc", "{\"a\": 1, // x\n}", "{\"a\": 1, // y\n}", "", comments, ""},
		{"a.jsonc", "{\"a\": 1}", "/* b */ {\"a\": 1}", "", both, ""},
		{"a.jsonc", `{"a":[1,2]}`, `{"a":[2]}`, "remove /a/0", "", ""},
		{"a.yaml", "# one\na: 1\n", "# two\na: 1\n", "", comments, ""},
		{"a.yaml", "a: 1 # x\n", "a: 1 # y\n", "", comments, ""},
		{"a.yaml", "a: 1\nb: 2\n", "b: 2\na: 1\n", "", formatting, ""},
		{"a.yaml", "a: {b: 1}\n", "a:\n  b: 1\n", "", formatting, ""},
		{"a.yaml", "v: \"no\"\n", "v: no\n", "", "", HazardAmbiguous},
		{"a.yaml", "v: \"8080\"\n", "v: 8080\n", "replace /v", "", HazardType},
		{"a.yaml", "v: \"false\"\n", "v: false\n", "replace /v", "", HazardType},
		{"a.yaml", "a: 1\n", "a: 1\na: 2\n", "replace /a", "", HazardDuplicate},
		{"a.yml", "x: &d {p: 1}\ny: *d\n", "x: &d {p: 2}\ny: *d\n", "replace /x/p replace /y/p", "", ""},
		{"a.yml", "x: &d {p: 1}\ny: {<<: *d}\n", "x: &d {p: 2}\ny: {<<: *d}\n", "replace /x/p replace /y/p", "", ""},
		{"a.yml", "x: {p: 1}\ny: {p: 1}\n", "x: &d {p: 1}\ny: *d\n", "", formatting, ""},
		// What one parser considers formatting and another does not.
		{"a.yaml", "a: {b: 1}\n", "a: {b:1}\n", "", "", HazardAmbiguous},
		{"a.yaml", "a: >-\n  x\nb: 1\n", "a: >-\n  x  \nb: 1\n", "", "", HazardAmbiguous},
		{"a.yaml", "a: pq\n", "a: p\tq\n", "", "", HazardAmbiguous},
		{"a.yaml", "a: 1\n", "a:\t1\n", "", "", ""},
		{"a.yaml", "a: 1\n", "a: 1\n*\n", "", "", HazardBroken},
		{"a.yaml", "a: &x 1\nb: 2\n", "a: &x 1\nb: &x 2\n", "", "", ""},
		{"a.yaml", "a: !t {b: 1}\n", "a: !t\n  b: 1\n", "", formatting, ""},
		{"a.yaml", "a: 'x'\nb: [1, ~]\n", "\"a\": x\nb:\n- 1\n- null\n", "", formatting, ""},
		{"a.yaml", "a: 1\n", "a: 1\n---\nb: 2\n", "", "the file holds several documents; only its lines are compared", ""},
		{"a.yaml", "a: 1\n---\nb: 2\n", "a: 1\n---\nb: 3\n", "", "the file holds several documents; only its lines are compared", ""},
		{"a.toml", "a = 1 # x\n", "a = 1 # y\n", "", comments, ""},
		{"a.toml", "a = 1\nb = 2\n", "b = 2\na = 1\n", "", formatting, ""},
		{"a.toml", "[s]\np = \"8080\"\n", "[s]\np = 8080\n", "replace /s/p", "", HazardType},
		{"a.toml", "a = 1\n", "a = 1\na = 2\n", "", "", HazardBroken},
		{".env", "A=1\nB=2\n", "B=2\nA=1\n", "", formatting, ""},
		{".env", "# a\nA=1\n", "# b\nA=1\n", "", comments, ""},
		{".env.local", "A=1\n", "A=2\nC=3\n", "replace /A add /C", "", ""},
		{".env", "A=1\n", "A=1\nA=2\n", "replace /A", "", HazardDuplicate},
		{".env", "export A='x'\n", "A=x\n", "", formatting, ""},
		{"prod.env", "A=1\n", "A=$HOME\n", "replace /A", "", HazardAmbiguous},
		{".env", "A=1\n", "A=\"one\ntwo\"\n", "", "", HazardBroken},
		{"a.ini", "[s]\na = 1\n", "[s]\na=1\n", "", formatting, ""},
		{"a.ini", "; x\n[s]\na=1\n", "# y\n[s]\na=1\n", "", comments, ""},
		{"a.ini", "top=1\n[s]\na=1\n", "top=1\n[s]\na=2\n[t]\nb\n", "replace /s/a add /t", "", ""},
		{"a.ini", "[s]\na=1\n", "[s]\na=1\na=2\n", "replace /s/a", "", HazardDuplicate},
		{"a.ini", "[s]\na=1\n", "[s]\na=1\nA=2\n", "add /s/A", "", HazardAmbiguous},
		{"a.ini", "[s]\na=1\n", "[s]\na=1\n[s]\nb=1\n", "add /s/b", "", HazardDuplicate},
		{"a.ini", "[s]\na=1\n", "[s]\na=1\n  more\n", "", "", HazardBroken},
		{"a.txt", "a: 1\n", "a: 2\n", "-", "", ""},
	} {
		s, err := structural(c.name, []byte(c.before), []byte(c.after), true)
		if err != nil {
			t.Fatalf("%s %q: %v", c.name, c.after, err)
		}
		if got := rowsOf(t, s); got != c.rows && !(c.rows == "-" && s.preview == nil) {
			t.Errorf("%s %q → %q: rows %q, want %q", c.name, c.before, c.after, got, c.rows)
		}
		said := ""
		for _, e := range s.sides {
			said, _, _ = strings.Cut(e.Text, ":")
		}
		if said != c.says {
			t.Errorf("%s %q → %q: says %q, want %q", c.name, c.before, c.after, said, c.says)
		}
		var kinds []string
		for _, h := range s.hazards {
			kinds = append(kinds, h.Kind)
		}
		if got := strings.Join(kinds, " "); got != c.hazards {
			t.Errorf("%s %q → %q: hazards %v, want %q", c.name, c.before, c.after, s.hazards, c.hazards)
		}
	}
	// A new document has no rows, but its problems are reported.
	s, err := structural("a.json", nil, []byte(`{"a":1,"a":2}`), false)
	if err != nil || s.preview != nil || len(s.hazards) != 1 || s.hazards[0].Kind != HazardDuplicate {
		t.Errorf("new: %+v %v", s, err)
	}
}

func rowsOf(t *testing.T, s structure) string {
	var list []struct{ Op, Path string }
	if s.preview == nil {
		return ""
	}
	if err := json.Unmarshal(s.preview, &list); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range list {
		out = append(out, r.Op+" "+r.Path)
	}
	return strings.Join(out, " ")
}

// TestHugeDocumentsHaveNoStructuralView: a document too large for a structural
// view is reported as such, and costs no more than reading it.
func TestHugeDocumentsHaveNoStructuralView(t *testing.T) {
	var yaml, env strings.Builder
	for i := range 30_000 {
		fmt.Fprintf(&yaml, "key%d: [a, b, {c: d}]\n", i)
		fmt.Fprintf(&env, "KEY%d=%s\n", i, strings.Repeat("x", 40))
	}
	for name, text := range map[string]string{"a.yaml": yaml.String(), "a.toml": strings.ReplaceAll(yaml.String(), ": ", " = "), ".env": env.String()} {
		s, err := structural(name, []byte(text), []byte(text+"z: 1\n"), true)
		if err != nil || s.preview != nil || len(s.sides) != 1 || !strings.Contains(s.sides[0].Text, "too large") {
			t.Errorf("%s: %v %v %v", name, err, s.sides, s.hazards)
		}
	}
}

// FuzzPlainDocuments: parsing fails only with an error, and the patch between two
// documents leads from one to the other.
func FuzzPlainDocuments(f *testing.F) {
	f.Add("A=1\nexport B='x' # y\n", "A=\"2\"\n")
	f.Add("[s]\na=1\nb: 2\n; c\n", "a\n[t]\n")
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, name := range []string{".env", "a.ini"} {
			a, _, err := readDocument(name, []byte(before))
			if err != nil {
				continue
			}
			b, _, err := readDocument(name, []byte(after))
			if err != nil {
				continue
			}
			got, err := jsonvalue.MakePatch(a, b).Apply(a)
			if err != nil || !got.Equal(b) {
				t.Fatalf("%s: %q → %q: %v", name, before, after, err)
			}
		}
	})
}

func TestAddedSecretsAreReported(t *testing.T) {
	const token = "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB"
	root := workspace(t)
	write(t, root, "a.txt", "x\ntoken "+token+"\n")
	b := compile(t, spec(FileWrite, DialectWorkspace))
	has := func(content string) bool {
		p := mustPlan(t, b, input(t, m{"path": root + "/a.txt", "content": content}, root))
		for _, h := range p.Hazards {
			if strings.Contains(h.Text, token) {
				t.Errorf("the hazard repeats the secret: %s", h.Text)
			}
		}
		return hasHazard(p, HazardSecret)
	}
	if has("y\ntoken " + token + "\n") {
		t.Error("a secret that was there counts as added")
	}
	if !has("x\ntoken " + token + "\nagain " + token[:38] + "CD\n") {
		t.Error("an added secret is not seen")
	}
	p := mustPlan(t, b, input(t, m{"path": root + "/a.txt", "content": "y\nagain " + token[:38] + "CD\n"}, root))
	if !slices.ContainsFunc(p.Hazards, func(h guard.Hazard) bool { return h.Text == "adds what looks like a GitHub token" }) {
		t.Errorf("hazards %+v", p.Hazards)
	}
	p = mustPlan(t, b, input(t, m{"path": root + "/a.txt", "content": token}, root))
	if !strings.Contains(p.Change.Text, token) {
		t.Error("the reviewer does not see what is written")
	}
	if p := mustPlan(t, messageBinding(t), input(t, m{"to": "a@b.example", "subject": "s", "body": token})); !hasHazard(p, HazardSecret) {
		t.Error("a secret in a message is not seen")
	}
}

func TestSizeJump(t *testing.T) {
	for _, c := range []struct {
		before, after int64
		want          string
	}{
		{0, 1 << 20, ""}, {10, 200, ""}, {100, 5000, "grows to 50 times"}, {1000, 9000, ""}, {1000, 10_001, "grows to 10 times"},
		{20_000, 1999, "shrinks to 1/10"}, {20_000, 2000, ""}, {20_000, 0, ""}, {2000, 100, "shrinks to 1/20"},
	} {
		if got := sizeJump(c.before, c.after); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%d → %d: %q, want %q", c.before, c.after, got, c.want)
		}
	}
}

func TestTouchedNamesHostsRecipientsAndTables(t *testing.T) {
	b := compile(t, Spec{Kind: SQL, Params: map[string]string{"statement": "args.sql", "dialect": "'sqlite'"}})
	p := mustPlan(t, b, input(t, m{"sql": "DELETE FROM a WHERE x IN (SELECT y FROM b)"}))
	got := Touched("db", p.Change)
	if len(got) != 2 || got[0] == Touched("other", p.Change)[0] {
		t.Errorf("%q", got)
	}
	if s := FirstTimes(got); len(s) != 1 || s[0].Text != "first use of the tables a, b" {
		t.Errorf("%v", s)
	}
	h := compile(t, Spec{Kind: HTTP, Params: map[string]string{"url": "args.url", "method": "args.method"}})
	p = mustPlan(t, h, input(t, m{"url": "https://x.example/a", "method": "POST"}))
	if s := FirstTimes(Touched("web", p.Change)); len(s) != 1 || s[0].Text != "first request to the host x.example" || p.SideEffects[0] != notReversible {
		t.Errorf("%v %v", s, p.SideEffects)
	}
	if Touched("x", guard.Change{Text: "a"}) != nil || FirstTimes(nil) != nil {
		t.Error("nothing is something")
	}
}

func TestRewrittenDocument(t *testing.T) {
	text := "# head\na: {b: 1, c: [1, 2]}\nd: 1 # one\n"
	root := workspace(t)
	write(t, root, "x.yaml", text)
	p := mustPlan(t, compile(t, spec(DocumentPatch, DialectWorkspace)), input(t, m{"path": "x.yaml", "patch": []m{{"op": "add", "path": "/a/c/0", "value": 3}}}, root))
	if hazards(p) != HazardRewritten || !strings.Contains(string(p.Change.Patch), `"/a/c/0"`) || !strings.Contains(string(p.Change.Preview), `"to":3`) {
		t.Errorf("got %q, %s, %s", hazards(p), p.Change.Patch, p.Change.Preview)
	}
}

func TestStructuralViewOfAWrite(t *testing.T) {
	root := workspace(t)
	write(t, root, "a.json", "{\"a\": 1}\n")
	w := compile(t, spec(FileWrite, ""))
	p := mustPlan(t, w, input(t, m{"path": "a.json", "content": `{"a":2}`}, root))
	if !strings.Contains(string(p.Change.Patch), `{"op":"replace","path":"/a","value":2}`) || string(p.Change.Preview) != `[{"op":"replace","path":"/a","from":1,"to":2}]` {
		t.Errorf("got %s, %s", p.Change.Patch, p.Change.Preview)
	}
	p = mustPlan(t, w, input(t, m{"path": "a.json", "content": `{"a":`}, root))
	if hazards(p) != HazardBroken || p.Change.Patch != nil {
		t.Errorf("got %q, %s", hazards(p), p.Change.Patch)
	}
	p = mustPlan(t, w, input(t, m{"path": "a.json", "content": `{"a":1,"a":1}`}, root))
	if hazards(p) != HazardDuplicate {
		t.Errorf("got %q", hazards(p))
	}
}
