package effect

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

func TestVerify(t *testing.T) {
	edit := func(kind string, args m, dialect string) func(*testing.T, string) guard.Preview {
		return func(t *testing.T, root string) guard.Preview {
			return mustPlan(t, compile(t, spec(kind, dialect)), input(t, args, root))
		}
	}
	put := func(name, content string) func(*testing.T, string) {
		return func(t *testing.T, root string) { write(t, root, name, content) }
	}
	do := func(f func(root string) error) func(*testing.T, string) {
		return func(t *testing.T, root string) {
			if err := f(root); err != nil {
				t.Fatal(err)
			}
		}
	}
	nothing := func(*testing.T, string) {}
	overwrite := edit(FileWrite, m{"path": "f", "content": "new"}, DialectWorkspace)
	move := edit(FileMove, m{"source": "f", "destination": "g"}, DialectWorkspace)
	folders := edit(DirCreate, m{"path": "a/b"}, DialectWorkspace)
	for name, c := range map[string]struct {
		plan func(*testing.T, string) guard.Preview
		act  func(*testing.T, string)
		want guard.ReadBack
		note string
	}{
		"written":            {overwrite, put("f", "new"), guard.Verified, ""},
		"not written":        {overwrite, nothing, guard.Untouched, "as it was before"},
		"written otherwise":  {overwrite, put("f", "other"), guard.Diverged, "neither what was approved"},
		"removed":            {overwrite, do(func(r string) error { return os.Remove(r + "/f") }), guard.Diverged, "not there"},
		"other mode":         {overwrite, do(func(r string) error { os.WriteFile(r+"/f", []byte("new"), 0o600); return os.Chmod(r+"/f", 0o600) }), guard.Diverged, "mode 0600 instead of 0644"},
		"now a folder":       {overwrite, do(func(r string) error { os.Remove(r + "/f"); return os.Mkdir(r+"/f", 0o755) }), guard.Diverged, "dir instead of a file"},
		"now a link":         {overwrite, do(func(r string) error { os.Rename(r+"/f", r+"/z"); return os.Symlink("z", r+"/f") }), guard.Diverged, "symlink instead of a file"},
		"moved":              {move, do(func(r string) error { return os.Rename(r+"/f", r+"/g") }), guard.Verified, ""},
		"not moved":          {move, nothing, guard.Untouched, "where it was before"},
		"copied":             {move, put("g", "old"), guard.Diverged, "still there"},
		"vanished":           {move, do(func(r string) error { return os.Remove(r + "/f") }), guard.Diverged, "not there"},
		"moved and changed":  {move, do(func(r string) error { os.Remove(r + "/f"); return os.WriteFile(r+"/g", []byte("xxx"), 0o644) }), guard.Diverged, "neither"},
		"deleted":            {edit(FileDelete, m{"path": "f"}, ""), do(func(r string) error { return os.Remove(r + "/f") }), guard.Verified, ""},
		"not deleted":        {edit(FileDelete, m{"path": "f"}, ""), nothing, guard.Untouched, "before"},
		"changed instead":    {edit(FileDelete, m{"path": "f"}, ""), put("f", "x"), guard.Diverged, "still there"},
		"folders":            {folders, do(func(r string) error { return os.MkdirAll(r+"/a/b", 0o755) }), guard.Verified, ""},
		"one folder":         {folders, do(func(r string) error { return os.Mkdir(r+"/a", 0o755) }), guard.Diverged, "only part"},
		"folder with a file": {folders, do(func(r string) error { os.MkdirAll(r+"/a/b", 0o755); return os.WriteFile(r+"/a/b/c", nil, 0o644) }), guard.Verified, ""},
		"no change":          {edit(FileWrite, m{"path": "f", "content": "old"}, ""), nothing, guard.Verified, ""},
		"workspace gone":     {overwrite, do(func(r string) error { return os.Rename(r, r+"2") }), guard.Unverifiable, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			root := workspace(t)
			write(t, root, "f", "old")
			p := c.plan(t, root)
			// Only stored data is used.
			raw, err := json.Marshal(p.Effects)
			if err != nil {
				t.Fatal(err)
			}
			var effects []guard.Effect
			if err := json.Unmarshal(raw, &effects); err != nil {
				t.Fatal(err)
			}
			c.act(t, root)
			f := Verify(context.Background(), nil, effects)
			got, states, note := f.Result, f.After, f.Detail
			if got != c.want || !strings.Contains(note, c.note) || (c.want == guard.Verified) != (note == "") || len(states) != len(effects) {
				t.Errorf("got %s, %q, %+v; want %s, %q", got, note, states, c.want, c.note)
			}
		})
	}
}

func TestVerifyRefusesContradictoryRecords(t *testing.T) {
	root := workspace(t)
	write(t, root, "f", "x")
	good := guard.Target{Kind: TargetFile, Key: filepath.Join(root, "f"), Path: "f", Root: root}
	for _, bend := range []func(*guard.Target){
		func(t *guard.Target) { t.Path = "../f" }, func(t *guard.Target) { t.Path = "" }, func(t *guard.Target) { t.Key = "/etc/passwd" },
		func(t *guard.Target) { t.Root = "" }, func(t *guard.Target) { t.Kind = TargetOpaque }, func(t *guard.Target) { t.Path = "/f" },
	} {
		target := good
		bend(&target)
		e := guard.Effect{Kind: FileWrite, Resource: target, After: guard.State{Exists: true, Kind: stateFile, SHA256: digest.Sum([]byte("x")), Size: 1, Computed: true}}
		if got := Verify(context.Background(), nil, []guard.Effect{e}).Result; got != guard.Unverifiable {
			t.Errorf("%+v is %s", target, got)
		}
	}
	if got := Verify(context.Background(), nil, nil).Result; got != guard.Unverifiable {
		t.Errorf("no effects are %s", got)
	}
}
