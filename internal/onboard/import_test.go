package onboard

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/hook"
	"github.com/mcpguard/mcpguard/internal/ipc"
)

var update = flag.Bool("update", false, "write the golden files")

// importCase lays a folder of testdata/import out as a machine of its own, with
// @WORK@ in its files replaced by where it stands.
func importCase(t *testing.T, name string) (work string, r ImportRequest) {
	t.Helper()
	work, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	from := filepath.Join("testdata", "import", name)
	err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		rel, rerr := filepath.Rel(from, path)
		if err != nil || rerr != nil {
			return errors.Join(err, rerr)
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(work, rel), 0o755)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(work, rel), bytes.ReplaceAll(data, []byte("@WORK@"), []byte(work)), 0o640)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"ws", "home"} {
		if err := os.MkdirAll(filepath.Join(work, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	environ := map[string]string{
		"HOME": filepath.Join(work, "home"), "PATH": "/usr/bin", "LANG": "C.UTF-8",
		"GITHUB_TOKEN": "ghp_shellshellshellshellshellshellshellsh",
	}
	home := filepath.Join(work, "guard")
	r = ImportRequest{
		Folder: filepath.Join(work, "ws"), NoStart: true, Program: "/opt/mcpguard/mcpguardd", GuardHome: home,
		Paths: ipc.Paths{Config: home, State: home}, User: "me", Version: "test", Now: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC),
		Lookup: func(name string) (string, bool) { v, ok := environ[name]; return v, ok },
		which: func(program string) (string, error) {
			if strings.HasPrefix(program, "no-such") {
				return "", fs.ErrNotExist
			}
			return "/usr/bin/" + filepath.Base(program), nil
		},
		image: func(_, image string) []string {
			if image == "ghcr.io/github/github-mcp-server" {
				return []string{"ghcr.io/github/github-mcp-server@sha256:" + strings.Repeat("7", 64)}
			}
			return nil
		},
	}
	if data, err := os.ReadFile(filepath.Join(work, "files")); err == nil {
		for _, f := range strings.Fields(string(data)) {
			r.Files = append(r.Files, filepath.Join(work, f))
		}
	}
	return work, r
}

// render is a plan as the golden files keep it.
func render(im *Import) string {
	var b strings.Builder
	for _, it := range im.Items {
		fmt.Fprintf(&b, "%s (%s)", it.Entry.Name, it.Entry.Scope)
		switch {
		case it.Already:
			fmt.Fprintf(&b, ": already %s\n", it.Server)
		case it.Refused != "":
			fmt.Fprintf(&b, ": refused: %s\n", it.Refused)
		default:
			fmt.Fprintf(&b, " -> %s\n", it.Server)
			if it.Same != "" {
				fmt.Fprintf(&b, "\tsame as %s\n", it.Same)
			}
			fmt.Fprintf(&b, "\tstarts %q %q\n", it.command, it.Launch.Args)
			fmt.Fprintf(&b, "\tis %s, %s, version %q (%s), pinned %v, fixed %v\n", it.Launch.Kind, it.Launch.Name, it.Launch.Version, it.Launch.Source, it.Launch.Pinned, it.Launch.Fixed)
			if it.Plan.Entry.Preset != "" {
				fmt.Fprintf(&b, "\tpreset %s\n", it.Plan.Entry.Preset)
			}
			for _, h := range it.Env {
				fmt.Fprintf(&b, "\tenv %s secret %v (%s)\n", h.Name, h.Secret, h.Reason)
			}
			if it.Unstarted != "" {
				fmt.Fprintf(&b, "\tunstarted: %s\n", it.Unstarted)
			}
		}
		for _, n := range it.Notes {
			fmt.Fprintf(&b, "\tnote: %s\n", n)
		}
	}
	for _, f := range im.Files {
		for _, n := range f.Notes {
			fmt.Fprintf(&b, "%s: %s\n", f.Path, n)
		}
	}
	for _, w := range im.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	return b.String()
}

// TestImport plans, writes and takes back every configuration: the plan and the
// files it leaves are the golden ones, the guard's configuration loads and holds
// no secret, and the undo is exact.
func TestImport(t *testing.T) {
	cases, err := os.ReadDir("testdata/import")
	if err != nil || len(cases) < 10 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, c := range cases {
		t.Run(c.Name(), func(t *testing.T) {
			work, r := importCase(t, c.Name())
			before := snapshot(t, work)
			var got string
			im, err := NewImport(t.Context(), r)
			if err != nil {
				got = "error: " + err.Error() + "\n"
			} else {
				got = render(im)
				got += writeAndUndo(t, work, im)
			}
			if now := snapshot(t, work); !reflect.DeepEqual(before, now) {
				t.Errorf("the files are not what they were:\n%v\n%v", before, now)
			}
			golden(t, filepath.Join("testdata", "import", c.Name(), "want.txt"), strings.ReplaceAll(got, work, "@WORK@"))
		})
	}
}

// writeAndUndo returns what the client's files are in between.
func writeAndUndo(t *testing.T, work string, im *Import) string {
	t.Helper()
	rec, err := im.Write(t.Context())
	if errors.Is(err, ErrNothing) {
		return "nothing to guard\n"
	}
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range rec.Clients {
		data, err := os.ReadFile(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "--- %s\n%s\n", f.Path, data)
		if st, err := os.Stat(f.Path); err != nil || st.Mode().Perm() != 0o640 {
			t.Errorf("%s has mode %v, %v", f.Path, st.Mode(), err)
		}
	}
	onlyTheseChanged(t, im, rec)
	guardHolds(t, im)
	again, err := NewImport(t.Context(), im.Request)
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(again.Items, (*Item).Guarded); i >= 0 {
		t.Errorf("%s would be guarded twice", again.Items[i].Entry.Name)
	}
	done, err := Undo(t.Context(), UndoRequest{Paths: im.Request.Paths, Now: im.Request.Now})
	if err != nil || len(done.Restored) != len(rec.Clients) {
		t.Errorf("undone %+v, %v", done, err)
	}
	if err := os.RemoveAll(filepath.Join(work, "guard", "imports")); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(work, "guard", "secrets", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	return b.String()
}

// onlyTheseChanged compares the decoded files: nothing but command, args and env
// of the guarded entries differs.
func onlyTheseChanged(t *testing.T, im *Import, rec *Record) {
	t.Helper()
	decode := func(data []byte) (v map[string]any) {
		if err := json.Unmarshal(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	entry := func(root map[string]any, e EntryID) map[string]any {
		if e.Project != "" {
			root = root["projects"].(map[string]any)[e.Project].(map[string]any)
		}
		return root["mcpServers"].(map[string]any)[e.Name].(map[string]any)
	}
	for _, f := range rec.Clients {
		i := slices.IndexFunc(im.Files, func(c *ClientFile) bool { return c.real == f.Path })
		now, err := os.ReadFile(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		a, b := decode(im.Files[i].data), decode(now)
		for _, id := range rec.Entries {
			if id.Path != f.Path {
				continue
			}
			want := []any{"stdio", id.Server}
			if hook.ServerWord(id.Name) != id.Server {
				want = append(want, "--as", id.Name)
			}
			if args := entry(b, id)["args"].([]any); !reflect.DeepEqual(args, want) {
				t.Errorf("%s starts %v", id.Name, args)
			}
			for _, key := range []string{"command", "args", "env"} {
				delete(entry(a, id), key)
				delete(entry(b, id), key)
			}
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("more was changed in %s:\n%v\n%v", f.Path, a, b)
		}
	}
}

// guardHolds checks what the guard has of each server.
func guardHolds(t *testing.T, im *Import) {
	t.Helper()
	paths := im.Request.Paths
	cfg, err := config.Load(paths.ConfigFile())
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := config.LoadEnvironment(paths.EnvironmentFile())
	if err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(paths.ConfigFile())
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range im.Items {
		if !it.Guarded() {
			continue
		}
		s := cfg.Servers[it.Server]
		secrets, err := s.ResolveSecrets(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		environ, missing := s.Environ(recorded, secrets)
		if len(missing) > 0 {
			t.Errorf("%s lacks %v", it.Server, missing)
		}
		for _, h := range it.Env {
			if !slices.Contains(environ, h.Name+"="+h.value) {
				t.Errorf("%s does not get %s", it.Server, h.Name)
			}
			if !h.Secret {
				continue
			}
			if st, err := os.Stat(secretFile(paths.State, it.Server, h.Name)); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("the secret %s: %v, %v", h.Name, st.Mode(), err)
			}
			env, _ := os.ReadFile(paths.EnvironmentFile())
			if bytes.Contains(written, []byte(h.value)) || bytes.Contains(env, []byte(h.value)) {
				t.Errorf("the secret %s is in the configuration", h.Name)
			}
		}
	}
}

// snapshot is every file of a client by its path.
func snapshot(t *testing.T, work string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(work, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(path, filepath.Join(work, "guard")) {
			return err
		}
		data, err := os.ReadFile(path)
		out[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// TestProductionTakesNoMovingVersion: where the profile of the folder is of
// production, what each start may bring anew is not taken in.
func TestProductionTakesNoMovingVersion(t *testing.T) {
	for env, want := range map[string]bool{"dev": true, "prod": false} {
		_, r := importCase(t, "real")
		if err := os.MkdirAll(r.Paths.Config, 0o700); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("version: 1\nprofiles: {a: {roots: [%q], tenant: x, environment: %s}}\n", r.Folder, env)
		if err := os.WriteFile(r.Paths.ConfigFile(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		im, err := NewImport(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range im.Items {
			switch it.Entry.Name {
			case "fs", "uvx2":
				if it.Guarded() != want || !want && !strings.Contains(it.Refused, "may bring another version") {
					t.Errorf("%s in %s: guarded %v, refused %q", it.Entry.Name, env, it.Guarded(), it.Refused)
				}
			case "defdash":
				if !it.Guarded() {
					t.Errorf("%s in %s: refused %q", it.Entry.Name, env, it.Refused)
				}
			}
		}
	}
}
