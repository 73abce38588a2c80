package config

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/mcpguard/mcpguard/configs"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// Registries whose packages a preset may name.
const (
	RegistryNPM  = "npm"
	RegistryPyPI = "pypi"
	RegistryOCI  = "oci" // container images, without tag or digest
)

// PresetFor returns the preset that knows a package of a registry, whatever its
// version, or "". The name alone loosens nothing: `add` and `import` propose the
// preset, and show it.
func PresetFor(registry, name string) string {
	if name == "" {
		return ""
	}
	return presetsByPackage()[registry+":"+registryName(registry, name)]
}

// registryName returns a package name in the form that its registry compares.
func registryName(registry, name string) string {
	switch registry {
	case RegistryPyPI: // PEP 503
		return strings.ToLower(pypiSeparators.ReplaceAllString(name, "-"))
	case RegistryOCI:
		name, _, _ = strings.Cut(name, "@")
		if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
			name = name[:i]
		}
		return strings.TrimPrefix(strings.TrimPrefix(name, "docker.io/"), "library/")
	}
	return name
}

var pypiSeparators = regexp.MustCompile(`[-_.]+`)

// presetsByPackage is the index of the embedded presets by REGISTRY:NAME.
var presetsByPackage = sync.OnceValue(func() map[string]string {
	index := map[string]string{}
	for _, preset := range configs.Presets() {
		data, _ := configs.Preset(preset) // it is in the list
		root := parseYAML("presets/"+preset+".yaml", data, func(Pos, string, string) {})
		if root == nil {
			continue // invalid; a test compiles every preset
		}
		if n := root.get("package"); n != nil {
			index[RegistryNPM+":"+n.text] = preset
		}
		if n := root.get("also"); n != nil {
			for _, x := range n.items {
				registry, name, _ := strings.Cut(x.text, ":")
				index[registry+":"+registryName(registry, name)] = preset
			}
		}
	}
	return index
})

// exactSpec is a package with an exact version, as npx takes it.
var exactSpec = regexp.MustCompile(`^((?:@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*)@([0-9]+\.[0-9]+\.[0-9]+(?:[-+][0-9A-Za-z.+-]+)?)$`)

// DetectPackage returns the package that a server's command starts: from an exact
// version given to a package runner, or from the package.json above the script. A
// version that could change between two starts counts as unknown.
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
				return Package{}, false // the package without an exact version
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
	if err != nil || jsonvalue.DecodeKnown(b, &doc) != nil {
		return p, true // it exists, but says nothing usable
	}
	return Package{Name: doc.Name, Version: doc.Version}, doc.Name != ""
}
