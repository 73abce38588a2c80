package commands

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// A deletion and a creation of one run are shown as a rename where the contents
// are the same, or else where minSimilar percent of them are. It is a matter of
// showing alone: what lands are the deletion and the creation.
const (
	minSimilar = 50 // as git has it
	// The bounds of looking for similar files. Beyond them a deletion and a
	// creation are shown as what they are, each in full.
	maxSimilarPairs = 10_000
	maxSimilarBytes = 16 << 20
	// minMoved is how many files move unchanged from one folder to another
	// before they are shown by a line each.
	minMoved = 4
)

// rename is a pair of changes: one path goes, the other comes.
type rename struct {
	from, to sandbox.Change
	same     bool // nothing but the path changes
	moves    bool // it is shown by a line, among others
	shown    bool // its text stands there already
}

// renames are the pairs of a record, by each of their two changes.
type renames struct {
	of map[side]*rename
	// moved are those that are shown by a line each; such a group stands where the
	// first of its changes would.
	moved map[side][]*rename
}

// side is one change. A path whose type changes has two.
type side struct {
	name sandbox.Name
	op   sandbox.Op
}

func nameOf(c sandbox.Change) sandbox.Name { return sandbox.Name{Tree: c.Tree, Path: c.Path} }
func sideOf(c sandbox.Change) side         { return side{nameOf(c), c.Op} }

// renames pairs what a run deleted with what it created. Files of git's own,
// those shown by a line for their folder, and files that become ones which tools
// obey by themselves are in no pair: they are shown in full.
func (s *summary) renames(folded map[sandbox.Name]string) (renames, error) {
	var gone, come []sandbox.Change
	for _, c := range s.Changes {
		switch {
		case inGit(c.Path):
		case c.Op == sandbox.OpDelete && c.Before != nil && c.Before.Type == 'f':
			gone = append(gone, c)
		case c.Op == sandbox.OpAdd && c.After != nil && c.After.Type == 'f' && folded[nameOf(c)] == "":
			come = append(come, c)
		}
	}
	out := renames{of: map[side]*rename{}, moved: map[side][]*rename{}}
	if len(gone) == 0 || len(come) == 0 {
		return out, nil
	}
	out.pair(s.alikePairs(gone, come))
	similar, err := s.similarPairs(out.without(gone), out.without(come))
	out.pair(similar)
	out.findMoves(s.Changes)
	return out, err
}

// candidate is a possible pair.
type candidate struct {
	from, to sandbox.Change
	percent  int // of the content in common
	steps    int // of the end of their paths in common
}

// pair takes the candidates, the best first: more of the content in common, then
// the same name, then more of the folders above it, then by path.
func (r *renames) pair(list []candidate) {
	for i := range list {
		list[i].steps = stepsInCommon(list[i].from.Path, list[i].to.Path)
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.percent, a.percent), cmp.Compare(b.steps, a.steps), cmp.Compare(a.from.Tree, b.from.Tree),
			cmp.Compare(a.from.Path, b.from.Path), cmp.Compare(a.to.Path, b.to.Path))
	})
	for _, c := range list {
		if r.of[sideOf(c.from)] != nil || r.of[sideOf(c.to)] != nil {
			continue
		}
		was, now := c.from.Before, c.to.After
		pair := &rename{from: c.from, to: c.to, same: was.Sum == now.Sum && was.Mode == now.Mode && maps.Equal(was.Xattrs, now.Xattrs)}
		r.of[sideOf(c.from)], r.of[sideOf(c.to)] = pair, pair
	}
}

func (r *renames) without(list []sandbox.Change) []sandbox.Change {
	return slices.DeleteFunc(slices.Clone(list), func(c sandbox.Change) bool { return r.of[sideOf(c)] != nil })
}

// fits reports whether two paths may be shown as one that was renamed.
func (s *summary) fits(from, to sandbox.Change) bool {
	return from.Tree == to.Tree && (s.obeyed == nil || !s.obeyed(to.Path) || s.obeyed(from.Path))
}

// alikePairs are the candidates with the same content. An empty file says nothing
// of where it comes from but its name.
func (s *summary) alikePairs(gone, come []sandbox.Change) []candidate {
	type group struct{ gone, come []sandbox.Change }
	groups := map[string]*group{}
	for _, c := range gone {
		if groups[c.Before.Sum] == nil {
			groups[c.Before.Sum] = &group{}
		}
		groups[c.Before.Sum].gone = append(groups[c.Before.Sum].gone, c)
	}
	for _, c := range come {
		if g := groups[c.After.Sum]; g != nil {
			g.come = append(g.come, c)
		}
	}
	var out []candidate
	for _, g := range groups {
		for _, pair := range pairsOf(g.gone, g.come) {
			pair.percent = 100
			if s.fits(pair.from, pair.to) && (pair.from.Before.Size > 0 || path.Base(pair.from.Path) == path.Base(pair.to.Path)) {
				out = append(out, pair)
			}
		}
	}
	return out
}

// pairsOf is every pair of two lists of files with one content. Where that would be
// too many, the files of one name are paired in their order, and no others.
func pairsOf(gone, come []sandbox.Change) []candidate {
	var out []candidate
	if len(gone)*len(come) <= maxSimilarPairs {
		for _, from := range gone {
			for _, to := range come {
				out = append(out, candidate{from: from, to: to})
			}
		}
		return out
	}
	named := map[string][]sandbox.Change{}
	for _, to := range come {
		named[path.Base(to.Path)] = append(named[path.Base(to.Path)], to)
	}
	for _, from := range gone {
		if list := named[path.Base(from.Path)]; len(list) > 0 {
			out = append(out, candidate{from: from, to: list[0]})
			named[path.Base(from.Path)] = list[1:]
		}
	}
	return out
}

// similarPairs are the candidates of which much of the content is the same.
func (s *summary) similarPairs(gone, come []sandbox.Change) ([]candidate, error) {
	size := int64(0)
	for _, c := range gone {
		size += c.Before.Size
	}
	for _, c := range come {
		size += c.After.Size
	}
	if len(gone)*len(come) > maxSimilarPairs || size > maxSimilarBytes {
		return nil, nil
	}
	before, after := make([]*diff.Lines, len(gone)), make([]*diff.Lines, len(come))
	lines := func(at **diff.Lines, read func() ([]byte, error)) (diff.Lines, error) {
		if *at == nil {
			data, err := read()
			if err != nil {
				return diff.Lines{}, err
			}
			l := diff.LinesOf(data)
			*at = &l
		}
		return **at, nil
	}
	var out []candidate
	for i, from := range gone {
		for k, to := range come {
			a, b := from.Before.Size, to.After.Size
			if a == 0 || b == 0 || max(a, b) > maxFileText || min(a, b)*100 < max(a, b)*minSimilar || !s.fits(from, to) {
				continue
			}
			was, err := lines(&before[i], func() ([]byte, error) { return s.contentBefore(from) })
			if err != nil {
				return nil, err
			}
			now, err := lines(&after[k], func() ([]byte, error) { return s.contentAfter(to) })
			if err != nil {
				return nil, err
			}
			if n := diff.Similar(was, now); n >= minSimilar {
				out = append(out, candidate{from: from, to: to, percent: n})
			}
		}
	}
	return out, nil
}

// findMoves finds the pairs that move unchanged from one folder to another, many at a
// time, and keep their names in there.
func (r *renames) findMoves(changes []sandbox.Change) {
	type folders struct{ tree, from, to string }
	groups := map[folders][]*rename{}
	first, taken := map[folders]side{}, map[*rename]bool{}
	for _, c := range changes {
		pair := r.of[sideOf(c)]
		if pair == nil || !pair.same {
			continue
		}
		from, to, ok := movedBetween(pair.from.Path, pair.to.Path)
		if !ok {
			continue
		}
		at := folders{c.Tree, from, to}
		if groups[at] == nil {
			first[at] = sideOf(c)
		}
		if !taken[pair] {
			taken[pair] = true
			groups[at] = append(groups[at], pair)
		}
	}
	for at, group := range groups {
		if len(group) < minMoved {
			continue
		}
		r.moved[first[at]] = group
		for _, pair := range group {
			pair.moves = true
		}
	}
}

// stepsInCommon counts the steps at the end of two paths that are the same.
func stepsInCommon(a, b string) int {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	n := 0
	for n < len(x) && n < len(y) && x[len(x)-1-n] == y[len(y)-1-n] {
		n++
	}
	return n
}

// movedBetween returns the folders that a path was moved between: what stands
// before the steps that both have at their end.
func movedBetween(from, to string) (a, b string, ok bool) {
	n := stepsInCommon(from, to)
	x, y := strings.Split(from, "/"), strings.Split(to, "/")
	return strings.Join(x[:len(x)-n], "/"), strings.Join(y[:len(y)-n], "/"), n > 0
}

// facts are the pairs as they are kept and sent, in the order of the paths that
// are deleted.
func (r *renames) facts(changes []sandbox.Change) []guard.ExecRename {
	var out []guard.ExecRename
	for _, c := range changes {
		if pair := r.of[sideOf(c)]; pair != nil && c.Op == sandbox.OpDelete {
			at := func(c sandbox.Change) string { return valid(filepath.Join(c.Tree, c.Path)) }
			out = append(out, guard.ExecRename{From: at(pair.from), To: at(pair.to), Same: pair.same})
		}
	}
	return out
}

// renamed is the text of a pair: what git shows of a renamed file, or a line.
func (s *summary) renamed(pair *rename) (text []byte, added, removed int, err error) {
	from, to := s.shownPath(pair.from), s.shownPath(pair.to)
	if pair.moves {
		return fmt.Appendf(nil, "renamed %s → %s\n", named(from), named(to)), 0, 0, nil
	}
	was, now := pair.from.Before, pair.to.After
	before, after := diff.File{Path: from, Exists: true, Mode: was.Mode}, diff.File{Path: to, Exists: true, Mode: now.Mode}
	if was.Sum != now.Sum { // else it does not matter what the content is
		if before.Data, err = s.contentBefore(pair.from); err == nil {
			after.Data, err = s.contentAfter(pair.to)
		}
		if err != nil {
			return nil, 0, 0, err
		}
	}
	text, r := diff.Unified(before, after, diff.Options{})
	if !maps.Equal(was.Xattrs, now.Xattrs) {
		text = fmt.Appendf(text, "extended attributes of %s change\n", quoted(to))
	}
	return text, r.Added, r.Removed, nil
}

// group writes files that move together: a line for each, so that none of what is
// deleted is hidden.
func (s *summary) group(group []*rename) []byte {
	from, to, _ := movedBetween(group[0].from.Path, group[0].to.Path)
	folder := func(c sandbox.Change, p string) string {
		c.Path = p
		return named(s.shownPath(c))
	}
	text := fmt.Appendf(nil, "renames %s → %s: %d files, none of them changes\n", folder(group[0].from, from), folder(group[0].to, to), len(group))
	for _, pair := range group {
		line, _, _, _ := s.renamed(pair)
		text = append(text, line...)
	}
	return text
}

// named is a path on one line, beside others: no name can be taken for two.
func named(name string) string {
	if strings.ContainsAny(name, `→"`) {
		return fmt.Sprintf("%+q", name)
	}
	return quoted(name)
}
