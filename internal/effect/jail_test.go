package effect

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// hostileTree makes a workspace with every kind of trap in and around it.
func hostileTree(t *testing.T) (root string) {
	t.Helper()
	root = workspace(t)
	base := filepath.Dir(root)
	write(t, base, "ws-evil/secret.txt", "s")
	write(t, base, "outside/secret.txt", "s")
	write(t, root, "file", "f")
	write(t, root, "dir/inner", "i")
	link(t, "../ws-evil", filepath.Join(root, "evil"))
	link(t, filepath.Join(base, "outside", "secret.txt"), filepath.Join(root, "abs"))
	link(t, filepath.Join(base, "outside", "no-such"), filepath.Join(root, "absent"))
	link(t, "../ws/file", filepath.Join(root, "roundabout"))
	link(t, "nowhere", filepath.Join(root, "dangling"))
	link(t, "dir/../../outside", filepath.Join(root, "climb"))
	link(t, "a", filepath.Join(root, "b"))
	link(t, "b", filepath.Join(root, "a"))
	link(t, "file/x", filepath.Join(root, "throughfile"))
	link(t, "/proc/self/root", filepath.Join(root, "magic"))
	link(t, "/dev/zero", filepath.Join(root, "zero"))
	if err := unix.Mkfifo(filepath.Join(root, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestPathsThatLeadOutAreRefused(t *testing.T) {
	root := hostileTree(t)
	base := filepath.Dir(root)
	for _, p := range []string{
		"", "..", "../ws-evil/secret.txt", "dir/../../outside", "dir/../file", "/etc/passwd", "/", base, base + "/ws-evil", root + "-evil/secret.txt",
		"evil", "evil/secret.txt", "abs", "absent", "roundabout", "dangling", "dangling/x", "climb", "climb/secret.txt", "a", "a/x", "throughfile", "file/x",
		"magic", "magic/etc/passwd", "/proc/self/cwd", "/proc/1/root", "zero", "fifo", "~", "~/x", "C:\\x", "c:/x", "nul\x00", strings.Repeat("x", 256),
		strings.Repeat("x/", 2100), "new/" + strings.Repeat("y", 256),
	} {
		_, err := Path(p, []string{root})
		if err == nil {
			t.Errorf("%.80q was accepted", p)
			continue
		}
		refused(t, err, guard.RulePath, "outside/", "ws-evil", base, "etc")
	}
}

// TestRefusalsDoNotTellWhatIsOutside compares a link to an existing file with a
// link to a missing one.
func TestRefusalsDoNotTellWhatIsOutside(t *testing.T) {
	root := hostileTree(t)
	_, there := Path("abs", []string{root})
	_, absent := Path("absent", []string{root})
	if there == nil || absent == nil || there.Error() != absent.Error() {
		t.Errorf("the answers differ: %v, %v", there, absent)
	}
}

func TestPathsInside(t *testing.T) {
	root := workspace(t)
	write(t, root, "dir/inner", "i")
	write(t, root, "other/deep/x", "x")
	link(t, "dir/inner", filepath.Join(root, "rel"))
	link(t, root+"/dir", filepath.Join(root, "abs"))
	link(t, "deep/../../dir", filepath.Join(root, "other", "up"))
	link(t, "../../dir", filepath.Join(root, "other", "deep", "dotdot"))
	given := filepath.Join(filepath.Dir(root), "given")
	link(t, root, given)
	link(t, given+"/dir", filepath.Join(root, "viagiven"))
	for _, c := range []struct{ path, want string }{
		{"dir/inner", "dir/inner"}, {root + "/dir/inner", "dir/inner"}, {"dir//inner", "dir/inner"}, {"./dir/./inner", "dir/inner"},
		{"rel", "dir/inner"}, {"abs/inner", "dir/inner"}, {"abs/new", "dir/new"}, {"other/up/inner", "dir/inner"}, {"other/deep/dotdot/inner", "dir/inner"},
		{given + "/dir/inner", "dir/inner"}, {"viagiven/inner", "dir/inner"}, {".", "."}, {root, "."}, {root + "/", "."}, {"dir/", "dir"},
		{"no/such/folder", "no/such/folder"}, {"..x/y", "..x/y"}, {" ", " "}, {"-rf", "-rf"},
	} {
		got, err := Path(c.path, []string{given})
		if err != nil {
			t.Errorf("%q: %v", c.path, err)
			continue
		}
		if got.Path != c.want || got.Root != root || got.Key != filepath.Join(root, c.want) || got.Kind != TargetFile {
			t.Errorf("%q: got %+v, want %q", c.path, got, c.want)
		}
	}
}

func TestNestedAndSeveralWorkspaces(t *testing.T) {
	root := workspace(t)
	write(t, root, "sub/.git/config", "c")
	other := workspace(t)
	write(t, other, "x", "x")
	link(t, filepath.Join(other, "x"), filepath.Join(root, "to-other"))
	roots := []string{root, filepath.Join(root, "sub"), other, filepath.Join(root, "gone")}
	for p, want := range map[string]string{
		root + "/sub/.git/config": filepath.Join(root, "sub") + " .git/config",
		root + "/to-other":        other + " x",
		"sub/y":                   filepath.Join(root, "sub") + " y",
	} {
		got, err := Path(p, roots)
		if err != nil || got.Root+" "+got.Path != want {
			t.Errorf("%s: got %+v, %v; want %s", p, got, err, want)
		}
	}
	b := compile(t, spec(FileWrite, DialectGeneric))
	_, err := b.Resolve(context.Background(), input(t, m{"path": "x", "content": ""}, roots...))
	refused(t, err, guard.RulePath)
}

func TestUnusableWorkspaceFoldersAreRefused(t *testing.T) {
	_, err := Path("x", []string{"/no/such/folder"})
	refused(t, err, guard.RulePath, "such")
	_, err = Path("x", nil)
	refused(t, err, guard.RulePath)
	if _, err := Path("x", []string{"relative"}); err == nil {
		t.Error("a relative workspace folder was accepted")
	}
	if _, err := os.Stat("/proc/self"); err == nil {
		_, err = Path("status", []string{"/proc/self"})
		refused(t, err, guard.RulePath)
	}
}

// TestSpecialFilesNeverBlock resolves, plans and reads back pipes and devices;
// opening one would hang.
func TestSpecialFilesNeverBlock(t *testing.T) {
	root := hostileTree(t)
	done := make(chan struct{})
	go func() { // ends when every call has returned
		defer close(done)
		for kind, args := range map[string]m{
			FileRead: {"path": "fifo"}, FileWrite: {"path": "fifo", "content": "x"}, FileAppend: {"path": "fifo", "content": "x"}, FileDelete: {"path": "fifo"},
			FileMove: {"source": "fifo", "destination": "elsewhere"},
		} {
			_, err := plan(t, compile(t, spec(kind, DialectGeneric)), input(t, args, root))
			if err == nil {
				t.Errorf("%s of a pipe was planned", kind)
			}
		}
		e := guard.Effect{Kind: FileWrite, Resource: guard.Target{Kind: TargetFile, Key: root + "/fifo", Path: "fifo", Root: root},
			Before: guard.State{Computed: true}, After: guard.State{Exists: true, Kind: stateFile, Computed: true}}
		if got := Verify(context.Background(), nil, []guard.Effect{e}).Result; got != guard.Diverged {
			t.Errorf("a pipe in the file's place is %s", got)
		}
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("a pipe was opened")
	}
}

// TestPromise2_SwappedLinkCannotEscape replaces a folder with a link between
// resolving and reading.
func TestPromise2_SwappedLinkCannotEscape(t *testing.T) {
	root := workspace(t)
	base := filepath.Dir(root)
	write(t, root, "dir/file", "inside")
	write(t, base, "outside/file", "secret")
	j, err := newJail([]string{root})
	if err != nil {
		t.Fatal(err)
	}
	p, err := j.resolvePath(filepath.Join(root, "dir/file"), false, true)
	if err != nil {
		t.Fatal(err)
	}
	b := compile(t, spec(FileAppend, DialectGeneric))
	in := input(t, m{"path": "dir/file", "content": "x"}, root)
	targets, err := b.Resolve(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	preview, err := b.Plan(context.Background(), in, targets)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(root, "dir"), filepath.Join(root, "moved")); err != nil {
		t.Fatal(err)
	}
	link(t, filepath.Join(base, "outside"), filepath.Join(root, "dir"))
	if data, _, err := p.read(MaxText); err == nil {
		t.Errorf("read %q through a swapped link", data)
	} else {
		refused(t, err, guard.RulePath, "outside")
	}
	if _, err := b.Plan(context.Background(), in, targets); err == nil {
		t.Error("planned through a swapped link")
	}
	if f := Verify(context.Background(), nil, preview.Effects); f.Result != guard.Diverged || strings.Contains(f.Detail, "secret") {
		t.Errorf("read back %s (%s) through a swapped link", f.Result, f.Detail)
	}
	// The link now leads to another folder inside: the names differ.
	if err := os.Remove(filepath.Join(root, "dir")); err != nil {
		t.Fatal(err)
	}
	link(t, "moved", filepath.Join(root, "dir"))
	_, err = b.Plan(context.Background(), in, targets)
	refused(t, err, guard.RulePath)
}

// TestOtherSpellingsAreRefused simulates a file system that ignores case: a second name
// for one file looks the same to the check.
func TestOtherSpellingsAreRefused(t *testing.T) {
	root := workspace(t)
	p := write(t, root, "File", "x")
	if err := os.Link(p, filepath.Join(root, "fILE")); err != nil {
		t.Fatal(err)
	}
	if _, err := Path("File", []string{root}); err != nil {
		t.Errorf("a name that is an entry was refused: %v", err)
	}
	j, err := newJail([]string{root})
	if err != nil {
		t.Fatal(err)
	}
	w := &walker{jail: j}
	defer w.close()
	if err := w.start(0); err != nil {
		t.Fatal(err)
	}
	st, err := statAt(w.dir(), "File")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(p); err != nil {
		t.Fatal(err)
	}
	refused(t, w.checkSpelling("File", st), guard.RulePath)
}

// TestResolveStaysInside walks random trees of folders and links: every accepted
// path lies inside, contains no link and is what the system finds.
func TestResolveStaysInside(t *testing.T) {
	base := workspace(t)
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		root := filepath.Join(base, "case", "ws")
		if err := os.RemoveAll(filepath.Join(base, "case")); err != nil {
			t.Fatal(err)
		}
		names := []string{"a", "b", "c"}
		for _, d := range []string{"ws/a/b", "ws/b", "ws-evil/a", "out/b"} {
			if err := os.MkdirAll(filepath.Join(base, "case", d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		step := rapid.SampledFrom([]string{"a", "b", "c", "..", ".", "", "ws", "ws-evil", "out"})
		path := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(step, 1, 5).Draw(t, "steps"), "/") })
		for range rapid.IntRange(0, 5).Draw(t, "links") {
			at := filepath.Join(root, rapid.SampledFrom([]string{"", "a", "b", "a/b"}).Draw(t, "in"), rapid.SampledFrom(names).Draw(t, "name"))
			target := path.Draw(t, "to")
			if rapid.Bool().Draw(t, "absolute") {
				target = filepath.Dir(root) + "/" + target
			}
			_ = os.Symlink(target, at) // something may already exist there
		}
		p := path.Draw(t, "path")
		got, err := Path(p, []string{root})
		if err != nil {
			return
		}
		if _, ok := within(got.Key, root); !ok {
			t.Fatalf("%q resolves to %q", p, got.Key)
		}
		for dir := got.Key; dir != root; dir = filepath.Dir(dir) {
			if info, err := os.Lstat(dir); err == nil && info.Mode()&os.ModeSymlink != 0 {
				t.Fatalf("%q resolves to %q, in which %q is a link", p, got.Key, dir)
			}
		}
		if real, err := filepath.EvalSymlinks(filepath.Join(root, p)); err == nil && real != got.Key {
			t.Fatalf("%q resolves to %q; the system finds %q", p, got.Key, real)
		}
	})
}
