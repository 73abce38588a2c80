package commands

import (
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// touchesGit reports whether files of a repository changed.
func touchesGit(changes []sandbox.Change) bool {
	return slices.ContainsFunc(changes, func(c sandbox.Change) bool { return inGit(c.Path) })
}

// inGit reports whether a path lies in a folder .git, or is a file of that name.
func inGit(path string) bool {
	return path == ".git" || strings.HasPrefix(path, ".git/") || strings.Contains(path, "/.git/") || strings.HasSuffix(path, "/.git")
}

// isGitSetting reports whether a change is of settings that can make git run
// programs: of a repository, of one within it, or of a folder that becomes one.
func isGitSetting(c sandbox.Change, all []sandbox.Change) bool {
	dir, name := path.Split(c.Path)
	switch {
	case inGit(c.Path) && !isGitStorage(c.Path):
		return name == "config" || name == "config.worktree" || name == "attributes" || name == "commondir" || name == "gitdir" || name == "alternates" ||
			name == ".git" && (c.After == nil || c.After.Type != 'd')
	case name == "config":
		return slices.ContainsFunc(all, func(o sandbox.Change) bool { return o.Tree == c.Tree && o.Path == dir+"HEAD" })
	}
	return false
}

// isGitStorage reports whether a path below .git is one in which git itself keeps
// commits, refs and the index. Settings, hooks and whatever else can make
// programs run are none.
func isGitStorage(p string) bool {
	_, rest, ok := strings.Cut("/"+p, "/.git/")
	if !ok || inGit(rest) { // a repository within is none of this one's
		return false
	}
	first, _, below := strings.Cut(rest, "/")
	switch first {
	case "objects":
		return rest != "objects/info/alternates" // which takes objects from elsewhere
	case "refs", "logs":
		return true
	case "index", "HEAD", "ORIG_HEAD", "FETCH_HEAD", "MERGE_HEAD", "MERGE_MSG", "MERGE_MODE", "AUTO_MERGE", "CHERRY_PICK_HEAD", "REVERT_HEAD", "COMMIT_EDITMSG", "SQUASH_MSG", "packed-refs", "gc.log":
		return !below
	}
	return false
}

// tells reports whether g says what the change of a file means, so that the file
// itself need not be shown: it keeps objects, refs or the index of the repository
// that was read. A link or a program in such a place has no meaning to git, and what
// waits for the next command of git is told by nothing but its file.
func (g *GitChange) tells(c sandbox.Change) bool {
	if g == nil || g.Unread || !isGitStorage(c.Path) || gitFolder(c) != g.Common {
		return false
	}
	for _, e := range []*sandbox.Entry{c.Before, c.After} {
		if e != nil && e.Type != 'd' && (e.Type != 'f' || e.Mode&0o6111 != 0) {
			return false
		}
	}
	_, rest, _ := strings.Cut("/"+c.Path, "/.git/")
	first, _, _ := strings.Cut(rest, "/")
	switch first {
	case "logs":
		return rest != "logs/refs/stash" // the one place of all stashes but the last
	case "objects":
		return isObjectFile(rest)
	case "refs", "index", "HEAD", "ORIG_HEAD", "packed-refs", "COMMIT_EDITMSG":
		return true
	}
	return false
}

// gitFolder is the folder .git that a change lies in, in full; empty if in none.
func gitFolder(c sandbox.Change) string {
	at, _, ok := strings.Cut("/"+c.Path, "/.git/")
	if !ok {
		return ""
	}
	return filepath.Join(c.Tree, at, ".git")
}

// others finds the repositories that were not read.
func (g *GitChange) others(changes []sandbox.Change) {
	for _, c := range changes {
		if at := gitFolder(c); isGitStorage(c.Path) && at != g.Common && !slices.Contains(g.Others, at) {
			g.Others = append(g.Others, at)
		}
	}
}
