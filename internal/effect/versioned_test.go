package effect

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestVersionedAgreesWithGit compares the reports on files with git's own, for
// every version of its index.
func TestVersionedAgreesWithGit(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("git is not installed, and the repository of the test is made by it")
	}
	for _, version := range []string{"2", "3", "4"} {
		root := workspace(t)
		run := func(args ...string) string {
			t.Helper()
			cmd := exec.Command(git, append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
			cmd.Dir, cmd.Env = root, append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
			out, err := cmd.CombinedOutput()
			if err != nil && args[0] != "check-ignore" {
				t.Fatalf("git %v: %v\n%s", args, err, out)
			}
			return string(out)
		}
		run("init", "-q")
		kept := []string{"a.txt", "dir/a.txt", "dir/b.txt", "dir/deep/er/c.txt", "z.log", "dirt.txt"}
		free := []string{"free.txt", "dir/free.txt"}
		left := []string{"x.log", "dir/y.log", "build/out.bin", "build/keep.txt", "dir/deep/secret.key", "sub/build", "lit{a}.tmp", "excluded.md", "a/b/c/d.cache"}
		for _, name := range append(append(append([]string{}, kept...), free...), append(left, "dir/important.log")...) {
			write(t, root, name, "x")
		}
		write(t, root, ".gitignore", "*.log\n/build/\n!dir/important.log\nlit{a}.tmp\n# c\nsub/build\na/**/*.cache\n")
		write(t, root, "dir/deep/.gitignore", "*.key  \n")
		write(t, root, ".git/info/exclude", "excluded.md\n")
		run(append([]string{"add", "-f"}, kept...)...)
		run("update-index", "--index-version", version)
		if version == "3" {
			run("add", "-N", "dir/important.log") // an entry with extended flags
		}
		say := func(name string) string {
			b := compile(t, spec(FileWrite, DialectWorkspace))
			p := mustPlan(t, b, input(t, m{"path": filepath.Join(root, name), "content": "y"}, root))
			for _, s := range p.SideEffects {
				if strings.Contains(s.Text, "version control") || strings.Contains(s.Text, "repository") {
					return s.Text
				}
			}
			return ""
		}
		for _, name := range kept {
			if got := say(name); got != "" {
				t.Errorf("version %s: %s is kept: %q", version, name, got)
			}
		}
		for _, name := range free {
			if got := say(name); got != "the file is not kept by version control yet" {
				t.Errorf("version %s: %s: %q", version, name, got)
			}
		}
		for _, name := range append(left, "dir/important.log") {
			want := strings.TrimSpace(run("check-ignore", name)) != ""
			if got := say(name) == "the file is ignored by version control"; got != want {
				t.Errorf("version %s: %s ignored %v, git says %v", version, name, got, want)
			}
		}
		if got := say("new.txt"); got != "" {
			t.Errorf("a new file: %q", got)
		}
		if got := say("new.log"); got != "the file is ignored by version control" {
			t.Errorf("a new file that is ignored: %q", got)
		}
	}
	outside := workspace(t)
	write(t, outside, "f", "x")
	p := mustPlan(t, compile(t, spec(FileWrite, DialectWorkspace)), input(t, m{"path": outside + "/f", "content": "y"}, outside))
	if len(p.SideEffects) != 1 || p.SideEffects[0].Text != "the file is outside version control" {
		t.Errorf("outside: %v", p.SideEffects)
	}
}

// FuzzIndex: no index, however malformed, is read past its end.
func FuzzIndex(f *testing.F) {
	f.Add([]byte("DIRC\x00\x00\x00\x02\x00\x00\x00\x01"+strings.Repeat("\x00", 70)), "a", false)
	f.Add([]byte("DIRC\x00\x00\x00\x04\x00\x00\x00\x02"+strings.Repeat("\x00", 62)+"\x00abc\x00"+strings.Repeat("\x00", 62)+"\x01d\x00"), "abd", true)
	f.Fuzz(func(t *testing.T, index []byte, rel string, folder bool) {
		if kept, known := indexed(index, rel, folder); kept && !known {
			t.Fatal("kept, and not known")
		}
	})
}
