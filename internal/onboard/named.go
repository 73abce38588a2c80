package onboard

import (
	"path/filepath"
	"strings"

	"github.com/mcpguard/mcpguard/internal/hook"
)

// Named says what a client's configuration has under one name of a server.
type Named struct {
	// Servers are those of the guard that entries of the name start.
	Servers []string
	// Past says that an entry of the name starts something else.
	Past bool
}

// Entries looks a server up by the client's name for it, for a client that works
// in folder: in the scope that the client says, or in all of them where it says
// none. extra are files that the client was given besides, which are the scope
// "dynamic". Scopes other than that, local, project and user have no files here. What it finds is what stands there now, which need not
// be what a running client has read.
func Entries(folder string, lookup func(string) (string, bool), extra []string, scope, name string) Named {
	var out Named
	take := func(path string, want Scope) {
		f, err := readClientFile(path)
		if err != nil {
			return // what the client cannot read either, or is not there
		}
		for _, e := range f.Entries {
			if hook.ServerWord(e.Name) != hook.ServerWord(name) || want != "" && e.Scope != want {
				continue
			}
			if e.Scope == Local && !under(projectKeys(folder), e.Project) {
				continue
			}
			if server, ok := e.guarded(); ok && e.Problem == "" {
				out.Servers = append(out.Servers, server)
			} else {
				out.Past = true
			}
		}
	}
	if scope == "" || scope == "dynamic" {
		for _, path := range extra {
			if strings.HasPrefix(strings.TrimSpace(path), "{") {
				continue // an object in the place of a file
			}
			if !filepath.IsAbs(path) {
				path = filepath.Join(folder, path)
			}
			take(path, "")
		}
	}
	for _, want := range []Scope{Local, Project, User} {
		if scope != "" && Scope(scope) != want {
			continue
		}
		for _, path := range claudeFiles(folder, lookup) {
			if (filepath.Base(path) == ".mcp.json") == (want == Project) {
				take(path, want)
			}
		}
	}
	return out
}

func under(keys []string, project string) bool {
	for _, k := range keys {
		if filepath.Clean(k) == filepath.Clean(project) {
			return true
		}
	}
	return false
}
