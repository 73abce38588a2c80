package commands

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/sandbox"
)

func TestMain(m *testing.M) {
	if code, handled := sandbox.Main(os.Args); handled {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// firstProgram is what plays the sandbox's first process: the test itself, or the
// real program, which starts faster than a test with the race detector.
func firstProgram(t testing.TB) string {
	t.Helper()
	if p := os.Getenv("MCPGUARD_SANDBOX_PROGRAM"); p != "" {
		return p
	}
	p, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

type fixture struct {
	*testing.T
	ws string
	r  *Runner
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(Config{Program: firstProgram(t), State: filepath.Join(dir, "state")})
	if err != nil {
		t.Fatal(err)
	}
	x := &fixture{T: t, ws: filepath.Join(dir, "ws"), r: r}
	if err := os.Mkdir(x.ws, 0o755); err != nil {
		t.Fatal(err)
	}
	return x
}

// real runs a line of shell on the real folder.
func (x *fixture) real(line string) {
	x.Helper()
	cmd := exec.Command("bash", "-ec", line)
	cmd.Dir = x.ws
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	if out, err := cmd.CombinedOutput(); err != nil {
		x.Fatalf("%s: %v\n%s", line, err, out)
	}
}

func (x *fixture) command(line string) Command {
	return Command{
		Call: guard.NewCallID(), Tenant: "t", Argv: []string{"bash", "-c", line}, Folder: x.ws, Roots: []string{x.ws},
		Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com"},
	}
}

func (x *fixture) preview(c Command) (*Record, guard.Preview) {
	x.Helper()
	rec, err := x.r.Preview(context.Background(), c)
	if errors.Is(err, sandbox.ErrUnavailable) && os.Getenv("CI") == "" {
		x.Skip(err)
	}
	if err != nil {
		x.Fatal(err)
	}
	p, err := rec.Preview("command\n " + c.Argv[len(c.Argv)-1] + "\n")
	if err != nil {
		x.Fatal(err)
	}
	return rec, p
}

func TestChangesAreShownAsDiffs(t *testing.T) {
	x := newFixture(t)
	x.real("printf 'one\\ntwo\\n' > a.txt; mkdir d; echo x > d/x")
	_, p := x.preview(x.command("sed -i s/one/uno/ a.txt; rm -r d; echo new > n.txt; ln -s n.txt l"))
	for _, want := range []string{"-one\n+uno\n", "deleted folder d\n", "--- a/d/x\n+++ /dev/null", "+++ b/n.txt", "new link l → n.txt", "exit code 0"} {
		if !strings.Contains(p.Change.Text, want) {
			t.Errorf("no %q in\n%s", want, p.Change.Text)
		}
	}
	if len(p.Effects) != 5 || p.Change.Exec.Run.Files != 5 || len(p.Hazards) > 0 {
		t.Errorf("%d effects, %+v, hazards %v", len(p.Effects), p.Change.Exec.Run, p.Hazards)
	}
}

func TestCommitIsShownByItsMeaning(t *testing.T) {
	x := newFixture(t)
	x.real("git init -q -b main; echo one > a.txt; git add .; git commit -qm first")
	rec, p := x.preview(x.command("echo two >> a.txt; git commit -qam 'second: more'"))
	text := strings.Join(p.Change.Exec.Run.Git, "\n")
	for _, want := range []string{"by Ada <ada@example.com>: second: more (1 file, +1 −0)", "main: ", "index: changes a.txt"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s\n%+v", want, text, rec.Git)
		}
	}
	if want := "(1 file, the repository, +1 −0)"; !strings.HasSuffix(p.Summary, want) {
		t.Errorf("got the summary %q, want it to end in %q", p.Summary, want)
	}
	if len(p.Hazards) > 0 {
		t.Errorf("hazards %v", p.Hazards)
	}
}

func TestObjectsOfARepositoryAreOneLine(t *testing.T) {
	x := newFixture(t)
	x.real("git init -q -b main; echo one > a.txt; git add .; git commit -qm first")
	_, p := x.preview(x.command("echo two >> a.txt; git commit -qam second; mkdir -p .git/objects/aa; cd .git/objects/aa; echo x > 00112233445566778899aabbccddeeff001122; chmod +x 0*; ln -s ../pack 10112233445566778899aabbccddeeff001122; echo y > odd"))
	if want := "git file .git/objects: 3 new, "; strings.Count(p.Change.Text, want) != 1 {
		t.Errorf("no single %q in\n%s", want, p.Change.Text)
	}
	for _, want := range []string{"+++ b/.git/objects/aa/00112233445566778899aabbccddeeff001122\n", "new link .git/objects/aa/10112233445566778899aabbccddeeff001122 ", "+++ b/.git/objects/aa/odd\n"} {
		if !strings.Contains(p.Change.Text, want) {
			t.Errorf("what is no object is not shown: no %q in\n%s", want, p.Change.Text)
		}
	}
	if strings.Contains(p.Change.Text, "git file .git/objects/") {
		t.Errorf("a single object has a line of its own:\n%s", p.Change.Text)
	}
}

func TestLostCommitsAndProgramsOfGitAreHazards(t *testing.T) {
	x := newFixture(t)
	x.real("git init -q -b main; echo 1 > a; git add .; git commit -qm 1; echo 2 > a; git commit -qam 2")
	for line, want := range map[string]string{
		"git reset -q --hard HEAD~1":                          HazardGitLoses,
		"git config core.fsmonitor ./evil":                    HazardGitPrograms,
		"echo ./evil > .git/hooks/pre-commit":                 HazardGitPrograms,
		"printf garbage > .git/refs/heads/main":               HazardGitLoses,
		"cp /bin/true t; chmod u+s t":                         HazardSetID,
		"mkfifo p":                                            HazardNotLanded,
		"rm -rf .git/objects/*; git update-ref refs/x/y HEAD": "",
	} {
		_, p := x.preview(x.command(line))
		var kinds []string
		for _, h := range p.Hazards {
			kinds = append(kinds, h.Kind)
		}
		if want != "" && !strings.Contains(strings.Join(kinds, " "), want) {
			t.Errorf("%s: hazards %v, want %s", line, kinds, want)
		}
		if want == "" && len(kinds) == 0 {
			t.Errorf("%s: no hazard", line)
		}
	}
}

// TestStartupFilesAreHazards changes what an agent or a shell obeys when it starts:
// that is said of each such file, also where it goes and where a file is moved to it,
// and of no other.
func TestStartupFilesAreHazards(t *testing.T) {
	x := newFixture(t)
	x.r.cfg.Startup = expr.StartupPath
	x.real("mkdir -p .claude home src; echo '{}' > .claude/settings.json; echo a > src/a; echo x > .zshrc")
	for line, want := range map[string]string{
		"echo 1 >> src/a; echo '{\"hooks\":{}}' > .claude/settings.json": ".claude/settings.json",
		"rm .claude/settings.json":                                       ".claude/settings.json",
		"mv src/a .mcp.json":                                             ".mcp.json",
		"mkdir -p .claude/hooks; echo 1 > b":                             "",
		"ln -s ../src/a home/.bashrc":                                    "home/.bashrc",
		"chmod 600 .zshrc; echo y >> src/a":                              ".zshrc",
		"echo b > src/bashrc; echo c > c.txt":                            "",
	} {
		_, p := x.preview(x.command(line))
		var got []string
		for _, h := range p.Hazards {
			if h.Kind == HazardStartup {
				name, _, _ := strings.Cut(h.Text, " is what an agent or a shell obeys")
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	_, p := x.preview(x.command("mkdir -p .codex; for i in $(seq 100); do echo $i > .codex/$i; done"))
	if len(p.Hazards) != maxNamed {
		t.Errorf("%d hazards", len(p.Hazards))
	}
}

// TestPromise10_GitObeysNothingOfTheRepository plants settings that make git run
// a program: the guard's own look at the repository must not run it.
func TestPromise10_GitObeysNothingOfTheRepository(t *testing.T) {
	x := newFixture(t)
	x.real(`git init -q -b main; echo 1 > a; git add .; git commit -qm 1
printf '#!/bin/sh\necho ran >> /tmp/ran-%s; echo forged' "$$" > evil; chmod +x evil
git config core.fsmonitor "$PWD/evil"; git config diff.external "$PWD/evil"; git config core.pager "$PWD/evil"; git config core.hooksPath "$PWD"
echo '* diff=x filter=x' > .gitattributes; git config diff.x.textconv "$PWD/evil"; git config filter.x.clean "$PWD/evil"`)
	rec, p := x.preview(x.command("echo 2 > b; touch .git/x"))
	for _, c := range rec.Changes {
		if strings.Contains(c.Path, "ran-") {
			t.Errorf("a program of the repository ran: %s", c.Path)
		}
	}
	if strings.Contains(p.Change.Text, "forged") {
		t.Error(p.Change.Text)
	}
}

func TestAnEmptyNewFolderThatIsIgnoredIsShown(t *testing.T) {
	x := newFixture(t)
	x.real("git init -q -b main; echo node_modules/ > .gitignore; git add .; git commit -qm first")
	_, p := x.preview(x.command("mkdir -p node_modules/a"))
	if want := "new in node_modules: 0 files, 0 bytes, which the repository ignores\n"; !strings.Contains(p.Change.Text, want) {
		t.Errorf("no %q in\n%s", want, p.Change.Text)
	}
	if want := "(2 folders, +0 −0)"; !strings.HasSuffix(p.Summary, want) {
		t.Errorf("got the summary %q, want it to end in %q", p.Summary, want)
	}
}

func TestIgnoredBuildOutputsAreFolded(t *testing.T) {
	x := newFixture(t)
	x.real("git init -q -b main; echo build/ > .gitignore; echo a > a; git add .; git commit -qm 1")
	rec, p := x.preview(x.command("mkdir -p build/bin; for i in $(seq 40); do echo $i > build/o$i; done; echo x > build/bin/x; echo s > build/s; chmod +x build/s"))
	run := p.Change.Exec.Run
	if len(run.Folded) != 1 || run.Folded[0].Files != 40 || strings.Contains(p.Change.Text, "build/o1\n") || !strings.Contains(p.Change.Text, "build/bin/x") || !strings.Contains(p.Change.Text, "build/s") {
		t.Errorf("%+v %+v\n%s", run.Folded, rec.Git, p.Change.Text[:min(2000, len(p.Change.Text))])
	}
	_, p = x.preview(x.command("echo x >> .gitignore; mkdir build; echo 1 > build/o"))
	if len(p.Change.Exec.Run.Folded) > 0 {
		t.Error("folded although the rules changed")
	}
}

func TestSecondPreviewIsOfTheSameRunUntilSomethingMoves(t *testing.T) {
	x := newFixture(t)
	x.real("echo one > a")
	c := x.command("date +%N > b; cat a > c")
	first, _ := x.preview(c)
	again, _ := x.preview(c)
	if again != first {
		t.Error("it ran again")
	}
	x.real("echo other > b")
	if moved, _ := x.preview(c); moved == first || moved.Rounds != 1 {
		t.Error("it did not run again")
	}
}

// TestWhatKeepsMovingIsSaidByName changes a file each time that the command has run:
// after the last round nothing is shown, and the error says what moved.
func TestWhatKeepsMovingIsSaidByName(t *testing.T) {
	x := newFixture(t)
	x.real("echo 0 > a; echo 0 > quiet")
	c := x.command("echo x >> a; echo y >> quiet")
	for range MaxRounds + 1 {
		x.preview(c)
		x.real("echo other >> a")
	}
	_, err := x.r.Preview(t.Context(), c)
	var moving *MovingError
	if !errors.As(err, &moving) || moving.Runs != MaxRounds+1 || len(moving.Paths) != 1 || !strings.Contains(err.Error(), filepath.Join(x.ws, "a")) {
		t.Errorf("%v, %+v", err, moving)
	}
}

func TestSecretsAndTheGuardsOwnFoldersAreClosed(t *testing.T) {
	x := newFixture(t)
	x.real("echo K=1 > .env; mkdir sub; echo key > sub/id_rsa")
	c := x.command("cat .env sub/id_rsa 2>/dev/null; ls " + filepath.Dir(x.ws) + "/state; true")
	x.r.cfg.Secret = func(p string) bool { return strings.HasSuffix(p, ".env") || strings.HasSuffix(p, "id_rsa") }
	rec, _ := x.preview(c)
	if strings.Contains(rec.Text(), "K=1") || strings.Contains(rec.Text(), "key") || rec.Unchanged() || len(rec.Wanted) < 3 {
		t.Errorf("%q, wanted %v", rec.Text(), rec.Wanted)
	}
}

func TestClientsOwnProgramIsVisibleAndNothingBesideIt(t *testing.T) {
	x := newFixture(t)
	program, beside := filepath.Join(filepath.Dir(x.ws), "versions", "client"), filepath.Join(filepath.Dir(x.ws), "versions", "beside")
	x.real("mkdir ../versions; printf '#!/bin/sh\\necho found\\n' > " + program + "; chmod +x " + program + "; echo private > " + beside)
	run := func(line string, programs ...string) *Record {
		c := x.command(line)
		c.Settings.Temporary, c.Programs = []string{}, programs // the test's folder lies in /tmp
		rec, _ := x.preview(c)
		return rec
	}
	if rec := run(program); len(rec.Wanted) != 1 {
		t.Errorf("without being named it ran, with %+v and %q", rec.Wanted, rec.Text())
	}
	if rec := run(program, program); !rec.Unchanged() || rec.Text() != "found\n" {
		t.Errorf("named, it ended with %+v and %q", rec.Wanted, rec.Text())
	}
	if rec := run("cat "+beside, program); len(rec.Wanted) != 1 || rec.Text() == "private\n" {
		t.Errorf("what lies beside it: %+v and %q", rec.Wanted, rec.Text())
	}
	if rec := run("echo worse > "+program, program); rec.Unchanged() {
		t.Error("it could be written")
	}
}

// TestCachesAreKeptApartAndSilent fills a cache: that is no change, the next command
// of this workspace finds it, and neither the real folder nor another workspace or
// tenant does.
func TestCachesAreKeptApartAndSilent(t *testing.T) {
	x := newFixture(t)
	home := filepath.Join(filepath.Dir(x.ws), "home")
	x.real("mkdir -p ../home/.cache/tool; echo real > ../home/.cache/tool/here; mkdir ../home/other")
	run := func(line string, change func(*Command)) *Record {
		c := x.command(line)
		c.Home, c.Env = home, append(c.Env, "HOME="+home)
		c.Settings.Temporary, c.Settings.Scratch = []string{}, []string{"~/.cache"} // the test's folder lies in /tmp
		change(&c)
		rec, _ := x.preview(c)
		return rec
	}
	none := func(*Command) {}
	if rec := run("mkdir -p ~/.cache/build && seq 1000 > ~/.cache/build/obj && ln -s obj ~/.cache/build/l", none); !rec.Unchanged() || rec.Exit != 0 {
		t.Fatalf("exit %d, wanted %v, %v, %q", rec.Exit, rec.Wanted, rec.Changes, rec.Text())
	}
	if rec := run("wc -l < ~/.cache/build/l", none); rec.Text() != "1000\n" || !rec.Unchanged() {
		t.Errorf("the next command finds %q, wanted %v", rec.Text(), rec.Wanted)
	}
	for name, change := range map[string]func(*Command){
		"another tenant": func(c *Command) { c.Tenant = "other" },
		"another workspace": func(c *Command) {
			c.Roots, c.Folder = []string{filepath.Join(home, "other")}, filepath.Join(home, "other")
		},
	} {
		if rec := run("cat ~/.cache/build/obj 2>/dev/null | wc -l", change); rec.Text() != "0\n" {
			t.Errorf("%s finds %q", name, rec.Text())
		}
	}
	if left, err := os.ReadDir(filepath.Join(home, ".cache")); err != nil || len(left) != 1 {
		t.Errorf("the real folder holds %v, %v", left, err)
	}
}
