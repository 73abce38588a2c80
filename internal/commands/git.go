package commands

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"path"
	"path/filepath"
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
	// Common is the folder that the repository keeps refs and objects in, in full.
	Common string `json:",omitempty"`
	// Unread is set where git did not answer: nothing is known but the files.
	Unread bool `json:",omitempty"`
	// Others are folders of other repositories that files change of, in full. Git was
	// not asked what that means.
	Others []string `json:",omitempty"`
	// Config and Hooks are set where settings or hooks changed, which make
	// programs run later.
	Config bool `json:",omitempty"`
	Hooks  bool `json:",omitempty"`
	// Ignored are new paths that the ignore rules of the last commit cover, as
	// paths of the tree; a folder's ends in "/".
	Ignored []string `json:",omitempty"`
	// Damaged is what git's own check says of the repository; empty where it is
	// whole, or no ref moved.
	Damaged string `json:",omitempty"`
}

// reversed is the change that takes g back.
func (g *GitChange) reversed() *GitChange {
	if g == nil {
		return nil
	}
	out := &GitChange{Tree: g.Tree, IndexPath: g.IndexPath, Common: g.Common, Unread: g.Unread, Others: g.Others, Config: g.Config, Hooks: g.Hooks}
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

// safeGit is git with everything switched off that could start a program that
// the repository names, or show other commits than there are.
const safeGit = `g() { command -p git -c core.fsmonitor=false -c core.hooksPath=/dev/null -c core.pager=cat -c diff.external= -c core.attributesFile=/dev/null -c core.excludesFile=/dev/null -c core.commitGraph=false -c advice.graftFileDeprecated=false -c log.showSignature=false -c gc.auto=0 -c maintenance.auto=false -c core.untrackedCache=false -c safe.directory='*' --no-optional-locks --no-replace-objects --no-pager "$@"; }
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0 GIT_OPTIONAL_LOCKS=0 GIT_NO_LAZY_FETCH=1 GIT_GRAFT_FILE=/dev/null
`

// safeEnv is the environment of the guard's own git: nothing in it is a client's
// or a command's choice, no folder of programs and no library.
var safeEnv = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent", "LC_ALL=C"}

// gitProbe is the command that reads a repository: its refs, the index, and the
// commits that the refs lead to. Its parts are separated by a text that is made
// anew for each run: whatever stands in the repository was written by somebody who
// did not know it. Filters, which a look at the work tree would run, are emptied.
//
// As a probe it finds the paths that changed in its standard input, and reads the
// whole index and the commits only where they may have: in a large repository that
// takes seconds. Names alone decide, and rather one too many: a path is told apart
// by its end, whatever line breaks are in it. Of the state before, like says which
// of the two are needed.
func gitProbe(folder string, like *gitState) []string {
	index, commits := "", ""
	if like != nil {
		index, commits = "no", "no"
		if like.whole {
			index = "yes"
		}
		if like.listed {
			commits = "names"
		}
	}
	return []string{"/bin/sh", "-c", safeGit + `cd "$1" 2>/dev/null || exit 3
g rev-parse --git-dir >/dev/null 2>&1 || exit 3
n="$2" index="$3" commits="$4" packs=
if [ -z "$index" ]; then
	changed="$(command -p tr '\000' '\n')" || exit 4
	among() { printf '%s\n' "$changed" | command -p grep -Eq "$1"; [ $? -ne 1 ]; }
	among '(^|/)index$' && index=yes
	among '(^|/)(refs|reftable)(/|$)|packed-refs$|HEAD$' && commits=all
	among '(^|/)objects/' && packs=yes && [ -n "$(printf '%s\n' "$changed" | command -p grep -E '(^|/)objects/' | while IFS= read -r f; do [ -e "$f" ] || { echo gone; break; }; done)" ] && commits=all
	among '(^|/)(\.git|commondir|gitdir|config|config\.worktree)$' && index=yes commits=all
fi
printf '\001%scommon\001' "$n"; (cd "$(g rev-parse --git-common-dir)" && pwd -P)
t="$(g rev-parse --show-toplevel 2>/dev/null)"; p="$(g rev-parse --show-prefix)"; [ -z "$t" ] || cd "$t"
set --
while IFS= read -r key; do [ -z "$key" ] || set -- "$@" -c "$key="; done <<E
$(g config --name-only --get-regexp '^filter\.')
E
printf '\001%srefs\001' "$n"; g symbolic-ref -q HEAD; g for-each-ref --format='%(objectname) %(refname)'; printf '%s HEAD\n' "$(g rev-parse -q --verify HEAD)"
if [ "$index" = yes ]; then printf '\001%sindex\001' "$n"; g ls-files -s -v -z; else printf '\001%srows\001' "$n"; g ls-files -s -v -z -- ':(glob)**/.gitignore'; fi
log() { printf '\001%scommits\001' "$n"; g log --all --max-count=500 --no-show-signature --no-ext-diff --no-textconv "$@" -z --format="%x02$n%H%x03$n%an <%ae>%x03$n%s%x03$n"; }
case "$commits" in all) log --numstat;; names) log;; esac
printf '\001%signored\001' "$n"; printf '%s\n%s\000' "$p" "$t"; g ls-files -z -o -i --exclude-per-directory=.gitignore --directory
printf '\001%srules\001' "$n"; g "$@" status --porcelain=v1 -z --no-renames --ignore-submodules=all --untracked-files=no -- ':(glob)**/.gitignore'
printf '\001%sfsck\001' "$n"; if [ "$commits" = all ]; then g fsck --connectivity-only --no-dangling --no-progress 2>&1 || printf 'git fsck ends with %s' "$?"; fi
if [ "$packs" = yes ]; then
	o="$(cd "$(g rev-parse --git-path objects)" && pwd -P)" || exit 4
	for f in "$o"/pack/*.idx; do f="${f##*/}"; case "$changed" in *"/${f%.idx}."*) g verify-pack "$o/pack/$f" 2>&1 || printf 'the pack %s fails' "$f";; esac; done
	case "$changed" in *commit-graph*) g -c core.commitGraph=true commit-graph verify --no-progress 2>&1 || printf 'the graph of commits fails';; esac
	case "$changed" in *multi-pack-index*) g multi-pack-index verify --no-progress 2>&1 || printf 'the index of packs fails';; esac
fi
printf '\001%send\001' "$n"`, "probe", folder, rand.Text(), index, commits}
}

// probeMark is, among the words of a probe, the text that separates its parts.
const probeMark = 5

// headTarget is, among refs, the branch that is checked out.
const headTarget = "HEAD →"

type gitState struct {
	refs    map[string]string
	index   map[string]string
	whole   bool // index has all entries, not only those of ignore rules
	listed  bool // commits are read
	commits []Commit
	top     string // folder of the work tree
	common  string // folder of refs and objects
	ignored []string
	rules   []string // files of ignore rules that are not as the last commit has them
	fsck    string
}

// parseGit reads what a probe printed.
func parseGit(out []byte, probe []string) (gitState, bool) {
	mark := probe[probeMark]
	s := gitState{refs: map[string]string{}, index: map[string]string{}}
	parts := map[string][]byte{}
	for _, part := range bytes.Split(out, []byte("\x01"+mark))[1:] {
		name, text, ok := bytes.Cut(part, []byte{1})
		if !ok {
			return s, false
		}
		parts[string(name)] = text
	}
	if _, whole := parts["end"]; !whole {
		return s, false
	}
	s.common = strings.TrimSuffix(string(parts["common"]), "\n")
	for line := range strings.Lines(string(parts["refs"])) {
		hash, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch {
		case !ok:
			s.refs[headTarget] = hash // the branch that is checked out
		case hash != "":
			s.refs[name] = hash
		}
	}
	_, s.whole = parts["index"]
	_, s.listed = parts["commits"]
	for row := range strings.SplitSeq(string(parts["index"])+string(parts["rows"]), "\x00") {
		meta, path, ok := strings.Cut(row, "\t")
		if f := strings.Fields(meta); ok && len(f) == 4 {
			s.index[path+"\x00"+f[3]] = f[0] + " " + f[1] + " " + f[2]
		}
	}
	if head, rows, ok := strings.Cut(string(parts["ignored"]), "\x00"); ok {
		lines := strings.Split(strings.TrimSuffix(head, "\n"), "\n")
		s.top, s.ignored = lines[len(lines)-1], strings.Split(rows, "\x00")
	}
	for row := range strings.SplitSeq(string(parts["rules"]), "\x00") {
		if len(row) > 3 {
			s.rules = append(s.rules, row[3:])
		}
	}
	s.fsck = strings.TrimSpace(string(parts["fsck"]))
	for _, block := range strings.Split(string(parts["commits"]), "\x02"+mark)[1:] {
		f := strings.SplitN(block, "\x03"+mark, 4)
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

// ignored takes in which new paths the ignore rules of the last commit cover.
func (g *GitChange) ignored(s gitState, roots []string, changes []sandbox.Change) {
	i := slices.IndexFunc(roots, func(root string) bool { return s.top == root || strings.HasPrefix(s.top, root+"/") })
	if i < 0 {
		return
	}
	g.Tree = roots[i]
	prefix := strings.TrimPrefix(strings.TrimPrefix(s.top, g.Tree), "/")
	g.IndexPath = path.Join(prefix, ".git/index")
	for _, row := range s.ignored {
		if row == "" || !g.byCommittedRules(s, prefix, row, changes) {
			continue
		}
		if prefix != "" {
			row = prefix + "/" + row
		}
		g.Ignored = append(g.Ignored, row)
	}
}

// byCommittedRules reports whether every file of ignore rules on the way to a path
// is as the last commit has it.
func (g *GitChange) byCommittedRules(s gitState, prefix, row string, changes []sandbox.Change) bool {
	steps := strings.Split(row, "/")
	for i := range steps {
		rules := path.Join(path.Join(steps[:i]...), ".gitignore")
		at := path.Join(prefix, rules)
		changed := slices.ContainsFunc(changes, func(c sandbox.Change) bool { return c.Tree == g.Tree && c.Path == at && c.Op != sandbox.OpTouch })
		entry, tracked := s.index[rules+"\x000"]
		switch {
		case changed, slices.Contains(s.rules, rules):
			return false
		case tracked && !strings.HasPrefix(entry, "H "):
			return false // fail closed: git was told not to look at it
		case !tracked && there(filepath.Join(g.Tree, at)):
			return false
		}
	}
	return true
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
		say("commit %s by %s: %s (%s, +%d −%d)", short(c.Hash), quoted(c.Author), quoted(c.Subject), count(c.Files, "file"), c.Added, c.Removed)
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
	for _, at := range g.Others {
		add(HazardGitUnread, "files of another repository change, "+quoted(at)+", and git was not asked what that means")
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
func (r *Runner) gitChange(ctx context.Context, c Command, spec sandbox.Spec, run *sandbox.Run) *GitChange {
	g := &GitChange{}
	for _, ch := range run.Changes {
		g.Config = g.Config || isGitSetting(ch, run.Changes)
		g.Hooks = g.Hooks || inGit(ch.Path) && slices.Contains(strings.Split(ch.Path, "/"), "hooks") && !isGitStorage(ch.Path)
	}
	after, ok := parseGit(run.Probe, spec.Probe)
	if !touchesGit(run.Changes) {
		if ok {
			g.ignored(after, c.Roots, run.Changes)
		}
		return g
	}
	spec.Argv, spec.Env, spec.Probe, spec.Scratch, spec.Stored, spec.Copies = gitProbe(c.Folder, &after), safeEnv, nil, nil, nil, nil
	spec.Limits.Output = max(spec.Limits.Output, sandbox.MaxProbe)
	if !ok {
		g.Unread = true
		return g
	}
	was, err := sandbox.Exec(ctx, spec)
	if err != nil {
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
	before, ok := parseGit(text, spec.Argv)
	if was.Exit == 3 { // no repository before
		before, ok = gitState{}, true
	}
	if !ok {
		g.Unread = true
		return g
	}
	g.Common = after.common
	g.others(run.Changes)
	g.compare(before, after)
	g.ignored(after, c.Roots, run.Changes)
	if g.Damaged = after.fsck; g.Damaged == "" {
		g.Damaged = g.forged(run)
	}
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
	if !after.whole { // as it was
		return
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
