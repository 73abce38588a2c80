package commands

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// GitChange is what a command made of a repository, by its meaning. It is read
// by git inside of the sandbox, with every setting of the repository that could
// run a program switched off.
type GitChange struct {
	Tree    string // the workspace folder that the repository lies in
	Refs    []RefChange
	Commits []Commit // new ones that a changed ref leads to, the newest first
	Index   []IndexRow
	// IndexPath is the file that holds the index, as a path of Tree.
	IndexPath string `json:",omitempty"`
	// Unread is set where git did not answer: nothing is known but the files.
	Unread bool `json:",omitempty"`
	// Config and Hooks are set where settings or hooks changed, which make
	// programs run later.
	Config bool `json:",omitempty"`
	Hooks  bool `json:",omitempty"`
	// Ignored are new paths that the ignore rules of the last commit cover, as
	// paths of the tree; a folder's ends in "/". RulesChanged is set where the rules
	// are not those of the last commit.
	Ignored      []string `json:",omitempty"`
	RulesChanged bool     `json:",omitempty"`
	// Damaged is what git's own check says of the repository; empty where it is
	// whole, or no ref moved.
	Damaged string `json:",omitempty"`
}

// reversed is the change that takes g back.
func (g *GitChange) reversed() *GitChange {
	if g == nil {
		return nil
	}
	out := &GitChange{Tree: g.Tree, IndexPath: g.IndexPath, Unread: g.Unread, Config: g.Config, Hooks: g.Hooks}
	for _, r := range g.Refs {
		// What it loses are the commits that the command made.
		out.Refs = append(out.Refs, RefChange{Name: r.Name, Before: r.After, After: r.Before})
	}
	for _, row := range g.Index {
		out.Index = append(out.Index, IndexRow{Path: row.Path, Before: row.After, After: row.Before})
	}
	return out
}

// RefChange is a ref before and after; an empty hash means that it is not there.
type RefChange struct {
	Name          string
	Before, After string
	// Loses is set where commits that the ref led to are not reached by it any more.
	Loses bool `json:",omitempty"`
}

// Commit is one new commit.
type Commit struct {
	Hash, Author, Subject string
	Files                 int
	Added, Removed        int
}

// IndexRow is an entry of the index that differs.
type IndexRow struct {
	Path          string
	Before, After string // mode and hash; empty where there is none
}

// touchesGit reports whether files of a repository changed.
func touchesGit(changes []sandbox.Change) bool {
	return slices.ContainsFunc(changes, func(c sandbox.Change) bool { return inGit(c.Path) })
}

// inGit reports whether a path lies in a folder .git, or is a file of that name.
func inGit(path string) bool {
	return path == ".git" || strings.HasPrefix(path, ".git/") || strings.Contains(path, "/.git/") || strings.HasSuffix(path, "/.git")
}

// isGitStorage reports whether a path below .git is one in which git itself keeps
// commits, refs and the index. Settings, hooks and whatever else can make
// programs run are none.
func isGitStorage(p string) bool {
	_, rest, ok := strings.Cut("/"+p, "/.git/")
	if !ok {
		return false
	}
	first, _, below := strings.Cut(rest, "/")
	switch first {
	case "objects":
		return rest != "objects/info/alternates" // which takes objects from elsewhere
	case "refs", "logs", "rr-cache", "rebase-merge", "rebase-apply", "sequencer":
		return true
	case "index", "HEAD", "ORIG_HEAD", "FETCH_HEAD", "MERGE_HEAD", "MERGE_MSG", "MERGE_MODE", "AUTO_MERGE", "CHERRY_PICK_HEAD", "REVERT_HEAD", "COMMIT_EDITMSG", "SQUASH_MSG", "packed-refs", "gc.log":
		return !below
	}
	return false
}

// safeGit is git with everything switched off that could start a program that
// the repository names.
const safeGit = `g() { command -p git -c core.fsmonitor=false -c core.hooksPath=/dev/null -c core.pager=cat -c diff.external= -c core.attributesFile=/dev/null -c log.showSignature=false -c gc.auto=0 -c maintenance.auto=false -c core.untrackedCache=false -c safe.directory='*' --no-optional-locks --no-pager "$@"; }
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0 GIT_OPTIONAL_LOCKS=0 GIT_NO_LAZY_FETCH=1
`

// gitProbe is the command that reads a repository: its refs, the index, and
// the commits that the refs lead to. Its parts are separated by lines that no
// answer of git contains.
func gitProbe(folder string) []string {
	return []string{"/bin/sh", "-c", safeGit + `cd "$1" 2>/dev/null || exit 3
g rev-parse --git-dir >/dev/null 2>&1 || exit 3
printf '\001refs\001'; g symbolic-ref -q HEAD; g for-each-ref --format='%(objectname) %(refname)'; printf '%s HEAD\n' "$(g rev-parse -q --verify HEAD)"
printf '\001index\001'; g ls-files -s -v -z
printf '\001commits\001'; g log --all --max-count=500 --no-show-signature --no-ext-diff --no-textconv --numstat -z --format='%x02%H%x03%an <%ae>%x03%s%x03'
printf '\001ignored\001'; g rev-parse --show-prefix --show-toplevel; printf '\000'; g status --porcelain=v1 -z --ignored=matching --untracked-files=normal
printf '\001fsck\001'; c="$(g rev-parse --git-common-dir)"; if [ -n "$(find "$c" \( -path '*/refs/*' -o -name packed-refs -o -name HEAD \) -newer /run 2>/dev/null)" ]; then g fsck --connectivity-only --no-dangling --no-progress 2>&1 || printf 'git fsck ends with %s' "$?"; fi
printf '\001end\001'`, "probe", folder}
}

// headTarget is, among refs, the branch that is checked out.
const headTarget = "HEAD →"

type gitState struct {
	refs    map[string]string
	index   map[string]string
	commits []Commit
	top     string // folder of the work tree
	status  []string
	fsck    string
}

func parseGit(out []byte) (gitState, bool) {
	s := gitState{refs: map[string]string{}, index: map[string]string{}}
	parts := map[string][]byte{}
	for rest := out; ; {
		i := bytes.IndexByte(rest, 1)
		if i < 0 {
			break
		}
		j := bytes.IndexByte(rest[i+1:], 1)
		if j < 0 {
			break
		}
		name := string(rest[i+1 : i+1+j])
		rest = rest[i+2+j:]
		end := bytes.IndexByte(rest, 1)
		if end < 0 {
			end = len(rest)
		}
		parts[name] = rest[:end]
		rest = rest[end:]
	}
	if _, whole := parts["end"]; !whole {
		return s, false
	}
	for line := range strings.Lines(string(parts["refs"])) {
		hash, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch {
		case !ok:
			s.refs[headTarget] = hash // the branch that is checked out
		case hash != "":
			s.refs[name] = hash
		}
	}
	for row := range strings.SplitSeq(string(parts["index"]), "\x00") {
		meta, path, ok := strings.Cut(row, "\t")
		if f := strings.Fields(meta); ok && len(f) == 4 {
			s.index[path+"\x00"+f[3]] = f[0] + " " + f[1] + " " + f[2]
		}
	}
	if head, rows, ok := strings.Cut(string(parts["ignored"]), "\x00"); ok {
		lines := strings.Split(strings.TrimSuffix(head, "\n"), "\n")
		s.top, s.status = lines[len(lines)-1], strings.Split(rows, "\x00")
	}
	s.fsck = strings.TrimSpace(string(parts["fsck"]))
	for _, block := range strings.Split(string(parts["commits"]), "\x02")[1:] {
		f := strings.SplitN(block, "\x03", 4)
		if len(f) < 4 {
			return s, false
		}
		c := Commit{Hash: f[0], Author: f[1], Subject: f[2]}
		for row := range strings.SplitSeq(f[3], "\x00") {
			n := strings.Split(strings.TrimSpace(row), "\t")
			if len(n) != 3 {
				continue
			}
			c.Files++
			c.Added += number(n[0])
			c.Removed += number(n[1])
		}
		s.commits = append(s.commits, c)
	}
	return s, true
}

func number(s string) int {
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' || n > 1<<30 {
			return n
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// ignored takes in what git says of the work tree after the run.
func (g *GitChange) ignored(s gitState, roots []string) {
	i := slices.IndexFunc(roots, func(root string) bool { return s.top == root || strings.HasPrefix(s.top, root+"/") })
	if i < 0 {
		return
	}
	g.Tree = roots[i]
	prefix := strings.TrimPrefix(strings.TrimPrefix(s.top, g.Tree), "/")
	g.IndexPath = path.Join(prefix, ".git/index")
	for _, row := range s.status {
		if len(row) < 4 {
			continue
		}
		code, name := row[:2], row[3:]
		if strings.HasSuffix(name, ".gitignore") && code != "!!" {
			g.RulesChanged = true
		}
		if code == "!!" {
			if prefix != "" {
				name = prefix + "/" + name
			}
			g.Ignored = append(g.Ignored, name)
		}
	}
}

// sentences says what changed of a repository, a line each.
func (g *GitChange) sentences() []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if g.Unread {
		say("files of the repository change; git could not say what that means")
	}
	for _, r := range g.Refs {
		name := strings.TrimPrefix(strings.TrimPrefix(r.Name, "refs/heads/"), "refs/")
		switch {
		case r.Name == headTarget:
			say("checked out: %s, before %s", quoted(strings.TrimPrefix(r.After, "refs/heads/")), quoted(strings.TrimPrefix(r.Before, "refs/heads/")))
		case r.Before == "":
			say("%s is new: %s", quoted(name), short(r.After))
		case r.After == "":
			say("%s is deleted (was %s)", quoted(name), short(r.Before))
		default:
			say("%s: %s → %s", quoted(name), short(r.Before), short(r.After))
		}
	}
	for _, c := range g.Commits {
		say("commit %s by %s: %s (%d files, +%d −%d)", short(c.Hash), quoted(c.Author), quoted(c.Subject), c.Files, c.Added, c.Removed)
	}
	const shown = 50
	for i, row := range g.Index {
		if i == shown {
			say("index: and %d more", len(g.Index)-shown)
			break
		}
		switch {
		case row.Before == "":
			say("index: adds %s", quoted(row.Path))
		case row.After == "":
			say("index: removes %s", quoted(row.Path))
		default:
			say("index: changes %s", quoted(row.Path))
		}
	}
	if g.Damaged != "" {
		say("the repository's own check fails: %s", quoted(firstLine(g.Damaged)))
	}
	return out
}

// hazards is what a reviewer must not miss of it.
func (g *GitChange) hazards() []guard.Hazard {
	var out []guard.Hazard
	add := func(kind, text string) { out = append(out, guard.Hazard{Kind: kind, Text: text}) }
	if g.Config {
		add(HazardGitPrograms, "changes settings of the repository, which can make git run programs")
	}
	if g.Hooks {
		add(HazardGitPrograms, "changes hooks of the repository, which git runs")
	}
	if g.Unread {
		add(HazardGitUnread, "files of the repository change, and git could not say what that means")
	}
	for _, r := range g.Refs {
		if r.Loses {
			add(HazardGitLoses, quoted(strings.TrimPrefix(r.Name, "refs/"))+" no longer leads to "+short(r.Before)+", and no other ref does")
		}
	}
	if g.Damaged != "" {
		add(HazardGitDamaged, "the repository's own check fails: "+quoted(firstLine(g.Damaged)))
	}
	return out
}

func short(hash string) string { return hash[:min(len(hash), 10)] }

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// gitChange compares the repository before a run with what the run left.
func (r *Runner) gitChange(ctx context.Context, c Command, run *sandbox.Run) *GitChange {
	g := &GitChange{}
	for _, ch := range run.Changes {
		g.Config = g.Config || inGit(ch.Path) && (strings.HasSuffix(ch.Path, ".git/config") || strings.HasSuffix(ch.Path, "/config.worktree") || strings.HasSuffix(ch.Path, "/info/attributes"))
		g.Hooks = g.Hooks || strings.Contains(ch.Path, ".git/hooks/")
	}
	after, ok := parseGit(run.Probe)
	if !touchesGit(run.Changes) {
		if ok {
			g.ignored(after, c.Roots)
		}
		return g
	}
	spec := r.spec(c)
	spec.Argv, spec.Probe, spec.Scratch = gitProbe(c.Folder), nil, nil
	was, err := sandbox.Exec(ctx, spec)
	if err != nil || !ok {
		g.Unread = true
		return g
	}
	defer was.Close()
	var text []byte
	for _, chunk := range was.Output {
		if !chunk.Stderr {
			text = append(text, chunk.Data...)
		}
	}
	before, ok := parseGit(text)
	if was.Exit == 3 { // no repository before
		before, ok = gitState{}, true
	}
	if !ok {
		g.Unread = true
		return g
	}
	g.compare(before, after)
	g.ignored(after, c.Roots)
	g.Damaged = after.fsck
	return g
}

func (g *GitChange) compare(before, after gitState) {
	reached := map[string]bool{}
	for _, c := range after.commits {
		reached[c.Hash] = true
	}
	old := map[string]bool{}
	for _, c := range before.commits {
		old[c.Hash] = true
	}
	for _, name := range names(before.refs, after.refs) {
		b, a := before.refs[name], after.refs[name]
		if a != b {
			// A commit that no ref leads to any more is lost, or not among the
			// commits that were listed: fail closed, both count.
			loses := b != "" && name != headTarget && !reached[b]
			g.Refs = append(g.Refs, RefChange{Name: name, Before: b, After: a, Loses: loses})
		}
	}
	for _, c := range after.commits {
		if !old[c.Hash] && len(g.Refs) > 0 {
			g.Commits = append(g.Commits, c)
		}
	}
	for _, key := range names(before.index, after.index) {
		b, a := before.index[key], after.index[key]
		if a != b {
			path, _, _ := strings.Cut(key, "\x00")
			g.Index = append(g.Index, IndexRow{Path: path, Before: b, After: a})
		}
	}
}

func names(a, b map[string]string) []string {
	var out []string
	for k := range a {
		out = append(out, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}
