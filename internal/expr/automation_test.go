package expr

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// untested says why no test here runs the program of a row.
const (
	service   = "it runs on a service's machines, which no test reaches"
	model     = "it hands the file to a model; whether that obeys is not for a test"
	graphical = "it needs a display, or a person who opens a folder in it"
	absent    = "it is not part of the systems on which this project is tested"
)

// noTelemetry keeps the go command from a process in the background that writes
// below HOME while the test takes the folder away.
var noTelemetry = map[string]string{".config/go/telemetry/mode": "off"}

// evidence records, for each row of the table, how its program was observed to run
// or read the file, or why that was not tested.
var evidence = map[string]struct {
	why   string // why it cannot be tested; else there are runs
	tries []try
	where string // a test elsewhere
}{
	"GitHub Actions, Copilot and Dependabot": {why: service},
	"GitLab CI":                              {why: service},
	"CircleCI":                               {why: service},
	"Jenkins":                                {why: service},
	"Azure Pipelines":                        {why: service},
	"Bitbucket Pipelines":                    {why: service},
	"Travis CI":                              {why: service},
	"Buildkite":                              {why: service},
	"TeamCity":                               {why: service},
	"Drone":                                  {why: service},
	"Woodpecker":                             {why: service},
	"AppVeyor":                               {why: service},
	"Semaphore":                              {why: service},
	"Cirrus CI":                              {why: service},
	"Gitea and Forgejo Actions":              {why: service},
	"AWS CodeBuild":                          {why: service},
	"Google Cloud Build":                     {why: service},
	"Read the Docs, SourceHut, Bitrise, Codemagic, Tekton, Amplify, Render, Heroku, Railway, Fly": {why: service},
	"Netlify and Vercel": {why: service},

	"Claude Code":                {where: "e2e/claude: TestInstructionsAreRead"},
	"agents that read AGENTS.md": {why: model},
	"Codex":                      {why: model},
	"Gemini CLI":                 {why: model},
	"Cursor":                     {why: model},
	"Windsurf":                   {why: model},
	"Cline, Roo and Kilo Code":   {why: model},
	"Continue":                   {why: model},
	"Aider":                      {why: model},
	"OpenCode":                   {why: model},
	"Goose":                      {why: model},
	"Junie, Kiro, Amazon Q, Augment, Trae, Warp, Qwen Code, Crush, Factory, Copilot CLI": {why: model},

	"Visual Studio Code":                      {why: graphical},
	"Gitpod, Replit, Devbox, devenv, Devfile": {why: service},
	"development containers":                  {why: graphical},
	"JetBrains editors":                       {why: graphical},
	"Zed":                                     {why: graphical},
	"Vim and Neovim":                          {tries: []try{{file: ".vimrc", text: "silent !touch \"$SEEN\"\n", run: "vim -c qa </dev/null >/dev/null 2>&1", needs: "vim"}}},
	"Emacs":                                   {why: absent},
	"Helix and Sublime Text":                  {why: graphical},

	"git": {tries: []try{
		{file: ".githooks/pre-commit", text: "#!/bin/sh\ntouch \"$SEEN\"\n", run: "git init -q . && git config core.hooksPath .githooks && git -c user.name=x -c user.email=x@example.com commit -q --allow-empty -m x", needs: "git"},
		{file: ".gitattributes", text: "*.txt filter=see\n", run: "git init -q . && git config filter.see.clean 'touch \"$SEEN\"; cat' && echo x > a.txt && git add a.txt", needs: "git"},
		{file: ".gitconfig", text: "[alias]\nhello = \"!touch \\\"$SEEN\\\"\"\n", run: "git hello", needs: "git"},
		{file: ".gitmodules", text: "[submodule \"a\"]\npath = a\nurl = seen\n", run: "git init -q . && git config -f .gitmodules submodule.a.url | grep -q seen && git submodule status && touch \"$SEEN\"", needs: "git"},
	}},
	"Mercurial":                        {why: absent},
	"husky and lint-staged":            {why: absent},
	"pre-commit, lefthook, overcommit": {why: absent},

	"bash and sh": {tries: []try{
		{file: ".bashrc", text: "touch \"$SEEN\"\n", run: "bash -i -c : </dev/null", needs: "bash"},
		{file: ".bash_profile", text: "touch \"$SEEN\"\n", run: "bash -l -c :", needs: "bash"},
		{file: ".bash_login", text: "touch \"$SEEN\"\n", run: "bash -l -c :", needs: "bash"},
		{file: ".profile", text: "touch \"$SEEN\"\n", run: "bash -l -c :", needs: "bash"},
		{file: ".bash_logout", text: "touch \"$SEEN\"\n", run: "bash -l -c exit </dev/null; bash -l </dev/null", needs: "bash"},
	}},
	"PowerShell":                       {why: absent},
	"zsh":                              {tries: []try{{file: ".zshenv", text: "touch \"$SEEN\"\n", run: "zsh -c :", needs: "zsh"}}},
	"fish, ksh, csh":                   {why: absent},
	"direnv":                           {why: absent},
	"mise and asdf":                    {why: absent},
	"tmux, screen and terminals":       {tries: []try{{file: ".tmux.conf", text: "run-shell 'touch \"$SEEN\"'\n", run: "tmux -S ./s new-session -d true; tmux -S ./s kill-server; test -e \"$SEEN\"", needs: "tmux"}}},
	"the desktop and the system":       {why: graphical},
	"curl, wget, less, mailcap, GnuPG": {tries: []try{{file: ".curlrc", text: "output = \"seen\"\n", run: "echo x > a && curl -s \"file://$PWD/a\" && test -e seen && touch \"$SEEN\"", needs: "curl"}}},
	"ssh":                              {tries: []try{{file: ".ssh/config", text: "Host x\nProxyCommand touch \"${SEEN}\"\n", run: "ssh -F .ssh/config -o BatchMode=yes x; test -e \"$SEEN\"", needs: "ssh"}}},
	"debuggers and prompts":            {why: absent},

	"make": {tries: []try{
		{file: "Makefile", text: "$(shell touch \"$$SEEN\")\nall:\n", run: "make", needs: "make"},
		{file: "GNUmakefile", text: "$(shell touch \"$$SEEN\")\nall:\n", run: "make", needs: "make"},
	}},
	"npm, yarn, pnpm and bun": {tries: []try{
		{file: "package.json", text: `{"name": "x", "version": "1.0.0", "scripts": {"preinstall": "touch \"$SEEN\""}}`, run: "npm install --offline --no-audit --no-fund", needs: "npm"},
		{file: ".npmrc", text: "script-shell=./sh.sh\n", more: map[string]string{
			"sh.sh": "#!/bin/sh\ntouch \"$SEEN\"\n", "package.json": `{"name": "x", "version": "1.0.0", "scripts": {"test": "true"}}`,
		}, run: "npm test", needs: "npm"},
	}},
	"tools of Node": {why: "each is a package of its own, installed with the project that uses it"},
	"Python": {tries: []try{
		{file: "sitecustomize.py", text: "import os; open(os.environ['SEEN'], 'w')\n", run: "PYTHONPATH=. python3 -c pass", needs: "python3"},
		{file: "usercustomize.py", text: "import os; open(os.environ['SEEN'], 'w')\n", run: "PYTHONPATH=. python3 -c pass", needs: "python3"},
		{file: "a.pth", text: "import os; open(os.environ['SEEN'], 'w')\n", run: "python3 -c \"import site; site.addsitedir('.')\"", needs: "python3"},
	}},
	"linters and tests that load code which their settings name": {why: absent},
	"builds and tests of Python": {tries: []try{
		{file: "conftest.py", text: "import os; open(os.environ['SEEN'], 'w')\n", run: "python3 -m pytest -q -p no:cacheprovider; test -e \"$SEEN\"", needs: "pytest"},
		{file: "setup.py", text: "import os; open(os.environ['SEEN'], 'w')\n", run: "python3 setup.py --name", needs: "python3"},
	}},
	"cargo": {tries: []try{
		{file: "build.rs", text: "fn main() { std::fs::write(std::env::var(\"SEEN\").unwrap(), \"\").unwrap(); }\n", more: map[string]string{
			"Cargo.toml": "[package]\nname = \"x\"\nversion = \"0.1.0\"\nedition = \"2021\"\n", "src/lib.rs": "",
		}, run: "cargo check --offline -q", needs: "cargo"},
		{file: ".cargo/config.toml", text: "[alias]\nhello = \"version\"\n", run: "cargo hello && touch \"$SEEN\"", needs: "cargo"},
	}},
	"go":                                    {tries: []try{{file: "go.mod", text: "module seen\n\ngo 1.21\n", more: noTelemetry, run: "XDG_CONFIG_HOME=/nonexistent GOFLAGS=-mod=mod GOPROXY=off go list -m | grep -q seen && touch \"$SEEN\"", needs: "go"}}},
	"Gradle, Maven, Ant, sbt":               {why: absent},
	"CMake, Meson, autotools, Ninja, SCons": {tries: []try{{file: "CMakeLists.txt", text: "execute_process(COMMAND touch $ENV{SEEN})\n", run: "cmake -B out . ; test -e \"$SEEN\"", needs: "cmake"}}},
	"Bazel and Buck":                        {why: absent},
	"MSBuild":                               {why: absent},
	"just, Task, Rake, Bundler":             {why: absent},
	"Composer, Mix, Swift, Zig, Nix, Haskell, OCaml, Clojure, Erlang": {why: absent},
	"Xcode":             {why: absent},
	"Docker and Podman": {why: "it needs a daemon with rights that a test has not"},
	"Vagrant, Tilt, Skaffold, Procfile, Terraform, Ansible": {why: absent},
	"build scripts by custom":                               {why: "by custom people and pipelines start them under these names; no program looks for them"},
}

// try is one run of a program in an empty folder, which is also its home, with one
// file of the table. The file creates $SEEN when it is run or read.
type try struct {
	file, text string
	more       map[string]string // other files
	run        string            // for a shell
	needs      string            // a program; without it the test is left out
}

// TestAutomationsRun: each row of the table has a source, and its program is
// observed to run or read its files, or there is a reason why that is not tested.
func TestAutomationsRun(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range Automations() {
		e, ok := evidence[row.By]
		if !ok || (e.why == "") == (len(e.tries) == 0 && e.where == "") {
			t.Errorf("%s: there is neither a test of it nor a reason", row.By)
		}
		if seen[row.By] || !strings.HasPrefix(row.Source, "https://") || len(row.Names) == 0 {
			t.Errorf("%+v", row)
		}
		seen[row.By] = true
		for _, try := range e.tries {
			t.Run(row.By+"/"+try.file, func(t *testing.T) { try.sees(t, row) })
		}
	}
	for by := range evidence {
		if !seen[by] {
			t.Errorf("%s is not in the table", by)
		}
	}
}

func (x try) sees(t *testing.T, row Automation) {
	if !AutomationPath(x.file) {
		t.Errorf("%s is not in the table", x.file)
	}
	if x.needs == "pytest" {
		if exec.Command("python3", "-c", "import pytest").Run() != nil {
			t.Skip("pytest is not installed")
		}
	} else if _, err := exec.LookPath(x.needs); err != nil {
		t.Skip(x.needs + " is not installed")
	}
	run := func(with bool) bool {
		dir := t.TempDir()
		write := func(name, text string) {
			name = filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for name, text := range x.more {
			write(name, text)
		}
		if with {
			write(x.file, x.text)
		}
		mark := filepath.Join(t.TempDir(), "seen")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", x.run)
		cmd.Dir, cmd.WaitDelay = dir, time.Second
		// What the programs themselves need of the real home is named to them.
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "SEEN=" + mark, "TERM=dumb", "GIT_CONFIG_NOSYSTEM=1"}
		for _, name := range []string{"CARGO_HOME", "RUSTUP_HOME", "PYENV_ROOT", "GOROOT"} {
			if v, ok := os.LookupEnv(name); ok {
				cmd.Env = append(cmd.Env, name+"="+v)
			}
		}
		if real, err := os.UserHomeDir(); err == nil {
			for name, sub := range map[string]string{"RUSTUP_HOME": ".rustup", "PYENV_ROOT": ".pyenv"} {
				if _, err := os.Stat(filepath.Join(real, sub)); err == nil && os.Getenv(name) == "" {
					cmd.Env = append(cmd.Env, name+"="+filepath.Join(real, sub))
				}
			}
		}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		_, missing := os.Stat(mark)
		if with && missing != nil {
			t.Errorf("%s does not run or read %s: %v\n%s", row.By, x.file, err, out.String())
		}
		return missing == nil
	}
	if run(true) && run(false) {
		t.Errorf("%s leaves the mark without %s too", row.By, x.file)
	}
}

// TestAutomationPaths: names match in any case and at any depth, and similar names
// do not match.
func TestAutomationPaths(t *testing.T) {
	for _, row := range Automations() {
		for _, name := range row.Names {
			if name != strings.ToLower(name) {
				t.Errorf("%s is not in lower case", name)
			}
			p := strings.ReplaceAll(name, "*", "x")
			if strings.HasSuffix(p, "/") {
				p += "some/file"
			}
			for _, q := range []string{p, "sub/" + p, "/abs/sub/" + p, strings.ToUpper(p), "a/../" + p, "./" + p} {
				if !AutomationPath(q) {
					t.Errorf("%s: %s is not found", row.By, q)
				}
			}
			if _, err := path.Match(name, "x"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for p, want := range map[string]bool{
		"CLAUDE.md": true, "AGENTS.md": true, ".cursorrules": true, "package.json": true, "Makefile": true, "Dockerfile": true, ".envrc": true, ".npmrc": true,
		".venv/bin/activate": true, "node_modules/.bin/tsc": true, "conftest.py": true, "sitecustomize.py": true, ".githooks/pre-commit": true, ".codex/config.toml": true, ".zed/tasks.json": true, ".bashrc": true, ".vimrc": true,
		"a/b/Dockerfile.dev": true, "x/.git\u212aubernetes": false, ".gith\u0075b/x": true, "ma\u212aefile": true, "\u017fetup.py": true,
		"src/main.go": false, "README.md": false, "docs/claude.html": false, "package.go": false, "makefiles.md": false, "builder/x.go": false, "github/x": false,
		"src/config.js": false, "lib/environment.py": false, "": false, ".": false, "..": false,
	} {
		if got := AutomationPath(p); got != want {
			t.Errorf("%q: %v", p, got)
		}
	}
}

// TestStartupPaths: what an agent or a shell obeys when it starts is told from what a
// build or an editor does, and all of it is an automation path.
func TestStartupPaths(t *testing.T) {
	for p, want := range map[string]bool{
		".claude/settings.json": true, ".Claude/settings.local.json": true, "sub/.mcp.json": true, "CLAUDE.md": true, ".bashrc": true, "home/.zshenv": true,
		".config/fish/config.fish": true, ".codex/config.toml": true, ".ssh/config": true,
		"package.json": false, "Makefile": false, ".github/workflows/a.yml": false, ".vscode/tasks.json": false, "bashrc": false, "claude.txt": false,
	} {
		if got := StartupPath(p); got != want || want && !AutomationPath(p) {
			t.Errorf("%s: %v, want %v, an automation path %v", p, got, want, AutomationPath(p))
		}
	}
	for _, row := range startups {
		for _, name := range row.Names {
			if p := strings.TrimSuffix(strings.ReplaceAll(name, "*", "x"), "/") + "/f"; strings.HasSuffix(name, "/") && !AutomationPath(p) {
				t.Errorf("%s: %s", row.By, p)
			}
		}
	}
}
