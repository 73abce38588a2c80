// Package configs embeds the files that ship with the program: the presets for
// known servers, the example configuration, the JSON Schema for editors and a
// profile for AppArmor. It only hands out their bytes; internal/config reads them.
package configs

import (
	"embed"
	"io/fs"
	"path"
	"slices"
	"strings"
)

//go:embed presets/*.yaml config.example.yaml mcpguard.schema.json apparmor/mcpguard
var files embed.FS

// Preset returns a preset by its name.
func Preset(name string) ([]byte, bool) {
	if name == "" || strings.ContainsAny(name, "/\\.") {
		return nil, false
	}
	b, err := files.ReadFile("presets/" + name + ".yaml")
	return b, err == nil
}

// Presets returns the names of the presets, sorted.
func Presets() []string {
	list, err := fs.Glob(files, "presets/*.yaml")
	if err != nil {
		return nil // only a malformed pattern is an error
	}
	for i, p := range list {
		list[i] = strings.TrimSuffix(path.Base(p), ".yaml")
	}
	slices.Sort(list) // the files are sorted with what ends their names
	return list
}

// Example returns the example configuration.
func Example() []byte { return must("config.example.yaml") }

// Schema returns the JSON Schema of a configuration.
func Schema() []byte { return must("mcpguard.schema.json") }

// AppArmor returns the profile that lets the programs make user namespaces.
func AppArmor() []byte { return must("apparmor/mcpguard") }

// must returns an embedded file; the compiler has checked that it is there.
func must(name string) []byte {
	b, _ := files.ReadFile(name)
	return b
}
