package onboard

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/ipc"
)

// RemoveRequest selects the server to remove.
type RemoveRequest struct {
	Name   string
	Paths  ipc.Paths
	Folder string // where the person is, for the client's entries
	Lookup func(name string) (string, bool)
	Dry    bool // write nothing
}

// Removal is what is removed with a server, and what remains to be done by
// hand.
type Removal struct {
	Before, After []byte   // of the configuration
	Tools         []string // whose accepted definitions are dropped
	Env           []string // names whose recorded values are dropped
	SecretFiles   []string // that the guard wrote for it; they stay
	Clients       []ClientEntry
}

// ClientEntry is an entry of Claude Code that starts a server through the guard.
type ClientEntry struct {
	Name    string
	Scope   Scope
	Path    string // of the file
	Project string // folder of an entry in the local scope
}

// Remove removes a server from the guard's files: from the configuration
// first, because a running daemon acts on it. The client's files do not
// change. If there is no such server, the error is a *config.Error with its
// position.
func Remove(ctx context.Context, r RemoveRequest) (*Removal, error) {
	if !r.Dry {
		release, err := r.Paths.LockConfig(ctx)
		if err != nil {
			return nil, err
		}
		defer release()
	}
	e, err := config.OpenEditor(r.Paths.ConfigFile())
	if err != nil {
		return nil, err
	}
	lock, err := config.LoadLock(r.Paths.ToolsLock())
	if err != nil {
		return nil, err
	}
	recorded, err := config.LoadEnvironment(r.Paths.EnvironmentFile())
	if err != nil {
		return nil, err
	}
	out := &Removal{Before: e.Bytes(), Env: recorded.Names(r.Name), Clients: clientEntries(r)}
	out.SecretFiles = secretFiles(r.Paths, r.Name, out.Before)
	if err := e.RemoveServer(r.Name); err != nil {
		return nil, err
	}
	out.After = e.Bytes()
	for _, pin := range lock.Pins() {
		if pin.Server == r.Name {
			out.Tools = append(out.Tools, pin.Tool)
		}
	}
	if r.Dry {
		_, err := config.Parse(r.Paths.ConfigFile(), out.After)
		return out, err
	}
	if err := e.Save(); err != nil {
		return nil, err
	}
	if len(out.Tools) > 0 {
		lock.Remove(r.Name, "")
		if err := lock.Save(r.Paths.ToolsLock()); err != nil {
			return nil, err
		}
	}
	if recorded.Remove(r.Name) {
		if err := recorded.Save(r.Paths.EnvironmentFile()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// secretFiles returns the files below the guard's state folder that hold a
// secret of the server.
func secretFiles(p ipc.Paths, server string, configuration []byte) (list []string) {
	c, err := config.Parse(p.ConfigFile(), configuration)
	if err != nil || c.Servers[server] == nil {
		return nil // it is only mentioned to the person
	}
	own := filepath.Join(p.State, "secrets") + string(filepath.Separator)
	for _, ref := range c.Servers[server].Secrets {
		if ref.Scheme == "file" && strings.HasPrefix(ref.Value, own) {
			if _, err := os.Stat(ref.Value); err == nil {
				list = append(list, ref.Value)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// clientEntries returns what Claude Code would still start through the guard,
// seen from the person's folder.
func clientEntries(r RemoveRequest) (found []ClientEntry) {
	seen := map[ClientEntry]bool{}
	for _, path := range claudeFiles(r.Folder, r.Lookup) {
		f, err := readClientFile(path)
		if err != nil {
			continue // what Claude Code cannot read either, or is not there
		}
		for _, e := range f.Entries {
			if server, ok := e.guarded(); ok && server == r.Name {
				seen[ClientEntry{Name: e.Name, Scope: e.Scope, Path: e.File.Path, Project: e.Project}] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b ClientEntry) int {
		return strings.Compare(a.Path+a.Project+a.Name, b.Path+b.Project+b.Name)
	})
}
