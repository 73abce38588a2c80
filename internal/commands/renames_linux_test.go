package commands

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// gone and come are a deleted and a created file with the given content.
func gone(path, content string) sandbox.Change {
	return sandbox.Change{Tree: "/w", Path: path, Op: sandbox.OpDelete, Before: entryOf(content)}
}

func come(path, content string) sandbox.Change {
	return sandbox.Change{Tree: "/w", Path: path, Op: sandbox.OpAdd, After: entryOf(content)}
}

func entryOf(content string) *sandbox.Entry {
	return &sandbox.Entry{Type: 'f', Mode: 0o644, Size: int64(len(content)), Sum: strings.TrimPrefix(digest.Sum([]byte(content)).String(), "sha256:")}
}

func TestSameContentIsShownAsARename(t *testing.T) {
	for _, c := range []struct {
		name    string
		changes []sandbox.Change
		want    string // "from>to", in order
	}{
		{"one", []sandbox.Change{gone("a", "x"), come("b", "x")}, "a>b"},
		{"other content", []sandbox.Change{gone("a", "x"), come("b", "completely different")}, ""},
		{"several of one content go by their name, then by path",
			[]sandbox.Change{come("d/z", "x"), come("d/b", "x"), come("d/c", "x"), gone("a", "x"), gone("b", "x"), gone("z", "x")}, "a>d/c b>d/b z>d/z"},
		{"of one name by the folders above it",
			[]sandbox.Change{gone("src/a/i", "x"), gone("src/b/i", "x"), come("lib/b/i", "x"), come("lib/c/i", "x")}, "src/a/i>lib/c/i src/b/i>lib/b/i"},
		{"more go than come", []sandbox.Change{gone("a", "x"), gone("b", "x"), come("c", "x")}, "a>c"},
		{"empty files by their name alone", []sandbox.Change{gone("a", ""), come("b", ""), gone("c", ""), come("d/c", "")}, "c>d/c"},
		{"not what is git's", []sandbox.Change{gone("hook", "x"), come(".git/hooks/pre-commit", "x")}, ""},
		{"not what a tool then obeys", []sandbox.Change{gone("notes", "x"), come("obeyed", "x")}, ""},
		{"but what it obeyed before", []sandbox.Change{gone("d/obeyed", "x"), come("obeyed", "x")}, "d/obeyed>obeyed"},
		{"a path that is replaced by a folder",
			[]sandbox.Change{gone("p", "x"), {Tree: "/w", Path: "p", Op: sandbox.OpAdd, After: &sandbox.Entry{Type: 'd'}}, come("p/q", "x")}, "p>p/q"},
	} {
		r := &Record{Roots: []string{"/w"}, Changes: c.changes, obeyed: func(p string) bool { return filepath.Base(p) == "obeyed" }}
		pairs := func() string {
			s := summary{Record: r}
			found, err := s.renames(nil) // none of these files is there to be read
			if err != nil {
				t.Fatal(c.name, err)
			}
			var out []string
			for _, x := range found.facts(r.Changes) {
				out = append(out, strings.TrimPrefix(x.From, "/w/")+">"+strings.TrimPrefix(x.To, "/w/"))
			}
			return strings.Join(out, " ")
		}
		first := pairs()
		if first != c.want {
			t.Errorf("%s: %q, want %q", c.name, first, c.want)
		}
		for range 10 {
			if again := pairs(); again != first {
				t.Fatalf("%s: %q, then %q", c.name, first, again)
			}
		}
	}
}

// TestRenamedFileIsShownAsGitShowsIt takes the text of a rename to git, which must
// make the same tree of it.
func TestRenamedFileIsShownAsGitShowsIt(t *testing.T) {
	x := newFixture(t)
	body := ""
	for i := range 20 {
		body += fmt.Sprintf("line %d\n", i)
	}
	x.real("mkdir sub; printf '" + body + "' > sub/a.txt; echo other > b.txt; printf 'x\\000y' > bin; chmod 755 b.txt")
	rec, p := x.preview(x.command("mv sub/a.txt sub/c.txt; sed -i 's/line 7/line seven/' sub/c.txt; mv b.txt d.txt; chmod 644 d.txt; mv bin sub/bin; echo unrelated > new"))
	for _, want := range []string{
		"diff --git a/sub/a.txt b/sub/c.txt\nrename from sub/a.txt\nrename to sub/c.txt\n--- a/sub/a.txt\n+++ b/sub/c.txt\n@@ ", "-line 7\n+line seven\n",
		"diff --git a/b.txt b/d.txt\nold mode 100755\nnew mode 100644\nrename from b.txt\nrename to d.txt\n", "rename from bin\nrename to sub/bin\n", "+unrelated\n",
	} {
		if strings.Count(p.Change.Text, want) != 1 {
			t.Errorf("not once %q in\n%s", want, p.Change.Text)
		}
	}
	if strings.Contains(p.Change.Text, "deleted file") {
		t.Errorf("a deletion beside the rename:\n%s", p.Change.Text)
	}
	// To show it so changes nothing of what lands.
	if len(p.Effects) != 7 || p.Change.Exec.Run.Files != 7 || len(p.Change.Exec.Run.Renames) != 3 || p.Change.Added != 2 || p.Change.Removed != 1 {
		t.Errorf("%d effects, %+v, +%d −%d", len(p.Effects), p.Change.Exec.Run, p.Change.Added, p.Change.Removed)
	}
	for i, e := range p.Effects {
		if e.Diff == (digest.Digest{}) || e.Before == e.After {
			t.Errorf("effect %d does not say what changes: %+v", i, e)
		}
	}
	x.real("cp -a . ../copy")
	_, patch, _ := strings.Cut(p.Change.Text, "diff --git ")
	cmd := exec.Command("git", "apply", "--unsafe-paths", "-")
	cmd.Dir, cmd.Stdin = filepath.Join(filepath.Dir(x.ws), "copy"), strings.NewReader("diff --git "+patch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := x.r.Land(t.Context(), rec.ID); err != nil {
		t.Fatal(err)
	}
	x.real("diff -r . ../copy")
}

func TestMovedFolderIsShownByALineForEachFile(t *testing.T) {
	x := newFixture(t)
	x.real("mkdir -p src/in; for i in 1 2 3 4 5; do echo $i > src/in/f$i; done; seq 30 > src/edited; touch src/in/empty src/empty")
	rec, p := x.preview(x.command("mkdir pkg; mv src pkg/lib; sed -i s/^30$/thirty/ pkg/lib/edited"))
	text := p.Change.Text
	for _, want := range []string{"renames src → pkg/lib: 7 files, none of them changes\n", "deleted folder src\n", "rename from src/edited\nrename to pkg/lib/edited\n", "-30\n+thirty\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, c := range rec.Changes {
		// Nothing that is deleted is hidden.
		if c.Op == sandbox.OpDelete && c.Before.Type == 'f' && !strings.Contains(text, "renamed "+c.Path+" → ") && !strings.Contains(text, "rename from "+c.Path+"\n") {
			t.Errorf("%s is deleted, which is not shown:\n%s", c.Path, text)
		}
	}
}

// TestTakingBackARenameIsARename undoes one.
func TestTakingBackARenameIsARename(t *testing.T) {
	x := newFixture(t)
	x.real("seq 50 > a")
	rec, _ := x.preview(x.command("mv a b"))
	if _, err := x.r.Land(t.Context(), rec.ID); err != nil {
		t.Fatal(err)
	}
	x.r.Keep(rec.Call)
	back, err := x.r.Reverse(guard.NewCallID(), rec.ID)
	if err != nil {
		t.Fatal(err)
	}
	p, err := back.Preview("take back\n")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(p.Change.Text, "rename from b\nrename to a\n") {
		t.Error(p.Change.Text)
	}
	if _, err := x.r.Land(t.Context(), back.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(x.ws, "a")); err != nil {
		t.Error(err)
	}
}

// TestTakingBackLeavesNamesOfOneFile changes a file that has two names and takes that
// back: both are one file all the way.
func TestTakingBackLeavesNamesOfOneFile(t *testing.T) {
	for _, line := range []string{"echo more >> one", "chmod 755 two", "echo other > two; touch three"} {
		x := newFixture(t)
		x.real("echo a > one; ln one two; echo a > three; touch -r one three")
		same := func(when, content string) {
			t.Helper()
			a, err := os.Stat(filepath.Join(x.ws, "one"))
			b, err2 := os.Stat(filepath.Join(x.ws, "two"))
			text, err3 := os.ReadFile(filepath.Join(x.ws, "one"))
			if err := errors.Join(err, err2, err3); err != nil || !os.SameFile(a, b) || content != "" && (string(text) != content || a.Mode().Perm() != 0o644) {
				t.Errorf("%s, %s: %v, one file: %v, %q, %v", line, when, err, err == nil && os.SameFile(a, b), text, a.Mode())
			}
		}
		rec, _ := x.preview(x.command(line))
		if _, err := x.r.Land(t.Context(), rec.ID); err != nil {
			t.Fatal(err)
		}
		same("landed", "")
		x.r.Keep(rec.Call)
		back, err := x.r.Reverse(guard.NewCallID(), rec.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.r.Land(t.Context(), back.ID); err != nil {
			t.Fatal(err)
		}
		same("taken back", "a\n")
	}
}

// TestTooLargeACopyIsSaid runs what an overlay cannot show where a copy is over its
// limit: the reason names both, and does not blame the machine.
func TestTooLargeACopyIsSaid(t *testing.T) {
	x := newFixture(t)
	x.real("mkdir d; echo a > d/f; head -c 3000 /dev/zero > large")
	c := x.command("python3 -c \"import os; os.rename('d', 'e')\"")
	c.Settings.Limits.Copied = 2000
	_, err := x.r.Preview(t.Context(), c)
	if !errors.Is(err, sandbox.ErrTooLarge) || errors.Is(err, sandbox.ErrUnavailable) {
		t.Fatal(err)
	}
	want := "layers over the folders cannot show what it does: a folder that was there is renamed: "
	if got := err.Error(); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "; and "+sandbox.ErrTooLarge.Error()) || strings.Count(got, sandbox.ErrTooLarge.Error()) != 1 {
		t.Errorf("got %q", got)
	}
	x.real("rm large; test -e d/f")
	if rec, err := x.r.Preview(t.Context(), c); err != nil || !rec.Copied || !rec.Whole() {
		t.Errorf("%+v, %v", rec, err)
	}
}

// TestNoNameOfAFileForgesARename gives files the names of what the guard writes.
func TestNoNameOfAFileForgesARename(t *testing.T) {
	x := newFixture(t)
	x.real("seq 9 > 'a → b'; for i in 1 2 3 4; do echo $i > \"k$i → z\"; done")
	_, p := x.preview(x.command(`mkdir d; mv k* d; mv 'a → b' c`))
	if !strings.Contains(p.Change.Text, `renamed "k1 \u2192 z" → "d/k1 \u2192 z"`+"\n") {
		t.Error(p.Change.Text)
	}
}
