package config

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// exactSpec is a package with an exact version, as npx takes it.
var exactSpec = regexp.MustCompile(`^((?:@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*)@([0-9]+\.[0-9]+\.[0-9]+(?:[-+][0-9A-Za-z.+-]+)?)$`)

// DetectPackage returns the package that a server's command starts: from an
// exact specification given to a package runner, or from the package.json above
// the script. A version that could change between two starts is not known.
func DetectPackage(s *Server) (Package, bool) {
	if s.Builtin != "" || s.Command == "" {
		return Package{}, false
	}
	switch filepath.Base(s.Command) {
	case "npx", "bunx", "pnpx", "yarn", "pnpm", "npm", "bun":
		for _, a := range s.Args {
			if m := exactSpec.FindStringSubmatch(strings.TrimPrefix(a, "--package=")); m != nil {
				return Package{Name: m[1], Version: m[2]}, true
			}
			if !strings.HasPrefix(a, "-") && a != "dlx" && a != "exec" && a != "x" {
				return Package{}, false // the package itself, without an exact version
			}
		}
		return Package{}, false
	case "node", "nodejs", "deno":
		if len(s.Args) == 0 || strings.HasPrefix(s.Args[0], "-") {
			// fail closed: an option may load other code, or take the next word
			return Package{}, false
		}
		return packageAbove(s.Args[0])
	}
	path, err := exec.LookPath(s.Command)
	if err != nil {
		return Package{}, false
	}
	return packageAbove(path)
}

// packageAbove reads the nearest package.json above a script.
func packageAbove(script string) (Package, bool) {
	script = expand(script)
	if !filepath.IsAbs(script) {
		return Package{}, false // it depends on the folder of each client
	}
	real, err := filepath.EvalSymlinks(script)
	if err != nil {
		return Package{}, false
	}
	for dir := filepath.Dir(real); ; dir = filepath.Dir(dir) {
		if p, found := readPackage(filepath.Join(dir, "package.json")); found {
			return p, p.Name != "" && p.Version != ""
		}
		if dir == filepath.Dir(dir) || filepath.Base(dir) == "node_modules" {
			return Package{}, false
		}
	}
}

func readPackage(path string) (p Package, found bool) {
	f, err := os.Open(path)
	if err != nil {
		return p, false
	}
	defer f.Close()
	var doc struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil || json.Unmarshal(b, &doc) != nil {
		return p, true // there is one, and nothing can be said about it
	}
	return Package{Name: doc.Name, Version: doc.Version}, doc.Name != ""
}
