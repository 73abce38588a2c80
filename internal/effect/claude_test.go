package effect

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

var claudeEdit1 = Spec{Kind: FileEdit, Dialect: DialectClaude, Params: map[string]string{
	"path": "args.file_path", "old": "args.old_string", "new": "args.new_string", "all": "has(args.replace_all) && args.replace_all",
}}

var claudeWrite1 = Spec{Kind: FileWrite, Dialect: DialectClaude, Params: map[string]string{"path": "args.file_path", "content": "args.content"}}

// TestClaudeEdits compares plans with what Edit and Write of Claude Code 2.1.329
// were observed to do with these files, byte for byte.
func TestClaudeEdits(t *testing.T) {
	long := strings.Repeat("x\n", 3000)
	for name, c := range map[string]struct {
		before, old, new string
		all              bool
		after            string // "!" where the tool refuses or the plan does not follow it
	}{
		"crlf":               {"one\r\ntwo\r\nthree\r\n", "one\ntwo", "1\n2", false, "1\r\n2\r\nthree\r\n"},
		"crlf asked for":     {"one\r\ntwo\r\nthree\r\n", "one\r\ntwo", "1\r\n2", false, "!"},
		"mixed, half":        {"one\r\ntwo\nthree\r\nfour\n", "three", "3", false, "one\ntwo\n3\nfour\n"},
		"mixed, mostly lf":   {"one\ntwo\nthree\r\nfour\n", "three", "3", false, "one\ntwo\n3\nfour\n"},
		"mixed, mostly crlf": {"a\r\nb\r\nc\r\nd\n", "c", "C", false, "a\r\nb\r\nC\r\nd\r\n"},
		"mixed, two to one":  {"a\r\nb\r\nc\n", "c", "C", false, "a\r\nb\r\nC\r\n"},
		"beginning decides": {long + strings.Repeat("y\r\n", 9000) + "z\r\n", "z", "Z", false,
			long + strings.Repeat("y\n", 9000) + "Z\n"},
		"beginning decides crlf": {strings.Repeat("y\r\n", 2000) + long + "z\n", "z", "Z", false,
			strings.Repeat("y\r\n", 2000) + strings.Repeat("x\r\n", 3000) + "Z\r\n"},
		"no line at the beginning": {strings.Repeat("x", 5000) + "\r\nz\r\n", "z", "Z", false, strings.Repeat("x", 5000) + "\nZ\n"},
		"crlf into lf":             {"a\nb\n", "a", "1\r\n2", false, "1\r\n2\nb\n"},
		"crlf into crlf":           {"one\r\ntwo\r\n", "one", "1\r\nx\ny", false, "1\r\nx\r\ny\r\ntwo\r\n"},
		"bom":                      {"\xef\xbb\xbfone\ntwo\n", "one", "1", false, "\xef\xbb\xbf1\ntwo\n"},
		"bom and crlf":             {"\xef\xbb\xbfone\r\ntwo\r\n", "one", "1\n2", false, "\xef\xbb\xbf1\r\n2\r\ntwo\r\n"},
		"utf-16":                   {"\xff\xfeo\x00n\x00e\x00", "one", "1", false, "!"},
		"invalid utf-8":            {"one\xff\ntwo\n", "two", "2", false, "!"},
		"nul":                      {"one\x00\ntwo\n", "two", "2", false, "!"},
		"line taken out":           {"one\ntwo\nthree\n", "two", "", false, "one\nthree\n"},
		"line with its end":        {"one\ntwo\nthree\n", "two\n", "", false, "one\nthree\n"},
		"lines taken out":          {"one\ntwo\nthree two\n", "two", "", true, "one\nthree "},
		"only those at an end":     {"x two y two\ntwo z\n", "two", "", true, "x two y two z\n"},
		"taken out inside":         {"x two y\n", "two", "", false, "x  y\n"},
		"taken out at the end":     {"one\ntwo", "two", "", false, "one\n"},
		"before an empty line":     {"one\ntwo\n\nthree\n", "two", "", false, "one\n\nthree\n"},
		"crlf line taken out":      {"a\r\nb\r\nc\r\n", "b", "", false, "a\r\nc\r\n"},
		"curly quotes":             {"it\u2019s \u201cso\u201d\n", `it's "so"`, "x", false, "!"}, // the tool would change the new text too
		"curly quotes asked for":   {"it's \"so\"\n", "it\u2019s \u201cso\u201d", "changed", false, "!"},
		"escape asked for":         {"caf\\u00e9\n", "caf\u00e9", "X", false, "!"},
		"curly quotes elsewhere":   {"it\u2019s\nplain\n", "plain", `it's "q"`, false, "it\u2019s\nit's \"q\"\n"},
		"the exact one of two":     {"it\u2019s\nit's\n", "it's", "that's", false, "it\u2019s\nthat's\n"},
		"dollar":                   {"one\ntwo\n", "one", "$& $1 $$ $`", false, "$& $1 $$ $`\ntwo\n"},
		"twice":                    {"a\na\n", "a", "b", false, "!"},
		"twice, all":               {"aa a\na\n", "a", "b", true, "bb b\nb\n"},
		"overlapping":              {"aaa\n", "aa", "b", false, "ba\n"},
		"overlapping, all":         {"aaaa a\n", "aa", "b", true, "bb a\n"},
		"nothing":                  {"a\n", "a", "a", false, "!"},
		"no old text":              {"a\n", "", "x", false, "!"},
		"blank file":               {" \n", "", "x", false, "x"},
		"empty file":               {"", "", "x", false, "x"},
		"lone cr":                  {"one\rtwo\r\nthree\r\n", "three", "3", false, "one\rtwo\r\n3\r\n"},
		"tab is no blank":          {"\tone\n", "  one", "  1", false, "!"},
		"another unicode form":     {"e\u0301\n", "\u00e9", "x", false, "!"},
	} {
		t.Run(name, func(t *testing.T) {
			root := workspace(t)
			path := write(t, root, "f.txt", c.before)
			in := input(t, m{"file_path": path, "old_string": c.old, "new_string": c.new, "replace_all": c.all}, root)
			p, err := plan(t, compile(t, claudeEdit1), in)
			if c.after == "!" {
				refused(t, err, guard.RulePreviewFailed)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, want := p.Effects[0].After.SHA256, digest.Sum([]byte(c.after)); got != want {
				t.Errorf("the plan differs from %q:\n%s", c.after, p.Change.Text)
			}
		})
	}
}

func TestClaudeWrites(t *testing.T) {
	for name, c := range map[string]struct{ before, content, after string }{
		"lf over crlf":   {"one\r\n", "x\ny\n", "x\ny\n"},
		"crlf as given":  {"a\r\n", "x\r\ny\n", "x\r\ny\n"},
		"bom stays":      {"\xef\xbb\xbfone\n", "x\n", "\xef\xbb\xbfx\n"},
		"bom given":      {"one\n", "\xef\xbb\xbfx\n", "!"},
		"utf-16":         {"\xff\xfeo\x00", "x", "!"},
		"invalid before": {"a\xff\n", "ok\n", "!"},
	} {
		root := workspace(t)
		path := write(t, root, "f.txt", c.before)
		p, err := plan(t, compile(t, claudeWrite1), input(t, m{"file_path": path, "content": c.content}, root))
		if c.after == "!" {
			refused(t, err, guard.RulePreviewFailed)
			continue
		}
		if err != nil || p.Effects[0].After.SHA256 != digest.Sum([]byte(c.after)) {
			t.Errorf("%s: %v, %s", name, err, p.Change.Text)
		}
	}
}

// TestClientToolsDoNotWaitForEachOther: calls of the client's own tools wait
// only for identical calls; those of one server wait for each other.
func TestClientToolsDoNotWaitForEachOther(t *testing.T) {
	root := workspace(t)
	key := func(dialect, skill string) string {
		list, err := compile(t, Spec{Kind: Opaque, Dialect: dialect}).Resolve(t.Context(), input(t, m{"skill": skill}, root))
		if err != nil || len(list) != 1 || list[0].Kind != TargetOpaque || !list[0].Write {
			t.Fatalf("%+v, %v", list, err)
		}
		return list[0].Key
	}
	if a, b, c := key(DialectClaude, "a"), key(DialectClaude, "b"), key(DialectClaude, "a"); a == b || a != c {
		t.Errorf("%q %q %q", a, b, c)
	}
	if a, b := key(DialectGeneric, "a"), key(DialectGeneric, "b"); a != b {
		t.Errorf("%q %q", a, b)
	}
}

// TestClaudeLinksFoldersAndModes checks what the tools do with links, folders and modes.
func TestClaudeLinksFoldersAndModes(t *testing.T) {
	root := workspace(t)
	path := write(t, root, "real/f.sh", "one\n")
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, "real/f.sh", filepath.Join(root, "l.sh"))
	link(t, "real", filepath.Join(root, "dl"))
	link(t, "nowhere", filepath.Join(root, "dang"))
	w, e := compile(t, claudeWrite1), compile(t, claudeEdit1)
	for _, name := range []string{"l.sh", "dang"} {
		_, err := plan(t, w, input(t, m{"file_path": filepath.Join(root, name), "content": "x"}, root))
		refused(t, err, guard.RulePreviewFailed)
	}
	p := mustPlan(t, e, input(t, m{"file_path": filepath.Join(root, "dl/f.sh"), "old_string": "one", "new_string": "1"}, root))
	if got := p.Effects[0]; got.Resource.Path != "real/f.sh" || got.After.Mode != 0o755 {
		t.Errorf("%+v", got)
	}
	p = mustPlan(t, w, input(t, m{"file_path": filepath.Join(root, "a/b/c.txt"), "content": "x"}, root))
	if len(p.SideEffects) != 1 || p.SideEffects[0].Text != "creates the folder a/b" || p.Effects[0].Before.Exists {
		t.Errorf("%+v", p)
	}
	p = mustPlan(t, e, input(t, m{"file_path": filepath.Join(root, "a/b/c.txt"), "old_string": "", "new_string": "x\n"}, root))
	if p.Summary != "create a/b/c.txt (+1 −0)" {
		t.Errorf("%q", p.Summary)
	}
	_, err := plan(t, e, input(t, m{"file_path": filepath.Join(root, "none"), "old_string": "x", "new_string": "y"}, root))
	refused(t, err, guard.RulePreviewFailed)
	_, err = plan(t, w, input(t, m{"file_path": "rel.txt", "content": "x"}, root))
	refused(t, err, guard.RulePath)
	_, err = plan(t, w, input(t, m{"file_path": filepath.Join(filepath.Dir(root), "out.txt"), "content": "x"}, root))
	refused(t, err, guard.RulePath)
}

func TestClaudeSeveralEdits(t *testing.T) {
	root := workspace(t)
	path := write(t, root, "f.txt", "a\nb\nc\n")
	b := compile(t, Spec{Kind: FileEdit, Dialect: DialectClaude, Params: map[string]string{"path": "args.file_path", "edits": "args.edits"}})
	edits := []m{{"old_string": "a", "new_string": "b"}, {"old_string": "b", "new_string": "B", "replace_all": true}}
	p := mustPlan(t, b, input(t, m{"file_path": path, "edits": edits}, root))
	if p.Effects[0].After.SHA256 != digest.Sum([]byte("B\nB\nc\n")) {
		t.Error(p.Change.Text)
	}
}

func FuzzClaudeEdit(f *testing.F) {
	f.Add("a\r\nb\r\n", "a", "x\ny", false)
	f.Add("\xef\xbb\xbfa\n", "a", "", true)
	f.Fuzz(func(t *testing.T, before, old, repl string, all bool) {
		c := content{resolvedPath: resolvedPath{names: []string{"f"}, exists: true}, before: []byte(before)}
		after, err := claudeEdits(c, []edit{{old, repl, all}})
		if err != nil {
			return
		}
		if strings.HasPrefix(before, "\xef\xbb\xbf") != strings.HasPrefix(string(after), "\xef\xbb\xbf") && before != "" && repl != "" {
			t.Errorf("the mark changed: %q", after)
		}
		if !strings.Contains(before+repl, "\r") && strings.Contains(string(after), "\r") {
			t.Errorf("%q came from nothing", after)
		}
	})
}
