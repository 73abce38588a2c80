package sandbox

import (
	"path"
	"slices"
	"strings"
)

// places says what the paths of a run are to the command. Paths are absolute
// and clean, as the command sees them.
type places struct {
	trees, visible, scratch, closed, silent []string
	stored                                  []Scratch // of the trees, those that are elsewhere
}

func placesOf(s Spec) places {
	p := places{trees: slices.Clone(s.Trees), stored: s.Stored, visible: s.Visible, closed: s.Closed, silent: slices.Concat(s.Quiet, asides)}
	for _, t := range s.Stored {
		p.trees = append(p.trees, t.Path)
	}
	for _, c := range s.Scratch {
		p.scratch = append(p.scratch, c.Path)
	}
	return p
}

// asides are what the libraries of every program ask for by the way.
var asides = []string{"/run/nscd", "/var/run/nscd", "/run/systemd/userdb", "/var/db/nscd", "/var/lib/sss", "/run/current-system", "/sys"}

// own are the folders that each run has to itself.
var own = []string{"/proc", "/dev", "/run"}

// deepest returns the longest of the folders that at lies in or is, -1 for none.
func deepest(folders []string, at string) int {
	best := -1
	for _, f := range folders {
		if within(at, f) {
			best = max(best, len(f))
		}
	}
	return best
}

func within(at, folder string) bool {
	return at == folder || folder == "/" || strings.HasPrefix(at, folder) && at[len(folder)] == '/'
}

// isClosed reports whether a path is masked or lies outside of all that is there.
// The way to a folder that is there is open as far as it leads.
func (p places) isClosed(at string) bool {
	open := max(deepest(p.trees, at), deepest(p.visible, at), deepest(p.scratch, at), deepest(own, at))
	if shut := deepest(p.closed, at); shut >= 0 && shut >= open {
		return true
	}
	return open < 0 && !p.leads(at)
}

// isMask reports whether a path is one that is closed by name.
func (p places) isMask(at string) bool { return slices.Contains(p.closed, at) }

// leads reports whether something that is there lies below at.
func (p places) leads(at string) bool {
	for _, list := range [][]string{p.trees, p.visible, p.scratch, own} {
		for _, f := range list {
			if within(f, at) {
				return true
			}
		}
	}
	return false
}

// writable reports whether changes at a path are captured, or the run's own.
func (p places) writable(at string) bool {
	if within(at, "/proc") {
		return strings.Contains(at, "/fd/") // the command's own open files; all else is the kernel's
	}
	rw := max(deepest(p.trees, at), deepest(p.scratch, at), deepest(own, at))
	return rw >= 0 && rw > deepest(p.visible, at)
}

// quiet reports whether nobody minds that a path is not there.
func (p places) quiet(at string) bool { return deepest(p.silent, at) >= 0 }

// real returns where outside of the command's view a path is.
func (p places) real(at string) string {
	for _, t := range p.stored {
		if within(at, t.Path) {
			return t.Store + at[len(t.Path):]
		}
	}
	return at
}

// treeOf returns the tree that a path belongs to.
func (p places) treeOf(at string) (string, bool) {
	n := deepest(p.trees, at)
	if n < 0 || deepest(p.scratch, at) > n {
		return "", false
	}
	return path.Clean(at[:max(n, 1)]), true
}
