package onboard

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// Launch is what a command line starts, as far as that is known without
// starting it and without the network.
type Launch struct {
	Kind    string // "npm package", "Python package", "container image", "Python module", "script", "program"
	Name    string
	Version string // empty where it is not known
	Source  string // where the version was found
	Args    []string
	Pinned  bool   // Args name exactly that version, here for the first time
	Fixed   bool   // what is started cannot become another version by itself
	Advice  string // what to do where it can
}

// launchEnv is what a launch is looked up in.
type launchEnv struct {
	folder string // where the client starts the server
	home   string
	lookup func(string) (string, bool)
	which  func(program string) (string, error)
	// image returns the repository digests of a container image that is on this
	// machine, or nothing.
	image func(program, image string) []string
}

func (g launchEnv) env(name, fallback string) string {
	if v, ok := g.lookup(name); ok && v != "" {
		return v
	}
	return fallback
}

// launchOf determines what command and arguments start.
func (g launchEnv) launchOf(command string, args []string) Launch {
	l := Launch{Args: args}
	switch base := filepath.Base(command); base {
	case "npx", "bunx", "pnpx":
		return g.npm(command, args, 0)
	case "npm", "pnpm", "yarn", "bun":
		if len(args) > 0 && slices.Contains([]string{"exec", "x", "dlx"}, args[0]) {
			return g.npm(command, args, 1)
		}
	case "uvx":
		return g.uv(args, 0)
	case "uv":
		if len(args) > 1 && args[0] == "tool" && args[1] == "run" {
			return g.uv(args, 2)
		}
	case "docker", "podman":
		if at := imageIndex(args); at >= 0 {
			return g.container(command, args, at)
		}
	case "node", "nodejs", "deno":
		l.Kind, l.Name, l.Fixed = "script", base, true
		if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
			l.Name = args[0]
		}
	case "sh", "bash", "zsh", "env":
		l.Kind, l.Name = "program", base
		l.Advice = "it is started by a line of shell, so what it starts is not known here"
		return l
	default:
		if pythonName.MatchString(base) {
			return g.python(command, args)
		}
	}
	if p, ok := config.DetectPackage(&config.Server{Command: command, Args: args}); ok {
		l.Kind, l.Name, l.Version, l.Source, l.Fixed = "npm package", p.Name, p.Version, "installed", true
		return l
	}
	if l.Kind == "" {
		l.Kind, l.Name, l.Fixed = "program", command, true
		if path, err := g.which(command); err != nil {
			l.Advice = "it is not found on the PATH of this shell"
		} else {
			l.Name = path
		}
	}
	return l
}

var (
	pythonName = regexp.MustCompile(`^(python|python3|python3\.[0-9]+|pypy3?)$`)
	npmSpec    = regexp.MustCompile(`^((?:@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*)(?:@([^/:\s]+))?$`)
	npmExact   = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+(?:[-+][0-9A-Za-z.+-]+)?$`)
	pySpec     = regexp.MustCompile(`^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(\[[A-Za-z0-9,._-]*\])?(?:(==|@)(\S+))?$`)
	pyExact    = regexp.MustCompile(`^[0-9]+(?:\.[0-9A-Za-z]+)*(?:[+-][0-9A-Za-z.]+)?$`)
)

const runOnce = "start it once with that command, or write the version behind its name; until then each start may bring another version"

// npm reads the command line of a package runner. from is where its options
// begin.
func (g launchEnv) npm(command string, args []string, from int) Launch {
	l := Launch{Kind: "npm package", Args: args}
	at, prefix := -1, ""
	for i := from; i < len(args) && at < 0; i++ {
		switch a := args[i]; {
		case a == "-p" || a == "--package":
			at = i + 1
		case strings.HasPrefix(a, "--package="):
			at, prefix = i, "--package="
		case a == "-c" || a == "--call":
			l.Name, l.Advice = "a line of shell", "what it starts is not known here"
			return l
		case !strings.HasPrefix(a, "-"):
			at = i
		}
	}
	if at < 0 || at >= len(args) {
		l.Name, l.Advice = filepath.Base(command), "it names no package"
		return l
	}
	spec := strings.TrimPrefix(args[at], prefix)
	m := npmSpec.FindStringSubmatch(spec)
	if m == nil {
		l.Name, l.Advice = spec, "it is no package with a version, so what it brings can change between two starts"
		return l
	}
	l.Name = m[1]
	if npmExact.MatchString(m[2]) {
		l.Version, l.Source, l.Fixed = m[2], "as written", true
		return l
	}
	if l.Version, l.Source = g.npmVersion(command, m[1], spec); l.Version == "" {
		l.Advice = runOnce
		return l
	}
	l.Args = slices.Clone(args)
	l.Args[at], l.Pinned, l.Fixed = prefix+m[1]+"@"+l.Version, true, true
	return l
}

// npmVersion finds the version that the runner would start: from the project,
// the program's own packages, or an earlier download for the same
// specification.
func (g launchEnv) npmVersion(command, name, spec string) (version, source string) {
	if name == spec {
		for dir := g.folder; ; dir = filepath.Dir(dir) {
			if v := packageVersion(filepath.Join(dir, "node_modules", name), name); v != "" {
				return v, "installed in " + dir
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	cache := g.env("npm_config_cache", g.env("NPM_CONFIG_CACHE", filepath.Join(g.home, ".npm")))
	found := map[string]bool{}
	list, _ := filepath.Glob(filepath.Join(cache, "_npx", "*", "package.json")) // only a malformed pattern is an error
	for _, path := range list {
		var doc struct {
			NPX struct {
				Packages []string `json:"packages"`
			} `json:"_npx"`
		}
		data, err := os.ReadFile(path)
		if err != nil || jsonvalue.DecodeKnown(data, &doc) != nil || !slices.Contains(doc.NPX.Packages, spec) {
			continue
		}
		if v := packageVersion(filepath.Join(filepath.Dir(path), "node_modules", name), name); v != "" {
			found[v] = true
		}
	}
	if v := only(found); v != "" {
		return v, "fetched before"
	}
	if path, err := g.which(command); err == nil && name == spec && len(found) == 0 {
		if v := packageVersion(filepath.Join(filepath.Dir(filepath.Dir(path)), "lib", "node_modules", name), name); v != "" {
			return v, "installed for all projects"
		}
	}
	return "", ""
}

// packageVersion reads the version of an installed npm package.
func packageVersion(dir, name string) string {
	var doc struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	data, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil || jsonvalue.DecodeKnown(data, &doc) != nil || doc.Name != name || !npmExact.MatchString(doc.Version) {
		return ""
	}
	return doc.Version
}

// only returns the one member of a set; nothing where there are several.
func only(set map[string]bool) string {
	if len(set) != 1 {
		return ""
	}
	for v := range set {
		return v
	}
	return ""
}

// uvValues are the options of uvx that take a word.
var uvValues = [...]string{"--with", "--with-editable", "--with-requirements", "-p", "--python", "-i", "--index", "--index-url", "--default-index",
	"--extra-index-url", "-f", "--find-links", "-P", "--upgrade-package", "--refresh-package", "--directory", "--project", "--config-file", "--cache-dir",
	"--env-file", "-w", "-c", "--constraints", "--overrides", "--link-mode", "--resolution", "--prerelease", "--keyring-provider", "--exclude-newer"}

// uv reads the command line of uvx.
func (g launchEnv) uv(args []string, from int) Launch {
	l := Launch{Kind: "Python package", Args: args}
	at, prefix, named := -1, "", false
	for i := from; i < len(args) && at < 0; i++ {
		switch a := args[i]; {
		case a == "--from":
			at, named = i+1, true
		case strings.HasPrefix(a, "--from="):
			at, prefix, named = i, "--from=", true
		case slices.Contains(uvValues[:], a):
			i++
		case !strings.HasPrefix(a, "-"):
			at = i
		}
	}
	if at < 0 || at >= len(args) {
		l.Name, l.Advice = "uvx", "it names no package"
		return l
	}
	spec := strings.TrimPrefix(args[at], prefix)
	m := pySpec.FindStringSubmatch(spec)
	if m == nil {
		l.Name, l.Advice = spec, "it is no package with a version, so what it brings can change between two starts"
		return l
	}
	l.Name = m[1]
	if pyExact.MatchString(m[4]) {
		l.Version, l.Source, l.Fixed = m[4], "as written", true
		return l
	}
	if l.Version, l.Source = g.uvVersion(m[1]); l.Version == "" {
		l.Advice = runOnce
		return l
	}
	sign := "@"
	if named {
		sign = "=="
	}
	l.Args = slices.Clone(args)
	l.Args[at], l.Pinned, l.Fixed = prefix+m[1]+m[2]+sign+l.Version, true, true
	return l
}

// uvVersion finds the version that uv has on this machine, as a tool or in its
// cache. With several, it is unknown.
func (g launchEnv) uvVersion(name string) (version, source string) {
	data := g.env("XDG_DATA_HOME", filepath.Join(g.home, ".local", "share"))
	tools := g.env("UV_TOOL_DIR", filepath.Join(data, "uv", "tools"))
	if v := distVersion(name, filepath.Join(tools, pyName(name, "-"), "lib", "python*", "site-packages")); v != "" {
		return v, "installed as a tool"
	}
	cache := g.env("UV_CACHE_DIR", filepath.Join(g.env("XDG_CACHE_HOME", filepath.Join(g.home, ".cache")), "uv"))
	if v := distVersion(name, filepath.Join(cache, "archive-v0", "*"), filepath.Join(cache, "archive-v0", "*", "lib", "python*", "site-packages")); v != "" {
		return v, "fetched before"
	}
	return "", ""
}

var pySeparators = regexp.MustCompile(`[-_.]+`)

// pyName is a package's normalised name with the given separator.
func pyName(name, separator string) string {
	return strings.ToLower(pySeparators.ReplaceAllString(name, separator))
}

// distVersion finds the one version of a Python distribution in folders given
// as patterns.
func distVersion(name string, folders ...string) string {
	found := map[string]bool{}
	for _, dir := range folders {
		list, _ := filepath.Glob(filepath.Join(dir, pyName(name, "_")+"-*.dist-info")) // only a malformed pattern is an error
		for _, path := range list {
			v := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), pyName(name, "_")+"-"), ".dist-info")
			if pyExact.MatchString(v) {
				found[v] = true
			}
		}
	}
	return only(found)
}

// python reads the command line of an interpreter.
func (g launchEnv) python(command string, args []string) Launch {
	l := Launch{Kind: "script", Name: filepath.Base(command), Args: args, Fixed: true}
	for i, a := range args {
		switch {
		case a == "-m" && i+1 < len(args):
			l.Kind, l.Name = "Python module", args[i+1]
			if filepath.IsAbs(command) { // of a virtual environment, most likely
				module, _, _ := strings.Cut(args[i+1], ".")
				l.Version = distVersion(module, filepath.Join(filepath.Dir(filepath.Dir(command)), "lib", "python*", "site-packages"))
				if l.Version != "" {
					l.Source = "installed"
				}
			}
			return l
		case a == "-c":
			l.Kind, l.Name = "program", "a line of Python"
			return l
		case !strings.HasPrefix(a, "-"):
			l.Name = a
			return l
		}
	}
	return l
}

// runFlags are the options of `docker run` that take no word; every other long
// or short one takes the next, unless it has a "=".
var runFlags = [...]string{"-d", "--detach", "-i", "--interactive", "-t", "--tty", "--init", "--privileged", "--rm", "-P", "--publish-all",
	"-q", "--quiet", "--read-only", "--no-healthcheck", "--oom-kill-disable", "--sig-proxy", "--disable-content-trust", "--help"}

var shortRunFlags = regexp.MustCompile(`^-[ditPq]+$`)

// imageIndex returns where `docker run` names its image, -1 if it does not.
func imageIndex(args []string) int {
	if len(args) < 2 || args[0] != "run" {
		return -1
	}
	for i := 1; i < len(args); i++ {
		switch a := args[i]; {
		case !strings.HasPrefix(a, "-"):
			return i
		case a == "--" && i+1 < len(args):
			return i + 1
		case slices.Contains(runFlags[:], a), shortRunFlags.MatchString(a), strings.Contains(a, "="):
		case len(a) > 2 && a[1] != '-': // a value behind a short option: -eNAME
		default:
			i++
		}
	}
	return -1
}

// container reads the image of `docker run`.
func (g launchEnv) container(command string, args []string, at int) Launch {
	image := args[at]
	name, digest, pinned := strings.Cut(image, "@")
	l := Launch{Kind: "container image", Name: name, Args: args}
	if pinned {
		l.Version, l.Source, l.Fixed = digest, "as written", true
		return l
	}
	repository := name
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		repository = name[:i]
	}
	if filepath.Base(command) != command {
		// fail closed: do not run a program of the repository to query it
		l.Advice = "the image's digest is not known: the command is not the one on the PATH"
		return l
	}
	for _, d := range g.image(command, image) {
		repo, digest, ok := strings.Cut(d, "@")
		if ok && (repo == repository || strings.HasSuffix(repo, "/"+repository)) && strings.HasPrefix(digest, "sha256:") {
			l.Version, l.Source, l.Pinned, l.Fixed = digest, "on this machine", true, true
			l.Args = slices.Clone(args)
			l.Args[at] = repository + "@" + digest
			return l
		}
	}
	l.Advice = "the image's digest is not known on this machine: pull it once, or write repository@sha256:…; until then the tag may name another image tomorrow"
	return l
}

var (
	windowsPath    = regexp.MustCompile(`^(?:[A-Za-z]:[\\/]|\\\\[^\\])`)
	windowsProgram = regexp.MustCompile(`(?i)(?:^|[\\/])(?:cmd|powershell|pwsh)(?:\.exe)?$|\.(?:exe|cmd|bat|ps1)$`)
)

// windows returns the part of a command line that only Windows understands.
func windows(command string, args []string) (word string, ok bool) {
	if windowsProgram.MatchString(command) && filepath.Base(command) != "pwsh" {
		return command, true
	}
	for _, w := range append([]string{command}, args...) {
		if windowsPath.MatchString(w) {
			return w, true
		}
	}
	return "", false
}
