package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

func TestReadTools(t *testing.T) {
	root := folderWith(t, map[string]string{
		"a.txt": "one\ntwo\nthree\n", "dos.txt": "x\r\ny\r\n", "bin": "a\x00b", "src/main.go": "package main\n\nfunc Main() {}\n", "src/deep/x.go": "package deep\n",
		".git/config": "main", "p.json": `{"a":{"b/c":[1.50,2]}}`, "c.yaml": "a: yes\n", "dup.json": `{"a":1,"a":2}`, "empty": "",
	})
	if err := os.Symlink("a.txt", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "long"), []byte(strings.Repeat("é", maxOutput)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(root, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := open(t, root)
	for name, k := range map[string]struct {
		tool  string
		args  m
		want  string // part of the result
		fails bool
	}{
		"whole":            {"read_file", m{"path": "a.txt"}, "one\ntwo\nthree\n", false},
		"through a link":   {"read_file", m{"path": "link"}, "one\n", false},
		"absolute":         {"read_file", m{"path": root + "/a.txt"}, "one\n", false},
		"part":             {"read_file", m{"path": "a.txt", "offset": 2, "limit": 1}, "two\n\n(lines 2 to 2 of 3; go on with offset 3)", false},
		"last part":        {"read_file", m{"path": "a.txt", "offset": 3}, "three\n", false},
		"beyond":           {"read_file", m{"path": "a.txt", "offset": 9}, "the file has 3 lines", true},
		"nothing in it":    {"read_file", m{"path": "empty"}, "", false},
		"long":             {"read_file", m{"path": "long"}, "go on with offset 2", false},
		"binary":           {"read_file", m{"path": "bin"}, "is not text", true},
		"folder":           {"read_file", m{"path": "src"}, "is a folder", true},
		"missing":          {"read_file", m{"path": "gone"}, "is not there", true},
		"missing folder":   {"read_file", m{"path": "no/such"}, "is not there", true},
		"outside":          {"read_file", m{"path": "/etc/passwd"}, "outside of the workspace", true},
		"upwards":          {"read_file", m{"path": "../x"}, `contains ".."`, true},
		"pipe":             {"read_file", m{"path": "fifo"}, "not an ordinary file", true},
		"several":          {"read_files", m{"paths": []string{"a.txt", "gone", "bin"}}, "==> a.txt <==\none\ntwo\nthree\n\n==> gone <==\n(\"gone\" is not there; list", false},
		"list":             {"list_directory", m{}, "src/\n", false},
		"list below":       {"list_directory", m{"path": "src", "depth": 2}, "src/deep/\nsrc/deep/x.go  13 bytes\nsrc/main.go  29 bytes\n", false},
		"list a file":      {"list_directory", m{"path": "a.txt"}, "not a folder", true},
		"find names":       {"search_files", m{"pattern": "**/*.go"}, "src/deep/x.go\nsrc/main.go\n", false},
		"find text":        {"search_files", m{"text": "main", "ignore_case": true}, "src/main.go:1: package main\nsrc/main.go:3: func Main() {}\n", false},
		"find expressions": {"search_files", m{"text": `^func \w+\(`, "regexp": true, "path": "src"}, "src/main.go:3: func Main() {}\n", false},
		"find no .git":     {"search_files", m{"pattern": "**/config"}, "(nothing was found)", false},
		"find a few":       {"search_files", m{"limit": 1}, "(there is more", false},
		"bad expression":   {"search_files", m{"text": "(", "regexp": true}, "not valid", true},
		"bad pattern":      {"search_files", m{"pattern": "[a"}, "not valid", true},
		"describe":         {"file_info", m{"path": "dos.txt"}, `"line_endings": "crlf"`, false},
		"describe binary":  {"file_info", m{"path": "bin"}, `"text": false`, false},
		"describe folder":  {"file_info", m{"path": "."}, `"type": "folder"`, false},
		"describe nothing": {"file_info", m{"path": "gone"}, "is not there", true},
		"document":         {"read_document", m{"path": "p.json", "pointer": "/a/b~1c"}, "[\n  1.50,\n  2\n]", false},
		"yaml":             {"read_document", m{"path": "c.yaml"}, `"a": "yes"`, false},
		"given twice":      {"read_document", m{"path": "dup.json"}, "the last counts", false},
		"no document":      {"read_document", m{"path": "a.txt"}, "use read_file", true},
		"no such part":     {"read_document", m{"path": "p.json", "pointer": "/x"}, `"/x"`, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := callTool(t, c, k.tool, k.args)
			if r.IsError != k.fails || !strings.Contains(r.text(), k.want) {
				text := r.text()
				t.Errorf("error: %v\n%s\nwant %q", r.IsError, text[max(0, len(text)-500):], k.want)
			}
			if strings.Contains(r.text(), root) {
				t.Errorf("the answer names the folder: %s", r.text())
			}
		})
	}
}

// TestPromise2_WhatIsPlannedIsWritten runs each tool that changes something as
// the proxy does: plan, expect, call, read back.
func TestPromise2_WhatIsPlannedIsWritten(t *testing.T) {
	type k struct {
		tool string
		args m
	}
	for name, c := range map[string]k{
		"create":         {"write_file", m{"path": "new", "content": "x\r\n\u0000"}},
		"overwrite":      {"write_file", m{"path": "run.sh", "content": "#!/bin/sh\n"}},
		"same":           {"write_file", m{"path": "a.txt", "content": "one\r\ntwo\r\n"}},
		"through a link": {"write_file", m{"path": "link", "content": "z"}},
		"edit":           {"edit_file", m{"path": "a.txt", "edits": []m{{"old_text": "one\ntwo", "new_text": "1\n2"}, {"old_text": "2", "new_text": "22", "replace_all": true}}}},
		"append":         {"append_file", m{"path": "run.sh", "content": "true"}},
		"append creates": {"append_file", m{"path": "log", "content": "true"}},
		"patch json":     {"patch_document", m{"path": "p.json", "patch": []m{{"op": "test", "path": "/a", "value": 1}, {"op": "add", "path": "/b", "value": json.RawMessage("1.0")}}}},
		"patch yaml":     {"patch_document", m{"path": "c.yaml", "patch": []m{{"op": "replace", "path": "/a", "value": "yes"}}}},
		"patch toml":     {"patch_document", m{"path": "c.toml", "patch": []m{{"op": "add", "path": "/t/x", "value": []int{1}}}}},
		"move":           {"move_file", m{"source": "a.txt", "destination": "dir/b.txt"}},
		"move a folder":  {"move_file", m{"source": "dir", "destination": "dir2"}},
		"delete":         {"delete_file", m{"path": "run.sh"}},
		"delete folder":  {"delete_file", m{"path": "empty"}},
		"folders":        {"create_directory", m{"path": "x/y/z"}},
		"folder":         {"create_directory", m{"path": "dir"}},
	} {
		t.Run(name, func(t *testing.T) {
			root := folderWith(t, map[string]string{"a.txt": "one\r\ntwo\r\n", "run.sh": "old", "p.json": "{\n  \"a\": 1\n}\n", "c.yaml": "a: 1 # x\n", "c.toml": "[t]\n", "dir/f": "f"})
			for _, err := range []error{
				os.Chmod(filepath.Join(root, "run.sh"), 0o750), os.Chmod(filepath.Join(root, "a.txt"), 0o600),
				os.Mkdir(filepath.Join(root, "empty"), 0o755), os.Symlink("run.sh", filepath.Join(root, "link")),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			old := unix.Umask(0o077) // must not matter
			defer unix.Umask(old)
			conn := open(t, root)
			preview := planned(t, root, c.tool, c.args)
			expect(conn, preview)
			r := callTool(t, conn, c.tool, c.args)
			if r.IsError {
				t.Fatal(r.text())
			}
			if f := effect.Verify(context.Background(), nil, preview.Effects); f.Result != guard.Verified {
				t.Errorf("read back %s: %s, %+v", f.Result, f.Detail, f.After)
			}
			var data outcome
			if err := json.Unmarshal(r.Data, &data); err != nil || data.Path == "" || data.Changed == strings.HasPrefix(preview.Summary, "no change") {
				t.Errorf("answered %s, planned %q", r.Data, preview.Summary)
			}
			if left, _ := filepath.Glob(filepath.Join(root, "*", ".mcpguard-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if left, _ := filepath.Glob(filepath.Join(root, ".mcpguard-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// planned computes the preview of a call as the proxy does.
func planned(t testing.TB, root, name string, args any) guard.Preview {
	t.Helper()
	b, err := bindings()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := expr.DecodeArgs(raw)
	if err != nil {
		t.Fatal(err)
	}
	in := effect.Input{Roots: []string{root}, Vars: &expr.Vars{Args: decoded}, Call: guard.ToolCall{Tool: name, Args: raw}}
	targets, err := b[name].Resolve(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	p, err := b[name].Plan(context.Background(), in, targets)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func expect(c *Conn, p guard.Preview) {
	c.Expect(jsonrpc.StringID("r-1"), p)
}

// TestPromise2_NothingIsWrittenOverAChange changes the target between plan and
// call: each write must refuse and keep what is there.
func TestPromise2_NothingIsWrittenOverAChange(t *testing.T) {
	write := func(name, content string) func(string) error {
		return func(root string) error { return os.WriteFile(filepath.Join(root, name), []byte(content), 0o644) }
	}
	for name, c := range map[string]struct {
		tool string
		args m
		move func(root string) error
	}{
		"overwrite a change":  {"write_file", m{"path": "a", "content": "x"}, write("a", "other")},
		"overwrite same size": {"write_file", m{"path": "a", "content": "x"}, write("a", "ONE\n")},
		"create over a file":  {"write_file", m{"path": "new", "content": "x"}, write("new", "y")},
		"edit a change":       {"edit_file", m{"path": "a", "edits": []m{{"old_text": "one", "new_text": "two"}}}, write("a", "one\none more\n"[:4]+"x")},
		"append to a change":  {"append_file", m{"path": "a", "content": "x"}, write("a", "other")},
		"delete a change":     {"delete_file", m{"path": "a"}, write("a", "other")},
		"move a change":       {"move_file", m{"source": "a", "destination": "b"}, write("a", "other")},
		"move onto a file":    {"move_file", m{"source": "a", "destination": "b"}, write("b", "other")},
		"mode":                {"write_file", m{"path": "a", "content": "x"}, func(r string) error { return os.Chmod(filepath.Join(r, "a"), 0o755) }},
		"removed":             {"write_file", m{"path": "a", "content": "x"}, func(r string) error { return os.Remove(filepath.Join(r, "a")) }},
		"folder is there":     {"create_directory", m{"path": "d/e"}, func(r string) error { return os.Mkdir(filepath.Join(r, "d"), 0o755) }},
		"another file":        {"write_file", m{"path": "l/a", "content": "x"}, func(r string) error { os.Remove(r + "/l"); return os.Symlink("two", r+"/l") }},
	} {
		t.Run(name, func(t *testing.T) {
			root := folderWith(t, map[string]string{"a": "one\n", "one/a": "one\n", "two/a": "one\n"})
			if err := os.Symlink("one", filepath.Join(root, "l")); err != nil {
				t.Fatal(err)
			}
			conn := open(t, root)
			preview := planned(t, root, c.tool, c.args)
			expect(conn, preview)
			if err := c.move(root); err != nil {
				t.Fatal(err)
			}
			before := tree(t, root)
			r := callTool(t, conn, c.tool, c.args)
			if !r.IsError {
				t.Errorf("answered %q", r.text())
			}
			if after := tree(t, root); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

// tree lists a folder with modes and contents.
func tree(t testing.TB, root string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		body := ""
		if info.Mode().IsRegular() {
			body = read(t, "", p)
		}
		out.WriteString(p + " " + info.Mode().String() + " " + body + "\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestPromise2_SwapPutsBackWhatItDidNotExpect changes the file after the last
// check and before the rename.
func TestPromise2_SwapPutsBackWhatItDidNotExpect(t *testing.T) {
	root := folderWith(t, map[string]string{"a": "one\n"})
	f, name, err := openFolder(guard.Target{Root: root, Path: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	before := guard.State{Exists: true, Kind: "file", SHA256: digest.Sum([]byte("one\n")), Size: 4, Mode: 0o644, Computed: true}
	temp, err := f.writeTemp([]byte("new\n"), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := f.look(name, before)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "a"), []byte("two\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.exchange(temp, name, seen, before); err != errMoved {
		t.Errorf("got %v", err)
	}
	if got := read(t, root, "a"); got != "two\n" {
		t.Errorf("the file holds %q", got)
	}
}

// TestPromise2_RefusesChangesWithoutApproval: the built-in server makes no
// change without an approved preview, and uses each preview once.
func TestPromise2_RefusesChangesWithoutApproval(t *testing.T) {
	for _, c := range []struct {
		tool string
		args m
	}{
		{"write_file", m{"path": "new", "content": "x"}},
		{"write_file", m{"path": "a", "content": "x"}},
		{"edit_file", m{"path": "a", "edits": []m{{"old_text": "one", "new_text": "two"}}}},
		{"append_file", m{"path": "a", "content": "x"}},
		{"patch_document", m{"path": "p.json", "patch": []m{{"op": "add", "path": "/x", "value": 1}}}},
		{"move_file", m{"source": "a", "destination": "b"}},
		{"delete_file", m{"path": "a"}},
		{"create_directory", m{"path": "d/e"}},
	} {
		t.Run(c.tool, func(t *testing.T) {
			root := folderWith(t, map[string]string{"a": "one\n", "p.json": "{}\n"})
			before := tree(t, root)
			conn := open(t, root)
			refused := func(what string) {
				t.Helper()
				if r := callTool(t, conn, c.tool, c.args); !r.IsError || !strings.Contains(r.text(), "without the state that was approved") {
					t.Errorf("%s: answered %q", what, r.text())
				}
				if after := tree(t, root); after != before {
					t.Errorf("%s: before:\n%s\nafter:\n%s", what, before, after)
				}
			}
			refused("nothing was said")
			conn.Expect(jsonrpc.StringID("r-1"), guard.Preview{Effects: []guard.Effect{}})
			refused("no effect was said")
			conn.Expect(jsonrpc.StringID("r-2"), planned(t, root, c.tool, c.args))
			refused("it was said of another call")
		})
	}
}

// TestPromise2_MoveGoesWhereApproved: the destination is part of the
// precondition.
func TestPromise2_MoveGoesWhereApproved(t *testing.T) {
	root := folderWith(t, map[string]string{"a": "one\n", "one/x": "", "two/x": ""})
	if err := os.Symlink("one", filepath.Join(root, "l")); err != nil {
		t.Fatal(err)
	}
	conn, args := open(t, root), m{"source": "a", "destination": "l/a"}
	expect(conn, planned(t, root, "move_file", args))
	if err := errors.Join(os.Remove(filepath.Join(root, "l")), os.Symlink("two", filepath.Join(root, "l"))); err != nil {
		t.Fatal(err)
	}
	before := tree(t, root)
	if r := callTool(t, conn, "move_file", args); !r.IsError {
		t.Errorf("answered %q", r.text())
	}
	if after := tree(t, root); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// TestRefusesLinkSwappedInAfterResolving replaces a folder by a link after its
// path was resolved.
func TestRefusesLinkSwappedInAfterResolving(t *testing.T) {
	root := folderWith(t, map[string]string{"d/a": "one\n"})
	outside := filepath.Join(filepath.Dir(root), "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	target, err := effect.Path("d/new", []string{root})
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{outside, "e"} {
		if err := os.RemoveAll(filepath.Join(root, "d")); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(root, "e"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, filepath.Join(root, "d")); err != nil {
			t.Fatal(err)
		}
		w := effect.Work{Op: effect.WriteContent, Target: target, Content: []byte("x"), Mode: 0o644}
		if err := replace(w); err == nil {
			t.Errorf("written through a link to %s", to)
		}
	}
}

func BenchmarkWriteFile(b *testing.B) {
	root := folderWith(b, nil)
	c := open(b, root)
	content := strings.Repeat("x", 4096)
	for i := 0; b.Loop(); i++ {
		args := m{"path": "f", "content": content + string(rune('a'+i%26))}
		expect(c, planned(b, root, "write_file", args))
		if r := callTool(b, c, "write_file", args); r.IsError {
			b.Fatal(r.text())
		}
	}
}
