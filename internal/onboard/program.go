package onboard

import (
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/upstream"
)

// runners start another program, so their own file does not identify what
// runs.
var runners = []string{"npx", "bunx", "pnpx", "npm", "pnpm", "yarn", "bun", "uvx", "uv", "pipx", "docker", "podman", "env", "sudo"}

// interpreters run the file that their first argument names.
var interpreters = []string{"node", "nodejs", "deno", "sh", "bash", "zsh", "ruby", "perl"}

// ProgramOf describes what would be started, without starting it and without
// what only the server itself can tell.
func ProgramOf(s *config.Server, spec upstream.Spec) config.Program {
	var out config.Program
	if s.Builtin != "" {
		return out // it is part of this program
	}
	if pkg, ok := config.DetectPackage(s); ok {
		out.Package, out.Version = pkg.Name, pkg.Version
	}
	base := filepath.Base(s.Command)
	path := ""
	switch {
	case slices.Contains(runners, base):
		return out
	case slices.Contains(interpreters, base), pythonName.MatchString(base):
		if len(s.Args) == 0 || strings.HasPrefix(s.Args[0], "-") {
			return out // an option, a module or a line of code
		}
		if path = s.Args[0]; !filepath.IsAbs(path) {
			path = filepath.Join(spec.Dir, path)
		}
	default:
		found, err := spec.Path()
		if err != nil {
			return out
		}
		path = found
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return out
	}
	f, err := os.Open(real)
	if err != nil {
		return out
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return out
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return out
	}
	out.Path = real
	copy(out.SHA256[:], sum.Sum(nil))
	return out
}

// Reported is the name and version that a server says of itself, as one word.
func Reported(name, version string) string { return strings.TrimSpace(name + " " + version) }
