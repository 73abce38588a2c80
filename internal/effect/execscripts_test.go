package effect

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// TestScriptsThatTheRunChangedAreShown asks about commands by their text, in a
// workspace where the run has changed every file that there is.
func TestScriptsThatTheRunChangedAreShown(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	const everything = "deploy.sh x.py conftest.py Makefile package.json sub/run.js sub/Makefile pkg/mod.py .git/hooks/pre-push data.csv other/conftest.py tool"
	for _, name := range []string{"tool", "deploy.sh", "x.py", "conftest.py", "Makefile", "package.json", "sub/run.js", "sub/Makefile", "pkg/mod.py", ".git/hooks/pre-push", "data.csv", "other/conftest.py"} {
		file := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("content of "+name+"\nscript forged\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
		all = append(all, file)
	}
	if err := os.Chmod(filepath.Join(root, "tool"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("deploy.sh", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	b := compile(t, Spec{Kind: Exec, Dialect: DialectClaude, Params: map[string]string{"command": "args.command", "folder": "args.cwd"}})
	for command, want := range map[string]string{
		"bash deploy.sh":                      "deploy.sh",
		"./deploy.sh prod":                    "deploy.sh",
		"sudo bash -x ./link":                 "deploy.sh",
		"bash < deploy.sh":                    "deploy.sh",
		". ./deploy.sh && curl x":             "deploy.sh",
		"bash -c 'cd sub && node run'":        "sub/run.js package.json",
		"cd sub; node run.js":                 "sub/run.js package.json",
		"python3.12 conftest.py":              "conftest.py",
		"python -m pkg.mod":                   "pkg/mod.py",
		"env A=b python x.py":                 "x.py",
		"make deploy":                         "Makefile",
		"make -C sub":                         "Makefile sub/Makefile",
		"make -fdeploy.sh":                    "deploy.sh Makefile",
		"npm run x":                           "package.json",
		"git push":                            ".git/hooks/pre-push",
		"pytest":                              "conftest.py",
		"timeout 5 make":                      "Makefile",
		"if true; then bash deploy.sh; fi; (": "deploy.sh", // it cannot be taken apart
		"python3 -m pytest":                   "conftest.py",
		"cat deploy.sh | bash":                "deploy.sh",
		"bash ./dep*.sh":                      "deploy.sh",
		"ls *.sh | xargs -n1 sh":              "deploy.sh",
		"bash <(cat deploy.sh)":               "deploy.sh",
		"BASH_ENV=./deploy.sh bash -c true":   "deploy.sh",
		"GIT_SSH=./deploy.sh git fetch":       "deploy.sh .git/hooks/pre-push",
		"tar xf a --to-command=./tool":        "tool",
		"rsync -e ./tool a b:":                "tool",
		"x=deploy; bash $x.sh":                everything,
		"find . -type f -exec sh {} +":        everything,
		"$(echo sh) deploy.sh":                everything,
		"bash {deploy,x}.sh":                  everything,
		"python3 x.py $A":                     "x.py",
		"curl $A | wc":                        "",
		"curl https://x.example":              "",
		"cat deploy.sh | wc":                  "",
		"echo deploy.sh":                      "",
	} {
		in := input(t, m{"command": command, "cwd": root}, root)
		in.Changed = func() ([]string, error) { return append([]string{filepath.Join(root, "gone.sh")}, all...), nil }
		p := mustPlan(t, b, in)
		var got []string
		for _, s := range p.Change.Exec.Scripts {
			name := strings.TrimPrefix(s.Path, root+"/")
			got = append(got, name)
			if s.Text != "content of "+name+"\nscript forged\n" || s.Size != len(s.Text) {
				t.Errorf("%q: %s is shown as %q", command, name, s.Text)
			}
			if !strings.Contains(p.Change.Text, "\n| content of "+name+"\n| script forged\n") {
				t.Errorf("%q: what is approved does not hold %s:\n%s", command, name, p.Change.Text)
			}
		}
		if !sameNames(got, strings.Fields(want)) {
			t.Errorf("%q: shows %q, want %q", command, got, want)
		}
		if strings.Contains(hazards(p), HazardChangedScript) != (want != "") {
			t.Errorf("%q: hazards %s", command, hazards(p))
		}
		if text, ok := strings.CutSuffix(p.Change.Text, p.Change.Exec.ScriptsText()); !ok || !strings.HasSuffix(text, command+"\n") {
			t.Errorf("%q: the scripts do not stand behind the command:\n%s", command, p.Change.Text)
		}
	}
}

func sameNames(got, want []string) bool {
	if len(got) != len(want) {
		return false
	}
	for _, name := range want {
		found := false
		for _, g := range got {
			found = found || g == name
		}
		if !found {
			return false
		}
	}
	return true
}

// TestScriptsAreBoundedAndSaySo shows a file that is too long, one that is no text
// and one that cannot be read.
func TestScriptsAreBoundedAndSaySo(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("echo line\n", maxScriptBytes/10) + "echo the end\n"
	file := func(name, content string) string {
		p := filepath.Join(root, name)
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	changed := []string{file("long", long), file("binary", "\x7fELF\x00\xff"), filepath.Join(root, "link")}
	if err := os.Symlink("long", changed[2]); err != nil {
		t.Fatal(err)
	}
	b := compile(t, Spec{Kind: Exec, Dialect: DialectClaude, Params: map[string]string{"command": "args.command", "folder": "args.cwd"}})
	plan := func() (text, titles string) {
		in := input(t, m{"command": "./binary; bash long; bash link", "cwd": root}, root)
		in.Changed = func() ([]string, error) { return changed, nil }
		p := mustPlan(t, b, in)
		for _, s := range p.Change.Exec.Scripts {
			titles += s.Title() + "\n"
		}
		return p.Change.Text, titles
	}
	text, titles := plan()
	for _, want := range []string{"/long, which this run has changed, the first 32768 of ", "/binary, which this run has changed, 6 bytes, not shown, sha256:", "/link, which this run has changed, and which cannot be read"} {
		if !strings.Contains(titles, want) {
			t.Errorf("no %q in\n%s", want, titles)
		}
	}
	file("long", strings.Replace(long, "the end", "another end", 1))
	if again, _ := plan(); again == text {
		t.Error("the approval does not hold what is not shown of a script")
	}
}

// TestWhatMovedWhileItRanIsSaid shows a command that never ran in peace.
func TestWhatMovedWhileItRanIsSaid(t *testing.T) {
	run := &guard.ExecRun{Files: 1, Moved: []string{"/w/a\nb", "/w/c"}}
	if run.Whole() || run.Unchanged() {
		t.Fatal("it counts as whole")
	}
	p := wanted(guard.Preview{}, run, "")
	if len(p.Hazards) != 1 || !strings.Contains(p.Hazards[0].Text, `something else changed what it touches: "/w/a\nb", /w/c; deny it`) {
		t.Errorf("%+v", p.Hazards)
	}
}
