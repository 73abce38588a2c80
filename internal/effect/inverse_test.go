package effect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// executed plans a call, applies its result to disk with do, and returns it as an
// approval that ran.
func executed(t testing.TB, b *Binding, in Input, do func()) guard.Approval {
	t.Helper()
	p := mustPlan(t, b, in)
	do()
	return guard.Approval{Status: guard.Executed, Args: in.Call.ArgsCanonical, Preview: p}
}

// TestInverseRestoresExactContent: for any two contents, the inverse of a write
// writes exactly the old content, and the inverse of a new file deletes it.
func TestInverseRestoresExactContent(t *testing.T) {
	root := workspace(t)
	b := compile(t, spec(FileWrite, DialectWorkspace))
	path := filepath.Join(root, "f.txt")
	text := rapid.StringOfN(rapid.SampledFrom([]rune{'a', 'b', '\n', '\r', '-', '+', '@', ' ', 'ü', '\\'}), 0, 60, -1)
	rapid.Check(t, func(rt *rapid.T) {
		before, after, exists := text.Draw(rt, "before"), text.Draw(rt, "after"), rapid.Bool().Draw(rt, "exists")
		_ = os.Remove(path)
		if exists {
			write(t, root, "f.txt", before)
		}
		a := executed(t, b, input(t, m{"path": path, "content": after}, root), func() { write(t, root, "f.txt", after) })
		in, err := InverseOf(context.Background(), a)
		if exists && before == after {
			if err == nil || !strings.Contains(err.Error(), "changed nothing") {
				rt.Fatalf("%q stays: %v", before, err)
			}
			return
		}
		if err != nil {
			rt.Fatalf("%q → %q: %v", before, after, err)
		}
		var args struct{ Path, Content string }
		if err := json.Unmarshal(in.Args, &args); err != nil {
			rt.Fatal(err)
		}
		if !exists && in.Tool != "delete_file" || exists && (in.Tool != "write_file" || args.Content != before) || args.Path != path || in.Roots[0] != root {
			rt.Fatalf("%q → %q, existed %v: %s %s", before, after, exists, in.Tool, in.Args)
		}
		// With one more byte, it can no longer be undone.
		write(t, root, "f.txt", after+"x")
		if _, err := InverseOf(context.Background(), a); err == nil || !strings.Contains(err.Error(), "moved on") {
			rt.Fatalf("a file that has moved on: %v", err)
		}
	})
}

func TestInverseOfOtherKinds(t *testing.T) {
	root := workspace(t)
	ctx := context.Background()
	file := write(t, root, "old.txt", "one\ntwo\n")
	a := executed(t, compile(t, spec(FileDelete, DialectWorkspace)), input(t, m{"path": file}, root), func() { _ = os.Remove(file) })
	if in, err := InverseOf(ctx, a); err != nil || in.Tool != "write_file" || !bytes.Contains(in.Args, []byte(`"one\ntwo\n"`)) {
		t.Errorf("delete: %s %s %v", in.Tool, in.Args, err)
	}
	script := write(t, root, "run.sh", "#!/bin/sh\n")
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	a = executed(t, compile(t, spec(FileDelete, DialectWorkspace)), input(t, m{"path": script}, root), func() { _ = os.Remove(script) })
	if in, err := InverseOf(ctx, a); err != nil || !strings.Contains(in.Note, "mode 0755") {
		t.Errorf("a script: %+v %v", in, err)
	}
	moved := write(t, root, "a.txt", "x")
	to := filepath.Join(root, "b.txt")
	a = executed(t, compile(t, spec(FileMove, DialectWorkspace)), input(t, m{"source": moved, "destination": to}, root), func() { _ = os.Rename(moved, to) })
	if in, err := InverseOf(ctx, a); err != nil || in.Tool != "move_file" || string(in.Args) != `{"destination":"`+moved+`","source":"`+to+`"}` {
		t.Errorf("move: %s %s %v", in.Tool, in.Args, err)
	}
	folder := filepath.Join(root, "dir")
	a = executed(t, compile(t, spec(DirCreate, DialectWorkspace)), input(t, m{"path": folder}, root), func() { _ = os.Mkdir(folder, 0o755) })
	if in, err := InverseOf(ctx, a); err != nil || in.Tool != "delete_file" || in.Note != "" {
		t.Errorf("folder: %s %v", in.Tool, err)
	}
	deep := filepath.Join(root, "x", "y", "z")
	a = executed(t, compile(t, spec(DirCreate, DialectWorkspace)), input(t, m{"path": deep}, root), func() { _ = os.MkdirAll(deep, 0o755) })
	if in, err := InverseOf(ctx, a); err != nil || in.Tool != "delete_file" || !bytes.Contains(in.Args, []byte(`"`+deep+`"`)) || in.Note != "2 folders above it, made by the same call, stay" {
		t.Errorf("folders: %+v %v", in, err)
	}
}

func TestInverseRefusals(t *testing.T) {
	root := workspace(t)
	file := write(t, root, "f.bin", "\x00one")
	bin := executed(t, compile(t, spec(FileWrite, DialectWorkspace)), input(t, m{"path": file, "content": "\x00two"}, root), func() { write(t, root, "f.bin", "\x00two") })
	pruned, open := bin, bin
	pruned.Args, pruned.Preview.Change.Text = nil, ""
	open.Status = guard.Approved
	forged := executed(t, compile(t, spec(FileWrite, DialectWorkspace)), input(t, m{"path": filepath.Join(root, "t"), "content": "b\n"}, root), func() {})
	write(t, root, "t", "b\n")
	forged.Preview.Effects[0].Before = guard.State{Exists: true, Kind: stateFile, Computed: true, Size: 2}
	same := filepath.Join(root, "same")
	write(t, root, "same", "x\n")
	for name, c := range map[string]struct {
		a    guard.Approval
		want string
	}{
		"no change":           {executed(t, compile(t, spec(FileWrite, DialectWorkspace)), input(t, m{"path": same, "content": "x\n"}, root), func() {}), "changed nothing"},
		"a folder that was":   {executed(t, compile(t, spec(DirCreate, DialectWorkspace)), input(t, m{"path": root}, root), func() {}), "changed nothing"},
		"binary":              {bin, "not on record"},
		"content gone":        {pruned, "no longer kept"},
		"did not run":         {open, "did not run"},
		"another content":     {forged, "cannot be made again"},
		"a command":           {executed(t, compile(t, spec(Exec, "")), input(t, m{"command": "true"}, root), func() {}), "cannot be undone from here"},
		"a message":           {executed(t, compile(t, spec(Message, "")), input(t, m{"to": "a@b.example"}, root), func() {}), "cannot be undone from here"},
		"a file no longer":    {executed(t, compile(t, spec(FileDelete, DialectWorkspace)), input(t, m{"path": write(t, root, "gone", "x")}, root), func() {}), "as it was before already"},
		"nothing to speak of": {guard.Approval{Status: guard.Executed, Args: []byte("{}")}, "0 effects"},
	} {
		_, err := InverseOf(context.Background(), c.a)
		var r *Refusal
		if !errors.As(err, &r) || !strings.Contains(r.Reason, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
