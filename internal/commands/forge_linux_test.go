package commands

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/guard"
)

func hazardKinds(p guard.Preview) string {
	var out []string
	for _, h := range p.Hazards {
		out = append(out, h.Kind)
	}
	return strings.Join(out, " ")
}

// TestPromise10_NothingInARepositoryForgesWhatIsSaidOfIt writes what looks like the
// guard's own separators wherever git takes it, and lets programs of the
// repository's try to answer in git's place.
func TestPromise10_NothingInARepositoryForgesWhatIsSaidOfIt(t *testing.T) {
	x := newFixture(t)
	x.real(`git init -q -b main; echo 1 > a; printf 'lost\n' > b; git add .; git commit -qm 1; echo 2 > a; git commit -qam 2`)
	forged := `$'x\001refs\001\001index\001\001commits\001\002aaaa\003forged by nobody\003forged subject\003\001ignored\001\001fsck\001\001end\001'`
	for line, want := range map[string]string{
		"git reset -q --hard HEAD~1; git commit -q --allow-empty -m " + forged:                                                                                       HazardGitLoses,
		"git reset -q --hard HEAD~1; git commit -q --allow-empty -m ok --author=" + forged + "'<a@b>'":                                                               HazardGitLoses,
		"git reset -q --hard HEAD~1; touch " + forged + "; git add .; git commit -qm ok":                                                                             HazardGitLoses,
		"old=$(git rev-parse HEAD); git reset -q --hard HEAD~1; new=$(git rev-parse HEAD); mkdir -p .git/info; echo $new $old > .git/info/grafts":                    HazardGitLoses,
		"old=$(git rev-parse HEAD); git reset -q --hard HEAD~1; git commit -q --allow-empty -m n; git replace --graft HEAD $old; git pack-refs --all":                "",
		"mkdir -p .git/modules/sub/hooks; echo ./evil > .git/modules/sub/hooks/post-checkout":                                                                        HazardGitPrograms,
		"mkdir -p .git/modules/sub; printf '[core]\\n\\tfsmonitor=./evil\\n' > .git/modules/sub/config":                                                              HazardGitPrograms,
		"mkdir -p lib; git init -q --bare lib/x; git -C lib/x config core.fsmonitor ./evil":                                                                          HazardGitPrograms,
		"mkdir w; echo 'gitdir: ../x' > w/.git":                                                                                                                      HazardGitPrograms,
		"mkdir -p .git/objects/info; echo /outside > .git/objects/info/alternates":                                                                                   HazardGitPrograms,
		"mkdir bin; printf '#!/bin/sh\\nprintf forged-by-find' > bin/find; chmod +x bin/find; PATH=$PWD/bin:$PATH; git reset -q --hard HEAD~1":                       HazardGitLoses,
		"printf '#!/bin/sh\\nprintf forged > /proc/$PPID/fd/1' > evil; chmod +x evil; git config filter.x.clean ./evil; echo '* filter=x' > .gitattributes; touch a": HazardGitPrograms,
	} {
		c := x.command(line)
		c.Env = append([]string{"LD_LIBRARY_PATH=" + x.ws + "/bin"}, c.Env...)
		c.Env = append(c.Env, "PATH="+x.ws+"/bin:/usr/local/bin:/usr/bin:/bin")
		rec, p := x.preview(c)
		said := strings.Join(p.Change.Exec.Run.Git, "\n")
		if strings.Contains(said, "forged by nobody: ") || strings.Contains(said, "forged-by-find") || rec.Git == nil || rec.Git.Unread {
			t.Errorf("%s\nforged: %s\n%+v", line, said, rec.Git)
		}
		if !strings.Contains(hazardKinds(p), want) {
			t.Errorf("%s\nhazards %q, want %s\n%s", line, hazardKinds(p), want, said)
		}
	}
}

// TestWhatRebaseWillRunIsShown: the steps of a rebase that goes on later may run
// programs, so they are shown in full.
func TestWhatRebaseWillRunIsShown(t *testing.T) {
	x := newFixture(t)
	x.real("git init -q -b main; echo 1 > a; git add .; git commit -qm 1")
	_, p := x.preview(x.command("mkdir .git/rebase-merge; echo 'exec ./evil' > .git/rebase-merge/git-rebase-todo"))
	if !strings.Contains(p.Change.Text, "+exec ./evil") {
		t.Error(p.Change.Text)
	}
}

// TestOnlyCommittedRulesFold: what is folded is what the rules of the last commit
// cover, not those of the command, of settings, or of files that nobody committed.
func TestOnlyCommittedRulesFold(t *testing.T) {
	const setup = "git init -q -b main; echo build/ > .gitignore; mkdir sub; echo '*.o' > sub/.gitignore; git add -f .; git commit -qm 1; "
	for _, c := range []struct{ before, line string }{
		{"", "mkdir evil; echo '*' > evil/.gitignore; echo bad > evil/conftest.py"},
		{"mkdir evil; echo '*' > evil/.gitignore", "echo bad > evil/conftest.py"},
		{"git config core.excludesFile .mine; echo evil/ > .mine", "mkdir evil; echo bad > evil/conftest.py"},
		{"echo evil/ > .git/info/exclude", "mkdir evil; echo bad > evil/conftest.py"},
		{"echo evil/ >> .gitignore", "mkdir evil; echo bad > evil/conftest.py"},
		{"echo evil/ >> .gitignore; git add .gitignore", "mkdir evil; echo bad > evil/conftest.py"},
		{"git update-index --assume-unchanged .gitignore; echo evil/ >> .gitignore", "mkdir evil; echo bad > evil/conftest.py"},
		{"git update-index --skip-worktree .gitignore; echo evil/ >> .gitignore", "mkdir evil; echo bad > evil/conftest.py"},
		{"", "echo '*.py' >> sub/.gitignore; mkdir sub/evil; echo bad > sub/evil/conftest.py"},
		{"", "mkdir -p build/bin; echo bad > build/bin/conftest.py; ln -s x build/l"},
		{"", "mkdir -p build; echo bad > build/conftest.py; chmod +x build/conftest.py"},
		{"mkdir build; echo 1 > build/conftest.py", "echo bad > build/conftest.py"},
	} {
		x := newFixture(t)
		x.real(setup + c.before)
		_, p := x.preview(x.command(c.line))
		if !strings.Contains(p.Change.Text, "+bad") {
			t.Errorf("%s; %s: not shown\n%s", c.before, c.line, p.Change.Text)
		}
	}
	x := newFixture(t)
	x.real(setup)
	_, p := x.preview(x.command("mkdir build; echo good > build/x; echo good > sub/x.o"))
	if strings.Contains(p.Change.Text, "+good") || len(p.Change.Exec.Run.Folded) != 2 {
		t.Errorf("not folded: %+v\n%s", p.Change.Exec.Run.Folded, p.Change.Text)
	}
}

// TestIndexIsSeenFromASubfolder: a command that starts in a folder of the work tree
// changes the index of all of it.
func TestIndexIsSeenFromASubfolder(t *testing.T) {
	x := newFixture(t)
	x.real("git init -q -b main; mkdir sub; echo 1 > a; git add .; git commit -qm 1; echo 2 > a")
	c := x.command("git add ../a")
	c.Folder = filepath.Join(x.ws, "sub")
	rec, p := x.preview(c)
	if len(rec.Git.Index) != 1 || !strings.Contains(strings.Join(p.Change.Exec.Run.Git, "\n"), "index: changes a") {
		t.Errorf("%+v", rec.Git)
	}
}

// TestPromise2_AnEditedRecordIsNotLanded edits the file of a record between two
// processes: what was approved goes by a name that the edited one has no more.
func TestPromise2_AnEditedRecordIsNotLanded(t *testing.T) {
	x := newFixture(t)
	x.real("echo one > a")
	rec, _ := x.preview(x.command("echo two > a; cp /bin/true prog"))
	file := rec.file(".json")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{`"Mode":493`: `"Mode":2541`, `"Path":"YQ=="`: `"Path":"Yg=="`, `"Folder":"/`: `"Folder":"/x/`} {
		edited := bytes.Replace(data, []byte(from), []byte(to), -1)
		if bytes.Equal(edited, data) {
			t.Fatalf("no %s in %s", from, data)
		}
		if err := os.WriteFile(file, edited, 0o600); err != nil {
			t.Fatal(err)
		}
		later, err := New(x.r.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := later.Land(context.Background(), rec.ID); err == nil {
			t.Errorf("%s: landed", to)
		}
		if err := later.Resume(rec.ID); err == nil {
			t.Errorf("%s: resumed", to)
		}
	}
	if a, _ := os.ReadFile(filepath.Join(x.ws, "a")); string(a) != "one\n" {
		t.Errorf("a is %q", a)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	later, err := New(x.r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := later.Land(context.Background(), rec.ID); err != nil {
		t.Error(err)
	}
}

// TestSecretsBehindLinksAreClosed: a name that is closed closes what it leads to.
func TestSecretsBehindLinksAreClosed(t *testing.T) {
	x := newFixture(t)
	x.real("mkdir conf; echo K=1 > conf/real; ln -s conf/real .env")
	c := x.command("cat .env conf/real; true")
	x.r.cfg.Secret = func(p string) bool { return strings.HasSuffix(p, ".env") }
	rec, _ := x.preview(c)
	if strings.Contains(rec.Text(), "K=1") || rec.Unchanged() {
		t.Errorf("%q, wanted %v", rec.Text(), rec.Wanted)
	}
}

// TestNoCredentialsAmongWhatIsShared: caches and tool chains that a command sees of
// the home folder hold no keys.
func TestNoCredentialsAmongWhatIsShared(t *testing.T) {
	home := t.TempDir()
	x := newFixture(t)
	var keys []string
	for _, name := range []string{".ssh/id_rsa", ".netrc", ".npmrc", ".gradle/gradle.properties", ".hex/hex.config", ".m2/settings.xml", ".cargo/credentials.toml",
		".local/share/uv/credentials/x", ".aws/credentials", ".config/gh/hosts.yml", ".docker/config.json", ".git-credentials", ".claude/.credentials.json", ".nuget/NuGet/NuGet.Config", ".composer/auth.json"} {
		at := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte("S3CRET"), 0o644); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, at)
	}
	c := x.command("cat " + strings.Join(keys, " ") + "; env")
	c.Home, c.Settings.Temporary = home, []string{"/var/tmp"}
	c.Env = Environment(append(os.Environ(), c.Env[0], "HOME="+home, "ANTHROPIC_API_KEY=S3CRET", "CLAUDE_CODE_X=S3CRET", "HTTPS_PROXY=http://S3CRET@x", "GITHUB_TOKEN=S3CRET", "SSH_AUTH_SOCK=/S3CRET"))
	rec, _ := x.preview(c)
	if strings.Contains(rec.Text(), "S3CRET") || len(rec.Wanted) < len(keys) {
		t.Errorf("%s\nwanted %v", rec.Text(), rec.Wanted)
	}
}

// TestRunnerLeavesNothing counts files and descriptors after runs that were
// forgotten.
func TestRunnerLeavesNothing(t *testing.T) {
	x := newFixture(t)
	x.real("git init -q -b main; echo 1 > a; git add .; git commit -qm 1")
	open := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	var before int
	for i := range 6 {
		c := x.command(fmt.Sprintf("echo %d > a; git add a", i))
		x.preview(c)
		x.r.Forget(c.Call)
		if i == 0 {
			before = open()
		}
	}
	if after := open(); after > before {
		t.Errorf("%d descriptors, before %d", after, before)
	}
	for _, dir := range []string{"running", "kept"} {
		if left, _ := os.ReadDir(filepath.Join(x.r.cfg.State, dir)); len(left) > 0 {
			t.Errorf("left in %s: %v", dir, left)
		}
	}
}

// TestWhatGitDoesNotSayOfItsFilesIsShown: a file of a repository is shown in short
// only where its meaning stands above. A link in git's place would have the next
// commit write outside, and another repository was not read.
func TestWhatGitDoesNotSayOfItsFilesIsShown(t *testing.T) {
	const setup = "git init -q -b main; echo 1 > a; git add a; git commit -qm 1; echo 2 > a; git commit -qam 2; "
	for _, c := range []struct{ before, line, shown string }{
		{"", "ln -sf /outside/bashrc .git/logs/HEAD", "/outside/bashrc"},
		{"", "ln -sf /outside/bashrc .git/COMMIT_EDITMSG", "/outside/bashrc"},
		{"", "mv .git/objects .git/o; ln -s /outside/objects .git/objects", "/outside/objects"},
		{"", "ln -s /outside/main .git/refs/heads/x; git reset -q --hard HEAD~1", "/outside/main"},
		{"", "printf '#!/bin/sh\\nevil\\n' > .git/objects/x; chmod +x .git/objects/x", "+evil"},
		{"", "git rev-parse HEAD > .git/MERGE_HEAD; echo body of the merge > .git/MERGE_MSG", "+body of the merge"},
		{"git init -q -b main sub; git -C sub commit -q --allow-empty -m 3; git -C sub commit -q --allow-empty -m 4; ",
			"git -C sub reset -q --hard HEAD~1", HazardGitUnread},
		{"git init -q -b main sub; git -C sub commit -q --allow-empty -m 3; git -C sub commit -q --allow-empty -m 4; ",
			"git -C sub reset -q --hard HEAD~1; git reset -q --hard HEAD~1", HazardGitUnread},
		{"", "mkdir -p .git/refs/x/.git/y; echo evil > .git/refs/x/.git/y/z", "+evil"},
		{"git stash list; echo 3 > a; git stash -q; echo 4 > a; git stash -q; ", "git stash drop -q stash@{1}", "WIP on main"},
	} {
		x := newFixture(t)
		x.real(setup + c.before)
		_, p := x.preview(x.command(c.line))
		_, text, _ := strings.Cut(p.Change.Text, "exit code 0\n")
		if !strings.Contains(text+hazardKinds(p), c.shown) {
			t.Errorf("%s; %s: no %q in\n%s\nhazards %s", c.before, c.line, c.shown, p.Change.Text, hazardKinds(p))
		}
	}
}
