package commands

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// heredocs complete the lines of the corpus that begin one.
var heredocs = map[string]string{
	"python3 - <<'P'":        "\nprint(sum(range(10)))\nP\n",
	"cat > notes.md <<'X'":   "\n# Notes\n\n- one $HOME `x`\nX\n",
	"cat >> README.md <<'X'": "\nmore\nX\n",
}

const sampleProject = `
mkdir -p src tests empty
printf 'def discount(net, percent):\n    return net - net * percent / 100\n\n\ndef total(items):\n    return sum(items)\n' > src/app.py
printf 'import app\n' > tests/test_app.py
printf '# Shop\n\nA sample.\n' > README.md
printf 'carol\nalice\nbob\nalice\n' > names.txt
printf 'x\n' > other.txt
printf 'id,name\n1,a\n2,b\n' > data.csv
printf '{\n  "name": "shop",\n  "version": "1.0.0"\n}\n' > package.json
printf 'all: out\nout: names.txt\n\tsort names.txt > out\nclean:\n\trm -f out\n' > Makefile
printf -- '--- names.txt\n+++ names.txt\n@@ -1,4 +1,4 @@\n carol\n-alice\n+ALICE\n bob\n alice\n' > change.patch
tar cf archive.tar --mtime=@0 names.txt data.csv
printf 'KEY=1\n' > .env
printf '.env\n*.bak\n' > .gitignore
git init -q -b main && git add -A && git commit -qm first
git checkout -q -b other && echo o > o.txt && git add o.txt && git commit -qm "on other"
git checkout -q main && echo two >> README.md && git commit -qam second
git remote add origin https://example.com/shop.git
`

var corpusEnv = []string{
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "GIT_CONFIG_NOSYSTEM=1",
	"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com",
	"GIT_AUTHOR_DATE=2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE=2026-01-01T00:00:00Z", "GIT_EDITOR=true", "PYTHONDONTWRITEBYTECODE=1",
}

// TestPromise10_CorpusOfCommands runs commands as agents write them. Each must be
// of its class, and what changes files must land as if it had run in the folder.
func TestPromise10_CorpusOfCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute; the full run covers it") // -short is for the race detector, which is slower still
	}
	home := homeOutside(t)
	sample := newFixture(t)
	sample.inProject(sampleProject)
	n := 0
	for class, line := range corpus(t) {
		n++
		t.Run(fmt.Sprintf("%03d", n), func(t *testing.T) {
			t.Parallel()
			x := sample.copied(t)
			c := x.command(line)
			c.Env, c.Home = append(corpusEnv[:len(corpusEnv):len(corpusEnv)], "HOME="+home), home
			x.r.cfg.Secret = func(p string) bool { return filepath.Base(p) == ".env" }
			c.Settings.Limits = sandbox.Limits{Time: 20 * time.Second, CPU: 5 * time.Second}
			c.Settings.Temporary = []string{"/tmp"}
			if class == "cut" {
				c.Settings.Limits = sandbox.Limits{Time: time.Second, CPU: 500 * time.Millisecond}
			}
			before := x.tree()
			rec, _ := x.preview(c)
			if got := classOf(rec); got != class {
				t.Fatalf("%s\nclass %s, want %s\nwanted %v, left %v, stopped %q, cut %v, retry %v, moved %v, changes %s\n%s", line, got, class, rec.Wanted, rec.Left, rec.Stopped, rec.Truncated, rec.Retry, rec.Moved, changeList(rec), tail(rec.Text()))
			}
			if after := x.tree(); after != before {
				t.Fatalf("%s\nthe run changed the real folder", line)
			}
			if class == "changes" || class == "times" {
				y := sample.copied(t)
				y.direct(line, home)
				x.landsLike(y, rec, line)
			}
		})
	}
	if n < 120 {
		t.Errorf("only %d commands", n)
	}
}

func corpus(t *testing.T) func(func(class, line string) bool) {
	data, err := os.ReadFile("testdata/corpus.txt")
	if err != nil {
		t.Fatal(err)
	}
	return func(yield func(class, line string) bool) {
		for row := range strings.Lines(string(data)) {
			class, line, ok := strings.Cut(strings.TrimSuffix(row, "\n"), "\t")
			if !ok || strings.HasPrefix(row, "#") {
				continue
			}
			if !yield(class, line+heredocs[line]) {
				return
			}
		}
	}
}

func classOf(r *Record) string {
	switch {
	case r.Stopped != "" || r.Truncated:
		return "cut"
	case len(r.Left) > 0:
		return "left"
	case len(r.Wanted) > 0:
		return "wants"
	case !r.Whole():
		return "not proven"
	case r.OnlyTimes():
		return "times"
	case len(r.Changes) > 0:
		return "changes"
	}
	return "same"
}

func changeList(r *Record) string {
	var out strings.Builder
	for i, c := range r.Changes {
		if i == 20 {
			out.WriteString("…")
			break
		}
		fmt.Fprintf(&out, "%s %s/%s; ", c.Op, filepath.Base(c.Tree), c.Path)
	}
	return out.String()
}

func tail(s string) string { return s[max(0, len(s)-800):] }

// homeOutside is a home folder that no tree covers.
func homeOutside(t *testing.T) string {
	home, err := os.MkdirTemp("/var/tmp", "mcpguard-home-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	for name, text := range map[string]string{".bashrc": "x", ".netrc": "x", ".ssh/id_rsa": "key"} {
		at := filepath.Join(home, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o700), os.WriteFile(at, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

func (x *fixture) inProject(script string) { x.direct(script, "/nonexistent") }

// direct runs a line in the folder itself.
func (x *fixture) direct(line, home string) {
	x.Helper()
	cmd := exec.Command("bash", "-c", line)
	cmd.Dir, cmd.Env = x.ws, append(corpusEnv[:len(corpusEnv):len(corpusEnv)], "HOME="+home)
	_ = cmd.Run() // commands of the corpus may fail; so do they inside
}

// copied is a fixture with the same project, for one test.
func (x *fixture) copied(t *testing.T) *fixture {
	t.Helper()
	y := newFixture(t)
	if out, err := exec.Command("cp", "-a", x.ws+"/.", y.ws).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	return y
}

// landsLike lands a record and compares with y, where its line has run directly.
func (x *fixture) landsLike(y *fixture, rec *Record, line string) {
	x.Helper()
	l := rec.landing()
	if _, err := l.Land(context.Background()); err != nil {
		x.Fatalf("%s\nlanding: %v", line, err)
	}
	if p, err := l.Progress(); err != nil || p != sandbox.Landed {
		x.Errorf("%s\nprogress %d, %v", line, p, err)
	}
	got, want := x.tree(), y.tree()
	if got != want {
		x.Errorf("%s\n--- landed\n%s--- direct\n%s", line, lessOf(got, want), lessOf(want, got))
	}
}

// lessOf is the lines of a that b does not have.
func lessOf(a, b string) string {
	in := map[string]bool{}
	for l := range strings.Lines(b) {
		in[l] = true
	}
	var out strings.Builder
	for l := range strings.Lines(a) {
		if !in[l] {
			out.WriteString(l)
		}
	}
	return out.String()
}

// tree writes the project as text: files by bytes, modes and links, the
// repository by its refs, index and check.
func (x *fixture) tree() string {
	x.Helper()
	var out strings.Builder
	var repositories []string
	inodes := map[uint64]string{}
	err := filepath.WalkDir(x.ws, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(x.ws, path)
		if d.Name() == ".git" {
			repositories = append(repositories, filepath.Dir(path))
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		fmt.Fprintf(&out, "%q %o", rel, st.Mode)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			if os.IsPermission(err) {
				data, err = []byte("unreadable"), nil
			}
			if err != nil {
				return err
			}
			if len(data) > 200 {
				data = fmt.Appendf(nil, "%d bytes, ends %q", len(data), data[len(data)-20:])
			}
			fmt.Fprintf(&out, " %q", data)
			if st.Nlink > 1 {
				if inodes[st.Ino] == "" {
					inodes[st.Ino] = rel
				}
				out.WriteString(" =" + inodes[st.Ino])
			}
		case unix.S_IFLNK:
			target, _ := os.Readlink(path)
			out.WriteString(" -> " + target)
		}
		out.WriteByte('\n')
		return nil
	})
	if err != nil {
		x.Fatal(err)
	}
	for _, dir := range repositories {
		for _, args := range [][]string{{"for-each-ref"}, {"symbolic-ref", "-q", "HEAD"}, {"ls-files", "-s", "-v"}, {"status", "--porcelain"}, {"fsck", "--no-dangling"}, {"config", "--local", "-l"}, {"stash", "list"}} {
			cmd := exec.Command("git", args...)
			cmd.Dir, cmd.Env = dir, append(corpusEnv[:len(corpusEnv):len(corpusEnv)], "HOME=/nonexistent", "GIT_OPTIONAL_LOCKS=0")
			text, _ := cmd.CombinedOutput()
			fmt.Fprintf(&out, "git %s: %s\n", args[0], strings.ReplaceAll(string(text), x.ws, "WS"))
		}
	}
	return out.String()
}
