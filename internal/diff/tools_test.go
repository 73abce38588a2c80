package diff

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tool returns the path of a program that a test compares with. A continuous
// integration run must have it.
func tool(t testing.TB, name string) string {
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is needed to prove patches: %v", name, err)
	}
	t.Skipf("%s is not installed, so patches cannot be tried with it: %v", name, err)
	return ""
}

// change is one case for the real tools.
type change struct {
	before, after File
	o             Options
}

// toolCases are changes that have misled patch readers, and random ones.
func toolCases() []change {
	text := func(path, s string) File { return File{Path: path, Data: []byte(s), Mode: 0o644, Exists: true} }
	none := File{}
	var cases []change
	add := func(before, after File) { cases = append(cases, change{before: before, after: after}) }

	long := strings.Repeat("long ", 400_000)
	for i, c := range [][2]string{
		{"a\nb\nc\n", "a\nx\nc\n"},
		{"a\nb", "a\nb\n"}, {"a\nb\n", "a\nb"}, {"a\nb", "a\nc"}, {"a", ""}, {"", "a"},
		{"", "\n"}, {"\n", ""}, {"\n\n\n", "\n\n"}, {"a\r\nb\r\n", "a\nb\n"}, {"a\nb\n", "a\r\nb\r\n"},
		{"a\r\nb\r\nc\r\n", "a\r\nB\r\nc\r\n"}, {"\r", "\r\r"}, {"a\rb\n", "a\rc\n"}, {"a\n\r\n", "a\n\r"},
		{"\xff\xfe\n", "\xfe\xff\n"}, {"\xc3", "\xc3\xa9"}, {"é\n", "e\u0301\n"},
		{"-- a/x\n++ b/x\n", "--- a/x\n+++ b/x\n@@ -1 +1 @@\n"}, {"-- \n", "-- x\n"}, {"\\\n", "\\ No newline at end of file\n"},
		{"\\ No newline at end of file", "\\ No newline at end of file\n"}, {"diff --git a/x b/x\n", "diff --git a/y b/y\n"},
		{"a\n" + long + "\nb\n", "a\n" + long + "!\nb\n"}, {strings.Repeat("y", 3_000_000), strings.Repeat("z", 3_000_000)},
		{strings.Repeat("x\n", 500), strings.Repeat("x\n", 501)}, {strings.Repeat("x\n", 500) + "y", strings.Repeat("x\n", 490) + "y"},
		{strings.Repeat("text\n", 2000) + "\x00\n", strings.Repeat("text\n", 2000) + "\x00\x00\n"},
		{" \t\n\t \n", "\t \n \t\n"}, {"\f\v\x1b[0m\n", "\x1b[0m\n\x07"}, {"+\n-\n \n", "-\n+\n\n"}, {"a\n\n", "a\n\n\n"},
	} {
		name := fmt.Sprintf("edit%d", i)
		add(text(name, c[0]), text(name, c[1]))
	}
	for i, name := range []string{
		"plain", "with blank", " leading", "trailing ", "tab\there", "new\nline", "quote\"d", "back\\slash", "single'quote",
		"ünïcode", "日本語", "bad\xffutf8", "-dash", "a b/c d", "deep/er/file", "bell\a", "b/x", "a/b/a", "dev/null", "$HOME", "*?[x]", "cr\rhere", "~tilde", "#hash", "x => y", "{a,b}",
		strings.Repeat("n", 200), "del\x7f",
	} {
		name := fmt.Sprintf("n%d/%s", i, name)
		add(text(name+"-e", "old\n"), text(name+"-e", "new\n"))
		add(none, text(name+"-new", "created\n"))
		add(text(name+"-del", "deleted\n"), none)
		add(none, text(name+"-newempty", ""))
		add(text(name+"-delempty", ""), none)
		add(text(name+"-from", "moved\nas\nit is\n"), text(name+"-to", "moved\nas\nit is\n"))
		add(text(name+"-from2", "moved\nas\nit is\n"), text(name+"-to2", "moved\nand\nchanged"))
		script := text(name+"-x", "echo\n")
		script.Mode = 0o755
		add(text(name+"-x", "echo\n"), script)
		script.Data = []byte("echo 1\n")
		add(text(name+"-x2", "echo\n"), File{Path: name + "-x2", Data: script.Data, Mode: 0o755, Exists: true})
		add(none, File{Path: name + "-xnew", Data: script.Data, Mode: 0o755, Exists: true})
	}
	add(File{Path: "abs/private", Data: []byte("a\n"), Mode: 0o600, Exists: true}, File{Path: "abs/private", Data: []byte("b\n"), Mode: 0o600, Exists: true})
	add(none, File{Path: "/abs/lead", Data: []byte("a\n"), Mode: 0o600, Exists: true})

	r := rand.New(rand.NewPCG(9, 10))
	for i := range 400 {
		before := randomText(r, 30)
		after := mutate(r, before)
		if i%4 == 0 {
			after = randomText(r, 30)
		}
		name := fmt.Sprintf("random%d", i)
		c := change{before: text(name, string(before)), after: text(name, string(after)), o: Options{Context: 1 + i%4}}
		if i%5 == 0 {
			c.o.Budget = 1 + i
		}
		cases = append(cases, c)
	}
	return cases
}

// layOut writes the before side of all cases into a new folder and returns it
// with one patch for all of them.
func layOut(t *testing.T, cases []change) (dir string, patch []byte) {
	dir = t.TempDir()
	for _, c := range cases {
		if c.before.Exists {
			path := filepath.Join(dir, c.before.Path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, c.before.Data, os.FileMode(c.before.Mode)); err != nil {
				t.Fatal(err)
			}
		}
		text, _ := Unified(c.before, c.after, c.o)
		patch = append(patch, text...)
	}
	return dir, patch
}

func checkLaidOut(t *testing.T, dir string, cases []change, modes uint32) {
	t.Helper()
	for _, c := range cases {
		if c.before.Exists && (!c.after.Exists || c.after.Path != c.before.Path) {
			if _, err := os.Lstat(filepath.Join(dir, c.before.Path)); !os.IsNotExist(err) {
				t.Errorf("%q is still there (%v)", c.before.Path, err)
			}
		}
		if !c.after.Exists {
			continue
		}
		path := filepath.Join(dir, c.after.Path)
		got, err := os.ReadFile(path)
		if err != nil {
			t.Errorf("%q: %v", c.after.Path, err)
			continue
		}
		if !bytes.Equal(got, c.after.Data) {
			t.Errorf("%q: got %.300q, want %.300q", c.after.Path, got, c.after.Data)
		}
		if info, err := os.Stat(path); err != nil || uint32(info.Mode().Perm())&modes != c.after.Mode&modes {
			t.Errorf("%q: mode %v (%v), want %o", c.after.Path, info.Mode(), err, c.after.Mode)
		}
	}
}

// TestGitApplies runs every case through `git apply`, which applies all or
// nothing. Git keeps only the executable bit of a mode.
func TestGitApplies(t *testing.T) {
	git := tool(t, "git")
	cases := toolCases()
	dir, patch := layOut(t, cases)
	cmd := exec.Command(git, "apply", "--whitespace=nowarn", "-")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(patch)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git apply: %v\n%.4000s", err, out)
	}
	checkLaidOut(t, dir, cases, 0o100)
}

// TestPatchApplies runs every case through GNU patch, without fuzz.
func TestPatchApplies(t *testing.T) {
	gnu := tool(t, "patch")
	cases := toolCases()
	dir, patch := layOut(t, cases)
	cmd := exec.Command(gnu, "-p1", "-F0", "--batch", "--force")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(patch)
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("fuzz")) || bytes.Contains(out, []byte("offset")) {
		t.Errorf("patch: %v\n%.4000s", err, out)
	}
	checkLaidOut(t, dir, cases, 0o777)
}
