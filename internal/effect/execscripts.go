package effect

import (
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// HazardChangedScript says that a command runs files that its own run changed.
const HazardChangedScript = "changed_script"

// The bounds of what is shown of scripts: files, and bytes of one and of all.
const (
	maxScripts     = 20
	maxScriptBytes = 32 << 10
	maxScriptsText = 128 << 10
)

// implied are files that programs run or obey without being told to, by the base
// name of the program: patterns of paths relative to the folder that it runs in, or
// to one above that.
var implied = map[string][]string{
	"make": {"GNUmakefile", "makefile", "Makefile"}, "gmake": {"GNUmakefile", "makefile", "Makefile"},
	"npm": {"package.json", ".npmrc"}, "npx": {"package.json", ".npmrc"}, "pnpm": {"package.json", ".npmrc", ".pnpmfile.*"}, "yarn": {"package.json", ".yarnrc*"},
	"bun": {"package.json", "bunfig.toml"}, "node": {"package.json"}, "deno": {"deno.json", "deno.jsonc"},
	"just": {"justfile", "Justfile", ".justfile"}, "task": {"Taskfile.y*ml", "taskfile.y*ml"}, "rake": {"Rakefile", "rakefile"}, "bundle": {"Gemfile"},
	"pytest": {"conftest.py", "pytest.ini", "pyproject.toml", "setup.cfg", "tox.ini"}, "python": {"sitecustomize.py", "usercustomize.py"},
	"tox": {"tox.ini", "pyproject.toml", "setup.cfg", "setup.py"}, "nox": {"noxfile.py"}, "pip": {"setup.py", "setup.cfg", "pyproject.toml"}, "uv": {"pyproject.toml", "uv.toml"},
	"cargo": {"Cargo.toml", "build.rs", ".cargo/config*"}, "go": {"go.mod", "go.work"}, "gradle": {"*.gradle", "*.gradle.kts", "gradle.properties"}, "gradlew": {"*.gradle", "*.gradle.kts", "gradle.properties", "gradle/wrapper/*"},
	"mvn": {"pom.xml", ".mvn/*"}, "mvnw": {"pom.xml", ".mvn/*"}, "ant": {"build.xml"}, "cmake": {"CMakeLists.txt", "CMakePresets.json"},
	"composer": {"composer.json"}, "mix": {"mix.exs"}, "docker": {"Dockerfile", "compose.y*ml", "docker-compose*.y*ml"}, "podman": {"Dockerfile", "Containerfile", "compose.y*ml"},
	"docker-compose": {"compose.y*ml", "docker-compose*.y*ml"}, "terraform": {"*.tf"}, "tofu": {"*.tf", "*.tofu"}, "vagrant": {"Vagrantfile"}, "ansible-playbook": {"ansible.cfg"},
	"git": {".git/hooks/*", ".git/config", ".husky/*", ".githooks/*", ".gitattributes", ".pre-commit-config.yaml"}, "pre-commit": {".pre-commit-config.yaml"},
	"direnv": {".envrc"}, "mise": {"mise.toml", ".mise.toml"}, "gdb": {".gdbinit"},
}

// readers are programs beside runners and raisers that run the files that their
// arguments name.
var readers = []string{"ansible-playbook", "cargo", "cmake", "go", "gradle", "groovy", "java", "jest", "julia", "just", "k6", "mocha", "mvn", "mysql", "playwright", "psql", "py.test", "pytest",
	"R", "Rscript", "rake", "scala", "sed", "sqlite3", "swift", "task", "terraform", "tox", "ts-node", "tsx", "uv", "vitest"}

// known returns the name under which a program stands in the tables.
func known(program string) string {
	base := path.Base(program)
	if short := strings.TrimRight(base, "0123456789.-"); short != "" { // python3.12 counts as python
		return short
	}
	return base
}

// runsFiles reports whether a program runs the files that its arguments name.
func runsFiles(name string) bool {
	return slices.Contains(runners, name) || slices.Contains(raisers, name) || slices.Contains(readers, name) || slices.Contains(shells, name)
}

// withScripts adds to the text of a command the files that it runs and that its run
// has changed: what they hold is as much a part of it as its words. The same files
// are shown again before it runs, so that one that changed meanwhile asks anew.
func withScripts(in Input, c command, p guard.Preview) guard.Preview {
	if in.Changed == nil {
		return p
	}
	var s shellText
	if c.argv != nil {
		s = readWords(c.argv)
	} else {
		s = readShell(c.line)
	}
	changed, err := in.Changed()
	if err != nil {
		p.Hazards = append(p.Hazards, guard.Hazard{Kind: HazardChangedScript, Text: "whether it runs files that this run has changed could not be found out"})
		return p
	}
	slices.Sort(changed) // the order in which they changed is no part of what is approved
	var names []string
	left := maxScriptsText
	for _, file := range changed {
		if !runs(s, c, in.Roots, file) {
			continue
		}
		script, ok := readScript(file, min(left, maxScriptBytes))
		if !ok {
			continue
		}
		if len(names) == maxScripts {
			script.Text = "" // its sum is still approved
		}
		left -= len(script.Text)
		p.Change.Exec.Scripts = append(p.Change.Exec.Scripts, script)
		if len(names) < maxScripts {
			names = append(names, oneLine(strings.ToValidUTF8(shortened(file, in.Roots), "\ufffd")))
		}
	}
	if len(names) == 0 {
		return p
	}
	p.Change.Text += p.Change.Exec.ScriptsText()
	p.Effects[0].Diff = digest.Sum([]byte(p.Change.Text))
	p.Hazards = append(p.Hazards, guard.Hazard{Kind: HazardChangedScript, Text: "runs what this run has changed: " + named(names)})
	return p
}

// shortened returns a path relative to the workspace folder that it lies in.
func shortened(file string, roots []string) string {
	for _, root := range roots {
		if expr.Under(file, root) {
			if rel, err := filepath.Rel(root, file); err == nil {
				return rel
			}
		}
	}
	return file
}

// runs reports whether a command runs or obeys a file, as far as its text tells. In
// doubt it does: to show a file too many does no harm.
func runs(s shellText, c command, roots []string, file string) bool {
	folder := c.folder
	if !filepath.IsAbs(folder) && len(roots) > 0 {
		folder = filepath.Join(roots[0], folder)
	}
	if !s.parsed || s.opaque {
		return strings.Contains(c.line+"\x00"+strings.Join(c.argv, "\x00"), filepath.Base(file))
	}
	if s.unsure() && c.mayName(file) {
		return true
	}
	bases := []string{folder}
	for _, words := range s.commands {
		for _, w := range words {
			for _, part := range partsOf(w.text) {
				if d := at(folder, part); w.text != "" && !slices.Contains(bases, d) && len(bases) < maxShellItems && isFolder(d) {
					bases = append(bases, d) // it may change to it
				}
			}
		}
	}
	program := isProgram(file)
	for _, words := range s.commands {
		name := known(words[0].text)
		if same(words[0].text, bases, file) || impliedBy(name, bases, roots, file) {
			return true
		}
		for i, w := range words[1:] {
			// Many programs run what an option of theirs names.
			if (program || runsFiles(name)) && same(w.text, bases, file) {
				return true
			}
			if runsFiles(name) && words[i].text == "-m" && (isModule(w.text, bases, file) || impliedBy(w.text, bases, roots, file)) {
				return true
			}
		}
	}
	return slices.ContainsFunc(s.redirections, func(r guard.ExecRedirection) bool { return !r.Writes && same(r.File, bases, file) })
}

func at(base, name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(base, name)
}

// partsOf lists what of a word may name a file: --file=x, -fx, @x.
func partsOf(word string) []string {
	out := []string{word}
	if _, value, ok := strings.Cut(word, "="); ok {
		out = append(out, value)
	}
	switch {
	case strings.HasPrefix(word, "@"):
		out = append(out, word[1:])
	case len(word) > 2 && word[0] == '-' && word[1] != '-':
		out = append(out, word[2:])
	}
	return out
}

// same reports whether a word names a file, whose links are resolved.
func same(word string, bases []string, file string) bool {
	if word == "" {
		return false
	}
	for _, part := range partsOf(word) {
		for _, base := range bases {
			name := at(base, part)
			for _, n := range []string{name, name + ".js", name + ".ts", filepath.Join(name, "__main__.py"), filepath.Join(name, "index.js")} {
				if n == file {
					return true
				}
			}
			if real, err := filepath.EvalSymlinks(name); err == nil && real == file {
				return true
			}
		}
	}
	return false
}

// isModule reports whether a module of Python stands in a file.
func isModule(module string, bases []string, file string) bool {
	name := strings.ReplaceAll(module, ".", "/")
	for _, base := range bases {
		for _, n := range []string{name + ".py", name + "/__main__.py", name + "/__init__.py"} {
			if filepath.Join(base, n) == file {
				return true
			}
		}
	}
	return false
}

// impliedBy reports whether a program obeys a file without being told to.
func impliedBy(program string, bases, roots []string, file string) bool {
	for _, pattern := range implied[program] {
		steps := strings.Count(pattern, "/") + 1
		dir := file
		for range steps {
			dir = filepath.Dir(dir)
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			continue
		}
		if ok, err := path.Match(pattern, rel); err != nil || !ok {
			continue
		}
		if !slices.ContainsFunc(roots, func(r string) bool { return expr.Under(dir, r) }) {
			continue
		}
		if slices.ContainsFunc(bases, func(b string) bool { return expr.Under(b, dir) }) {
			return true
		}
	}
	return false
}

// readScript reads a file that a command runs, of which at most limit bytes are
// shown. ok is false if there is no file of that name any more.
func readScript(file string, limit int) (s guard.ExecScript, ok bool) {
	s.Path = strings.ToValidUTF8(file, "\ufffd")
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		s.Unread = true
		return s, err != unix.ENOENT && err != unix.ENOTDIR
	}
	f := os.NewFile(uintptr(fd), file)
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return s, false
	}
	const most = 8 << 20
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil || len(data) > most {
		s.Unread = true
		return s, true
	}
	s.Size, s.SHA256 = len(data), digest.Sum(data)
	if text := data[:min(len(data), limit)]; utf8.Valid(data) && !slices.Contains(text, 0) {
		s.Text = strings.ToValidUTF8(string(text), "")
	}
	return s, true
}
