package onboard

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// written plans and writes a case.
func written(t *testing.T, name string) (work string, im *Import, rec *Record) {
	t.Helper()
	work, r := importCase(t, name)
	im, err := NewImport(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if rec, err = im.Write(t.Context()); err != nil {
		t.Fatal(err)
	}
	return work, im, rec
}

func change(t *testing.T, path, old, with string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(data, []byte(old)) {
		t.Fatalf("%s has no %q, %v", path, old, err)
	}
	if err := os.WriteFile(path, bytes.Replace(data, []byte(old), []byte(with), 1), 0o640); err != nil {
		t.Fatal(err)
	}
}

// TestUndoOfAChangedFile is refused with the difference, without secrets in it,
// and can put the entries alone back.
func TestUndoOfAChangedFile(t *testing.T) {
	_, r := importCase(t, "docker")
	path := filepath.Join(filepath.Dir(r.Folder), "home", ".claude.json")
	original, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	im, err := NewImport(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = im.Write(t.Context()); err != nil {
		t.Fatal(err)
	}
	const secret = "ghp_anotheranotheranotheranotheranotheran"
	change(t, path, `"numStartups": 41`, `"numStartups": 42, "other": {"token": "`+secret+`"}`)
	changed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	undo := UndoRequest{Paths: r.Paths, Now: r.Now}
	_, err = Undo(t.Context(), undo)
	var refused *ChangedError
	if !errors.As(err, &refused) || refused.Path != path {
		t.Fatalf("got %v", err)
	}
	if d := string(refused.Diff); !strings.Contains(d, `-  "numStartups": 41`) || !strings.Contains(d, `+  "numStartups": 42`) || strings.Contains(d, secret) {
		t.Errorf("the difference is\n%s", d)
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, changed) {
		t.Errorf("the refused undo changed the file: %v", err)
	}
	undo.KeepChanges = true
	done, err := Undo(t.Context(), undo)
	if err != nil || len(done.Entries) != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	want := strings.Replace(string(original), `"numStartups": 41`, `"numStartups": 42, "other": {"token": "`+secret+`"}`, 1)
	if now, err := os.ReadFile(path); err != nil || string(now) != want {
		t.Errorf("got\n%s\nwant\n%s\n%v", now, want, err)
	}
	if _, err := Undo(t.Context(), undo); !errors.Is(err, ErrNoImport) {
		t.Errorf("a second undo: %v", err)
	}
}

// TestUndoKeepsWhatIsNotTheImports: entries that are gone or were changed by hand
// are left alone, and said.
func TestUndoKeepsWhatIsNotTheImports(t *testing.T) {
	work, im, _ := written(t, "scopes")
	path := filepath.Join(work, "ws", ".mcp.json")
	change(t, path, `["stdio", "github"]`, `["stdio", "mine"]`)
	change(t, path, `"tickets"`, `"renamed"`)
	done, err := Undo(t.Context(), UndoRequest{Paths: im.Request.Paths, KeepChanges: true, Now: im.Request.Now})
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Join(done.Kept, "\n")
	if !strings.Contains(said, "github in "+path+" is not what the import left") || !strings.Contains(said, "tickets is not in "+path) {
		t.Errorf("it said\n%s", said)
	}
	if len(done.Restored) < 1 || done.Restored[0] != filepath.Join(work, "home", ".claude.json") {
		t.Errorf("restored %v", done.Restored)
	}
}

func TestUndoWithADamagedOriginal(t *testing.T) {
	work, im, rec := written(t, "named")
	change(t, filepath.Join(rec.Folder(), "client-0.before"), "memory", "Memory")
	if _, err := Undo(t.Context(), UndoRequest{Paths: im.Request.Paths, Now: im.Request.Now}); err == nil || !strings.Contains(err.Error(), "was changed; nothing was put back") {
		t.Errorf("got %v", err)
	}
	if data, err := os.ReadFile(filepath.Join(work, "ws", ".mcp.json")); err != nil || !bytes.Contains(data, []byte("mcpguardd")) {
		t.Errorf("%s, %v", data, err)
	}
}

// TestUndoOfHalfAnImport: the record is there before the first file is changed.
func TestUndoOfHalfAnImport(t *testing.T) {
	work, im, rec := written(t, "scopes")
	path := filepath.Join(work, "ws", ".mcp.json")
	before, err := os.ReadFile(filepath.Join(rec.Folder(), "client-0.before"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, before, 0o640); err != nil { // as if it had ended before this one
		t.Fatal(err)
	}
	done, err := Undo(t.Context(), UndoRequest{Paths: im.Request.Paths, Now: im.Request.Now})
	if err != nil || !strings.Contains(strings.Join(done.Kept, "\n"), path+" is what it was already") {
		t.Errorf("%+v, %v", done, err)
	}
}

// TestUndoLeavesAConfigurationThatGrew: what a person has written since is not
// thrown away with the import.
func TestUndoLeavesAConfigurationThatGrew(t *testing.T) {
	_, im, rec := written(t, "secrets")
	config := im.Request.Paths.ConfigFile()
	change(t, config, "version: 1\n", "version: 1\n# mine\n")
	done, err := Undo(t.Context(), UndoRequest{Paths: im.Request.Paths, Now: im.Request.Now})
	if err != nil || len(done.Kept) != 1 || !strings.Contains(done.Kept[0], config+" was changed since") {
		t.Fatalf("%+v, %v", done, err)
	}
	for _, s := range rec.Secrets {
		if _, err := os.Stat(s); err != nil {
			t.Errorf("the configuration still names a secret's file that is gone: %v", err)
		}
	}
}

func TestUndoByFile(t *testing.T) {
	work, im, _ := written(t, "named")
	other := filepath.Join(work, "home", ".claude.json")
	if _, err := Undo(t.Context(), UndoRequest{Paths: im.Request.Paths, File: other, Now: im.Request.Now}); !errors.Is(err, ErrNoImport) {
		t.Errorf("got %v", err)
	}
	link := filepath.Join(work, "link.json")
	if err := os.Symlink(filepath.Join(work, "ws", ".mcp.json"), link); err != nil {
		t.Fatal(err)
	}
	if done, err := Undo(t.Context(), UndoRequest{Paths: im.Request.Paths, File: link, Now: im.Request.Now}); err != nil || len(done.Restored) != 1 {
		t.Errorf("%+v, %v", done, err)
	}
}

// TestWriteIsRefusedAsAWhole where a file is not what the plan was made from, or
// Claude Code is writing it.
func TestWriteIsRefusedAsAWhole(t *testing.T) {
	work, r := importCase(t, "scopes")
	im, err := NewImport(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(work, "home", ".claude.json")
	change(t, own, "tickets-mcp", "tickets2-mcp")
	before := snapshot(t, work)
	if _, err := im.Write(t.Context()); err == nil || !strings.Contains(err.Error(), "was changed while the plan was made") {
		t.Errorf("got %v", err)
	}
	r.patience = time.Nanosecond
	if im, err = NewImport(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	lock := own + ".lock"
	if err := os.Mkdir(lock, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := im.Write(t.Context()); err == nil || !strings.Contains(err.Error(), "is writing") {
		t.Errorf("got %v", err)
	}
	for path, was := range before {
		if now, err := os.ReadFile(path); err != nil || string(now) != was {
			t.Errorf("%s was changed, %v", path, err)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(work, "guard", "imports")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(lock, old, old); err != nil { // its owner has died
		t.Fatal(err)
	}
	if _, err := im.Write(t.Context()); err != nil {
		t.Errorf("with a stale lock: %v", err)
	}
	if _, err := os.Stat(lock); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lock was left: %v", err)
	}
}

// TestRepeatedImportReusesServer: a second import uses the server that the
// guard already has, and another server of the same name gets a name of its
// own.
func TestRepeatedImportReusesServer(t *testing.T) {
	work, im, _ := written(t, "secrets")
	restore := func() {
		data, err := os.ReadFile(filepath.Join("testdata", "import", "secrets", "home", ".claude.json"))
		if err == nil {
			err = os.WriteFile(filepath.Join(work, "home", ".claude.json"), data, 0o640)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	restore()
	r := im.Request
	r.Now = r.Now.Add(time.Hour)
	again, err := NewImport(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if it := again.Items[0]; it.Server != "github" || it.Same != "config.yaml" {
		t.Errorf("%s, same as %q", it.Server, it.Same)
	}
	if _, err := again.Write(t.Context()); err != nil {
		t.Error(err)
	}
	restore()
	change(t, filepath.Join(work, "home", ".claude.json"), "hunter2", "hunter3")
	if again, err = NewImport(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if it := again.Items[0]; it.Server != "github-user" || it.Same != "" {
		t.Errorf("with another password: %s, same as %q", it.Server, it.Same)
	}
}

// TestForeignCommandsAreNotStarted: what stands in a repository is started only
// where its user has let it.
func TestForeignCommandsAreNotStarted(t *testing.T) {
	for name, c := range map[string]struct {
		own   string // ~/.claude.json
		named bool
		want  bool
	}{
		"unknown":           {"{}", false, false},
		"enabled":           {`{"projects": {"@WS@": {"hasTrustDialogAccepted": true, "enabledMcpjsonServers": ["x"]}}}`, false, true},
		"enabled elsewhere": {`{"projects": {"/other": {"hasTrustDialogAccepted": true, "enabledMcpjsonServers": ["x"]}}}`, false, false},
		"not trusted":       {`{"projects": {"@WS@": {"enabledMcpjsonServers": ["x"]}}}`, false, false},
		"another one":       {`{"projects": {"@WS@": {"hasTrustDialogAccepted": true, "enabledMcpjsonServers": ["y"]}}}`, false, false},
		"named":             {"{}", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			work, r := importCase(t, "named")
			mark := filepath.Join(work, "started")
			put := func(path, text string) {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			put(filepath.Join(r.Folder, ".mcp.json"), `{"mcpServers": {"x": {"command": "/bin/sh", "args": ["-c", "touch `+mark+`"]}}}`)
			put(filepath.Join(work, "home", ".claude.json"), strings.ReplaceAll(c.own, "@WS@", r.Folder))
			r.NoStart = false
			if !c.named {
				r.Files = nil
			}
			im, err := NewImport(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(mark); (err == nil) != c.want {
				t.Errorf("started: %v, want %v", err == nil, c.want)
			}
			if im.Items[0].Unstarted == "" || !im.Items[0].Guarded() {
				t.Errorf("%+v", im.Items[0]) // it says nothing on its standard output, and stays in the plan
			}
		})
	}
}

// FuzzClientFile: whatever is read can be guarded and put back byte for byte.
func FuzzClientFile(f *testing.F) {
	for _, pattern := range []string{"testdata/import/*/*/.*.json", "testdata/import/*/*.json"} {
		list, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range list {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before, err := parseClientFile(".claude.json", data)
		if err != nil {
			return
		}
		var edits []jsonrpc.Edit
		guarded := map[int]bool{}
		for i, e := range before.Entries {
			if e.Problem != "" || e.command.IsZero() {
				continue
			}
			more, err := e.edits("/opt/mcpguardd", "x y", "/home")
			if err != nil {
				continue // its plan says so, and it is left alone
			}
			edits, guarded[i] = append(edits, more...), true
		}
		out, err := before.with(edits)
		if err != nil {
			t.Fatal(err)
		}
		after, err := parseClientFile(".claude.json", out)
		if err != nil || len(after.Entries) != len(before.Entries) {
			t.Fatalf("%q became %q: %v", data, out, err)
		}
		var back []jsonrpc.Edit
		for i, e := range after.Entries {
			was := before.Entries[i]
			server, ok := e.guarded()
			if guarded[i] && (!ok || server != "x y" || len(e.Env) != 1) || e.Name != was.Name || e.Type != was.Type || e.URL != was.URL {
				t.Fatalf("entry %d of %q became %+v", i, out, e)
			}
			back = append(back, jsonrpc.Edit{Span: e.value, With: was.value.Of(before.json())})
		}
		if restored, err := after.with(back); err != nil || !bytes.Equal(restored, data) {
			t.Fatalf("%q came back as %q: %v", data, restored, err)
		}
	})
}
