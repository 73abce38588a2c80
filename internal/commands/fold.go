package commands

import (
	"path"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// neverFolded are names of folders below which every file is shown: what lies
// there is run by its name, by git, or by tools that look for it.
var neverFolded = []string{"bin", "sbin", "scripts", ".git", ".github", ".vscode", ".idea", ".husky", ".githooks", ".claude", ".devcontainer"}

// folded returns the paths that are shown by a line for their folder, with that
// folder: new ordinary files, not executable, that the ignore rules of the last
// commit cover. Whatever else changed is shown.
func (r *Record) folded() map[sandbox.Name]string {
	out := map[sandbox.Name]string{}
	if r.Git == nil || len(r.Git.Ignored) == 0 {
		return out
	}
	for _, c := range r.Changes {
		if c.Op != sandbox.OpAdd || c.Tree != r.Git.Tree || c.After.Type != 'f' && c.After.Type != 'd' || c.After.Type == 'f' && c.After.Mode&0o6111 != 0 {
			continue
		}
		steps := strings.Split(c.Path, "/")
		if slices.ContainsFunc(steps, func(s string) bool { return slices.Contains(neverFolded, s) }) {
			continue
		}
		for _, ignored := range r.Git.Ignored {
			rest, below := strings.CutPrefix(c.Path, strings.TrimSuffix(ignored, "/"))
			if below && (rest == "" || rest[0] == '/') {
				folder := strings.TrimSuffix(ignored, "/")
				if !strings.HasSuffix(ignored, "/") {
					folder = path.Dir(ignored)
				}
				out[sandbox.Name{Tree: c.Tree, Path: c.Path}] = folder
				break
			}
		}
	}
	return out
}

// foldedRows is a row for each folder that is folded.
func (r *Record) foldedRows(folded map[sandbox.Name]string) []guard.ExecFolded {
	rows := map[string]*guard.ExecFolded{}
	var order []string
	for _, c := range r.Changes {
		folder, ok := folded[sandbox.Name{Tree: c.Tree, Path: c.Path}]
		if !ok {
			continue
		}
		if rows[folder] == nil {
			rows[folder] = &guard.ExecFolded{Folder: valid(folder)}
			order = append(order, folder)
		}
		if c.After.Type != 'f' {
			continue // counted with what lies in it; an empty folder is shown with no files
		}
		rows[folder].Files++
		rows[folder].Bytes += c.After.Size
	}
	var out []guard.ExecFolded
	for _, folder := range order {
		out = append(out, *rows[folder])
	}
	return out
}
