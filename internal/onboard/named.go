package onboard

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/mcpguard/mcpguard/internal/hook"
)

// Named says what a client's configuration has under one name of a server.
type Named struct {
	// Servers are those of the guard that entries of the name start.
	Servers []string
	// Past says that an entry of the name starts something else, or that a
	// file that may contain one cannot be read in exactly one way.
	Past bool
}

// Lookup says where a client's configuration is: the folder that it works in,
// its environment, and the files that it was given besides (--mcp-config).
type Lookup struct {
	Folder string
	Env    func(string) (string, bool)
	Extra  []string
	// Ours reports whether an entry that names the guard really starts it: its
	// name proves nothing.
	Ours func(*Entry) bool
}

// Entries looks a server up by the client's name for it: in the scope that the
// client says, or in all of them where it says none. Extra is the scope
// "dynamic"; scopes other than that, local, project and user have no files here.
// What it finds is what stands there now, which need not be what a running
// client has read.
func (l Lookup) Entries(scope, name string) Named {
	var out Named
	unread := l.each(scope, func(e *Entry) {
		if hook.ServerWord(e.Name) != hook.ServerWord(name) {
			return
		}
		if server, ok := e.guarded(); ok && e.Problem == "" && l.Ours(e) {
			out.Servers = append(out.Servers, server)
		} else {
			out.Past = true
		}
	})
	out.Past = out.Past || unread // fail closed: clients read more loosely than the guard
	return out
}

// Names returns the client's names for a server of the guard, by the entries
// that start it.
func (l Lookup) Names(server string) (names []string) {
	l.each("", func(e *Entry) {
		if s, ok := e.guarded(); ok && s == server && l.Ours(e) {
			names = append(names, e.Name)
		}
	})
	return names
}

// each calls f for the entries of a scope, or of all scopes, that apply in the
// folder. It reports whether an existing file could not be read.
func (l Lookup) each(scope string, f func(*Entry)) (unread bool) {
	take := func(path string, want Scope) {
		var file *ClientFile
		var err error
		if strings.HasPrefix(strings.TrimSpace(path), "{") {
			file, err = parseClientFile("--mcp-config", []byte(path)) // an object in the place of a file
		} else {
			if !filepath.IsAbs(path) {
				path = filepath.Join(l.Folder, path)
			}
			file, err = readClientFile(path)
		}
		if err != nil {
			var said *FileError
			none := errors.Is(err, fs.ErrNotExist) || errors.As(err, &said) && said.noServers
			unread = unread || !none
			return
		}
		for _, e := range file.Entries {
			if want != "" && e.Scope != want || e.Scope == Local && !under(projectKeys(l.Folder), e.Project) {
				continue
			}
			f(e)
		}
	}
	if scope == "" || scope == "dynamic" {
		for _, path := range l.Extra {
			take(path, "")
		}
	}
	for _, want := range []Scope{Local, Project, User} {
		if scope != "" && Scope(scope) != want {
			continue
		}
		for _, path := range claudeFiles(l.Folder, l.Env) {
			if (filepath.Base(path) == ".mcp.json") == (want == Project) {
				take(path, want)
			}
		}
	}
	return unread
}

func under(keys []string, project string) bool {
	for _, k := range keys {
		if filepath.Clean(k) == filepath.Clean(project) {
			return true
		}
	}
	return false
}
