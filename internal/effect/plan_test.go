package effect

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

func TestCompileNamesTheFault(t *testing.T) {
	env, err := expr.New()
	if err != nil {
		t.Fatal(err)
	}
	for want, s := range map[string]Spec{
		`unknown effect "file.wirte"`:      {Kind: "file.wirte"},
		`unknown effect ""`:                {},
		`needs "content"`:                  {Kind: FileWrite, Params: map[string]string{"path": "args.path"}},
		`no parameter "contents"`:          {Kind: FileWrite, Params: map[string]string{"path": "args.path", "content": "args.x", "contents": "args.x"}},
		`unknown dialect "emacs"`:          {Kind: FileDelete, Dialect: "emacs", Params: map[string]string{"path": "args.path"}},
		`effect file.delete, path:`:        {Kind: FileDelete, Params: map[string]string{"path": "args.("}},
		`either "edits", or "old"`:         {Kind: FileEdit, Params: map[string]string{"path": "args.path"}},
		`"old" and "new"`:                  {Kind: FileEdit, Params: map[string]string{"path": "args.path", "old": "args.o"}},
		"effect file.delete, dry_run: the": {Kind: FileDelete, Params: map[string]string{"path": "args.path", "dry_run": "'x'"}},
	} {
		_, err := Compile(env, s)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", s, err, want)
		}
	}
	for _, kind := range Kinds() {
		dialect := DialectGeneric
		if kind == NotebookEdit {
			dialect = DialectClaude
		}
		b := compile(t, spec(kind, dialect))
		if b.Kind() != kind || b.Declared() != kind {
			t.Errorf("%s compiles to %s", kind, b.Kind())
		}
	}
}

func TestPlans(t *testing.T) {
	const script = "#!/bin/sh\necho hi\n"
	for name, c := range map[string]struct {
		kind, dialect string
		args          m
		summary       string // "" where the plan refuses
		text          string // a part of the change
		hazards       string
		after         string // content that the effect predicts; "-" for none
	}{
		"create, blank name":   {FileWrite, "", m{"path": "new.txt ", "content": "a\n"}, `create "new.txt " (+1 −0)`, "+a\n", "", "a\n"},
		"create":               {FileWrite, "", m{"path": "new.txt", "content": "a\nb\n"}, "create new.txt (+2 −0)", "new file mode 100644\n--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1,2 @@\n+a\n+b\n", "", "a\nb\n"},
		"create empty":         {FileWrite, "", m{"path": "new.txt", "content": ""}, "create new.txt (+0 −0)", "new file mode 100644\n", "", ""},
		"overwrite":            {FileWrite, "", m{"path": "src/main.go", "content": "package main\n\nfunc main() { run() }\n"}, "overwrite src/main.go (+1 −1)", "-func main() {}\n+func main() { run() }\n", "", "package main\n\nfunc main() { run() }\n"},
		"same":                 {FileWrite, "", m{"path": "src/main.go", "content": "package main\n\nfunc main() {}\n"}, "no change to src/main.go", "", "", "package main\n\nfunc main() {}\n"},
		"no folder":            {FileWrite, "", m{"path": "no/such/x", "content": ""}, "", "", "", ""},
		"over a folder":        {FileWrite, "", m{"path": "src", "content": ""}, "", "", "", ""},
		"the root":             {FileWrite, "", m{"path": ".", "content": ""}, "", "", "", ""},
		"trailing slash":       {FileWrite, "", m{"path": "x/", "content": ""}, "", "", "", ""},
		"empties":              {FileWrite, "", m{"path": "src/main.go", "content": ""}, "overwrite src/main.go (+0 −3)", "-package main", "emptied", ""},
		"append":               {FileAppend, "", m{"path": "src/main.go", "content": "// end"}, "append to src/main.go (+1 −0)", "+// end\n\\ No newline at end of file\n", "", "package main\n\nfunc main() {}\n// end"},
		"append creates":       {FileAppend, "", m{"path": "log", "content": "x\n"}, "create log (+1 −0)", "+x\n", "", "x\n"},
		"edit":                 {FileEdit, "", m{"path": "src/main.go", "edits": []m{{"oldText": "{}", "newText": "{ }"}}}, "edit src/main.go (+1 −1)", "+func main() { }\n", "", "package main\n\nfunc main() { }\n"},
		"edit is unique":       {FileEdit, "", m{"path": "src/main.go", "edits": []m{{"oldText": "main", "newText": "x"}}}, "", "", "", ""},
		"edit all":             {FileEdit, "workspace", m{"path": "src/main.go", "edits": []m{{"old_text": "main", "new_text": "x", "replace_all": true}}}, "edit src/main.go (+2 −2)", "+func x() {}\n", "", "package x\n\nfunc x() {}\n"},
		"edit not found":       {FileEdit, "", m{"path": "src/main.go", "edits": []m{{"oldText": "nope", "newText": "x"}}}, "", "", "", ""},
		"edit nothing":         {FileEdit, "", m{"path": "src/main.go", "edits": []m{{"oldText": "", "newText": "x"}}}, "", "", "", ""},
		"edit odd member":      {FileEdit, "", m{"path": "src/main.go", "edits": []m{{"oldText": "{}", "newText": "x", "regex": true}}}, "", "", "", ""},
		"edit missing member":  {FileEdit, "", m{"path": "src/main.go", "edits": []m{{"oldText": "{}"}}}, "", "", "", ""},
		"edit both spellings":  {FileEdit, "", m{"path": "src/main.go", "edits": []m{{"oldText": "{}", "old_text": "x", "newText": "y"}}}, "", "", "", ""},
		"edits no list":        {FileEdit, "", m{"path": "src/main.go", "edits": "x"}, "", "", "", ""},
		"edit keeps crlf":      {FileEdit, "workspace", m{"path": "dos.txt", "edits": []m{{"old_text": "one\ntwo", "new_text": "1\n2\n3"}}}, "edit dos.txt (+3 −2)", "+1\r\n+2\r\n+3\r\n", "", "1\r\n2\r\n3\r\n"},
		"edit generic crlf":    {FileEdit, "", m{"path": "dos.txt", "edits": []m{{"old_text": "one\ntwo", "new_text": "1"}}}, "", "", "", ""},
		"node turns crlf":      {FileEdit, "server-filesystem", m{"path": "dos.txt", "edits": []m{{"oldText": "two", "newText": "2"}}}, "edit dos.txt (+2 −2)", "+2\n", "line_endings", "one\n2\n"},
		"node loses bytes":     {FileEdit, "server-filesystem", m{"path": "latin1.txt", "edits": []m{{"oldText": "x", "newText": "y"}}}, "edit latin1.txt (+2 −2)", "+y\n", "invalid_utf8", "caf\ufffd\ny\n"},
		"crlf overwritten":     {FileWrite, "", m{"path": "dos.txt", "content": "one\ntwo\n"}, "overwrite dos.txt (+2 −2)", "", "line_endings", "one\ntwo\n"},
		"executable":           {FileWrite, "", m{"path": "run.sh", "content": script + "true\n"}, "overwrite run.sh (+1 −0)", "+true", "executable", script + "true\n"},
		"hard link":            {FileWrite, "workspace", m{"path": "hard", "content": "x\n"}, "overwrite hard (+1 −1)", "", "hard_link", "x\n"},
		"hard link in place":   {FileWrite, "", m{"path": "hard", "content": "x\n"}, "overwrite hard (+1 −1)", "", "", "x\n"},
		"setuid":               {FileWrite, "server-filesystem", m{"path": "suid", "content": "x\n"}, "overwrite suid (+1 −1)", "old mode 104755\nnew mode 100755\n", "executable mode_changed", "x\n"},
		"binary":               {FileWrite, "", m{"path": "bin", "content": "text\n"}, "overwrite bin (binary)", "Binary files a/bin and b/bin differ\n", "binary", "text\n"},
		"through a link":       {FileWrite, "", m{"path": "l/main.go", "content": "package main\n"}, "overwrite src/main.go (+0 −2)", "diff --git a/src/main.go", "symbolic_link", "package main\n"},
		"bidi":                 {FileWrite, "", m{"path": "new.go", "content": "a := \"\u202eevil\u202c\"\n"}, "create new.go (+1 −0)", "", "bidi_control", "a := \"\u202eevil\u202c\"\n"},
		"bidi in the name":     {FileWrite, "", m{"path": "a\u202etxt.sh", "content": "x\n"}, "create \"a\\u202etxt.sh\" (+1 −0)", "", "bidi_control", "x\n"},
		"delete":               {FileDelete, "", m{"path": "src/main.go"}, "delete src/main.go (+0 −3)", "deleted file mode 100644\n--- a/src/main.go\n+++ /dev/null\n", "", "-"},
		"delete a folder":      {FileDelete, "", m{"path": "src"}, "", "", "", ""},
		"delete empty folder":  {FileDelete, "", m{"path": "empty"}, "delete empty folder empty", "", "", "-"},
		"delete nothing":       {FileDelete, "", m{"path": "gone"}, "", "", "", ""},
		"delete a link":        {FileDelete, "", m{"path": "l"}, "", "", "", ""},
		"move":                 {FileMove, "", m{"source": "src/main.go", "destination": "cmd.go"}, "move src/main.go → cmd.go", "rename from src/main.go\nrename to cmd.go\n", "", "package main\n\nfunc main() {}\n"},
		"move a folder":        {FileMove, "", m{"source": "src", "destination": "lib"}, "move src → lib (folder, 1 entries)", "rename from src/\nrename to lib/\n1 entries move with it\n  main.go\n", "", "-"},
		"move into itself":     {FileMove, "", m{"source": "src", "destination": "src/x"}, "", "", "", ""},
		"move onto a file":     {FileMove, "", m{"source": "run.sh", "destination": "bin"}, "", "", "", ""},
		"move to no folder":    {FileMove, "", m{"source": "run.sh", "destination": "no/such"}, "", "", "", ""},
		"move nothing":         {FileMove, "", m{"source": "gone", "destination": "x"}, "", "", "", ""},
		"move the root":        {FileMove, "", m{"source": ".", "destination": "x"}, "", "", "", ""},
		"node moves the file":  {FileMove, "server-filesystem", m{"source": "lf", "destination": "x"}, "move run.sh → x", "", "executable link_left_behind symbolic_link", script},
		"generic moves a link": {FileMove, "", m{"source": "lf", "destination": "x"}, "", "", "", ""},
		"folder":               {DirCreate, "", m{"path": "a/b/c"}, "create folder a/b/c (3 new folders)", "new folder a\nnew folder a/b\nnew folder a/b/c\n", "", "-"},
		"folder is there":      {DirCreate, "", m{"path": "src"}, "no change: folder src is there", "", "", "-"},
		"folder over a file":   {DirCreate, "", m{"path": "run.sh"}, "", "", "", ""},
		"folder in a file":     {DirCreate, "", m{"path": "run.sh/x"}, "", "", "", ""},
		"opaque":               {Opaque, "", m{"z": 1, "a": "x"}, "call tool", "{\n  \"a\": \"x\",\n  \"z\": 1\n}\n", "opaque", "-"},
		"read":                 {FileRead, "", m{"path": "src"}, "read src", "", "", "-"},
		"read several":         {FileRead, "", m{"path": []string{"src", "run.sh"}}, "read src and 1 more", "", "", "-"},
	} {
		t.Run(name, func(t *testing.T) {
			root := workspace(t)
			write(t, root, "src/main.go", "package main\n\nfunc main() {}\n")
			write(t, root, "dos.txt", "one\r\ntwo\r\n")
			write(t, root, "latin1.txt", "caf\xe9\nx\n")
			write(t, root, "bin", "a\x00b")
			run := write(t, root, "run.sh", script)
			suid := write(t, root, "suid", "s\n")
			hard := write(t, root, "hard", "h\n")
			for _, err := range []error{os.Link(hard, filepath.Join(root, "hard2")), os.Chmod(run, 0o755), os.Chmod(suid, 0o755|os.ModeSetuid), os.Mkdir(filepath.Join(root, "empty"), 0o755)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			link(t, "src", filepath.Join(root, "l"))
			link(t, "run.sh", filepath.Join(root, "lf"))
			b, in := compile(t, spec(c.kind, c.dialect)), input(t, c.args, root)
			p, err := plan(t, b, in)
			if c.summary == "" {
				if err == nil {
					t.Fatalf("planned as %q:\n%s", p.Summary, p.Change.Text)
				}
				if r, ok := err.(*Refusal); !ok || r.Reason == "" || r.Repair == "" || strings.Contains(r.Reason, root) {
					t.Errorf("refused with %#v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.Summary != c.summary || !strings.Contains(p.Change.Text, c.text) || hazards(p) != c.hazards {
				t.Errorf("got %q, %q\n%s\nwant %q, %q\n%s", p.Summary, hazards(p), p.Change.Text, c.summary, c.hazards, c.text)
			}
			if c.after != "-" {
				if e := p.Effects[0]; e.After.SHA256 != digest.Sum([]byte(c.after)) || e.After.Size != int64(len(c.after)) || !e.After.Computed || e.Kind != c.kind {
					t.Errorf("effect %+v, want the content %q", e, c.after)
				}
			}
			// The same input gives the same bytes.
			again := mustPlan(t, b, in)
			one, _ := json.Marshal(p)
			two, _ := json.Marshal(again)
			if !bytes.Equal(one, two) {
				t.Errorf("planned twice:\n%s\n%s", one, two)
			}
			if len(p.Effects) > 0 && p.Effects[0].After.Computed && !strings.HasPrefix(p.Summary, "no change") {
				if f := Verify(context.Background(), nil, p.Effects); f.Result != guard.Untouched {
					t.Errorf("before the call: %s: %s", f.Result, f.Detail)
				}
			}
		})
	}
}

func TestUnprovenServerIsOpaqueAndJailed(t *testing.T) {
	root := workspace(t)
	s := spec(FileWrite, DialectFilesystem)
	s.Proven = false
	b := compile(t, s)
	in := input(t, m{"path": "x", "content": "y"}, root)
	p := mustPlan(t, b, in)
	if b.Kind() != Opaque || b.Declared() != FileWrite || p.Change.Type != guard.ChangeOpaque || hazards(p) != "opaque unproven_version" {
		t.Errorf("got %s, %+v", b.Kind(), p)
	}
	targets, err := b.Resolve(context.Background(), in)
	if err != nil || len(targets) != 2 || targets[0].Path != "x" || targets[1].Kind != TargetOpaque || targets[1].Key != "files" {
		t.Errorf("targets %+v, %v", targets, err)
	}
	_, err = b.Resolve(context.Background(), input(t, m{"path": "/etc/passwd", "content": "y"}, root))
	refused(t, err, guard.RulePath)
	if got := Verify(context.Background(), nil, p.Effects).Result; got != guard.Unverifiable {
		t.Errorf("an opaque effect is %s", got)
	}
}

func TestServerRootsMustAgree(t *testing.T) {
	root := workspace(t)
	write(t, root, "sub/x", "x")
	b := compile(t, spec(FileWrite, DialectFilesystem))
	in := input(t, m{"path": "x", "content": "y"}, filepath.Join(root, "sub"))
	in.ServerRoots = []string{root}
	_, err := b.Resolve(context.Background(), in)
	refused(t, err, guard.RulePath)
	in.ServerRoots = []string{filepath.Join(root, "sub")}
	if _, err := b.Resolve(context.Background(), in); err != nil {
		t.Error(err)
	}
	in = input(t, m{"path": "~/x", "content": "y"}, root)
	_, err = b.Resolve(context.Background(), in)
	refused(t, err, guard.RulePath)
	in.Home = root
	if got, err := b.Resolve(context.Background(), in); err != nil || got[0].Path != "x" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	root := workspace(t)
	write(t, root, "f", "a\n")
	b := compile(t, spec(FileEdit, DialectFilesystem))
	in := input(t, m{"path": "f", "edits": []m{{"oldText": "a", "newText": "b"}}, "dryRun": true}, root)
	if changes, err := b.Changes(in); changes || err != nil {
		t.Errorf("a trial run changes: %v, %v", changes, err)
	}
	if p := mustPlan(t, b, in); len(p.Effects) != 0 || p.Summary != "trial run of tool on f" {
		t.Errorf("got %+v", p)
	}
	in = input(t, m{"path": "f", "edits": []m{}, "dryRun": "yes"}, root)
	if changes, err := b.Changes(in); !changes || err == nil {
		t.Error("fail closed: a broken condition must not pass as a trial run")
	}
}

func TestWorkIsBounded(t *testing.T) {
	root := workspace(t)
	big := filepath.Join(root, "big")
	if err := os.WriteFile(big, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, MaxText+1); err != nil {
		t.Fatal(err)
	}
	_, err := plan(t, compile(t, spec(FileAppend, "")), input(t, m{"path": "big", "content": "x"}, root))
	refused(t, err, guard.RulePreviewFailed)
	p := mustPlan(t, compile(t, spec(FileDelete, "")), input(t, m{"path": "big"}, root))
	if hazards(p) != "large_change" || len(p.Change.Text) > 1000 {
		t.Errorf("got %q, %s", hazards(p), p.Change.Text)
	}
	// Many lines that almost match must not take quadratic time.
	write(t, root, "lines", strings.Repeat("a\n", 200_000))
	old := strings.Repeat(" a\n", 20_000) + "b"
	_, err = plan(t, compile(t, spec(FileEdit, DialectFilesystem)), input(t, m{"path": "lines", "edits": []m{{"oldText": old, "newText": ""}}}, root))
	refused(t, err, guard.RulePreviewFailed)
	write(t, root, "lines", strings.Repeat("a\n", 2_000_000))
	var many []m
	for range 1000 {
		many = append(many, m{"oldText": "a", "newText": "a"})
	}
	_, err = plan(t, compile(t, spec(FileEdit, DialectFilesystem)), input(t, m{"path": "lines", "edits": many}, root))
	refused(t, err, guard.RulePreviewFailed)
	_, err = plan(t, compile(t, spec(FileEdit, "")), input(t, m{"path": "lines", "edits": []m{{"oldText": "a", "newText": strings.Repeat("b", 100), "replaceAll": true}}}, root))
	refused(t, err, guard.RulePreviewFailed)
	for i := range 3 {
		write(t, root, filepath.Join("tree", strings.Repeat("d/", i), "f"), "x")
	}
	p = mustPlan(t, compile(t, spec(FileMove, "")), input(t, m{"source": "tree", "destination": "t2"}, root))
	if want := "move tree → t2 (folder, 5 entries)"; p.Summary != want {
		t.Errorf("got %q, want %q", p.Summary, want)
	}
	for i := range MaxTree {
		if err := os.Symlink("x", filepath.Join(root, "tree", string(rune('a'+i%26))+strings.Repeat("x", i/26%200)+"-"+string(rune('0'+i/5200)))); err != nil {
			t.Fatal(err)
		}
	}
	_, err = plan(t, compile(t, spec(FileMove, "")), input(t, m{"source": "tree", "destination": "t2"}, root))
	refused(t, err, guard.RulePreviewFailed)
}

func TestCancelledPlanStops(t *testing.T) {
	root := workspace(t)
	write(t, root, "f", "x")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b := compile(t, spec(FileDelete, ""))
	if _, err := b.Resolve(ctx, input(t, m{"path": "f"}, root)); err == nil {
		t.Error("a cancelled call was resolved")
	}
}

func BenchmarkPlanEditOneMegabyte(b *testing.B) {
	root := workspace(b)
	line := "the quick brown fox jumps over the lazy dog 0123456789\n"
	write(b, root, "big.txt", strings.Repeat(line, 1<<20/len(line)/2)+"needle\n"+strings.Repeat(line, 1<<20/len(line)/2))
	bind := compile(b, spec(FileEdit, DialectFilesystem))
	in := input(b, m{"path": "big.txt", "edits": []m{{"oldText": "  needle", "newText": "pin"}}}, root)
	b.SetBytes(1 << 20)
	for b.Loop() {
		mustPlan(b, bind, in)
	}
}
