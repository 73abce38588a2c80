package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/mark3labs/mcp-go/mcp"
	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// openTarget opens a resolved folder of the workspace.
func (c *Conn) openTarget(p string) (*os.Root, guard.Target, error) {
	t, err := effect.Path(p, c.roots)
	if err != nil {
		return nil, t, err
	}
	root, err := os.OpenRoot(t.Root)
	if err != nil {
		return nil, t, errors.New("the workspace folder cannot be opened")
	}
	if t.Path == "." {
		return root, t, nil
	}
	for name := range strings.SplitSeq(t.Path, "/") {
		next, err := enter(root, name)
		root.Close()
		if err != nil {
			return nil, t, fmt.Errorf("%q is not a folder that is there", t.Path)
		}
		root = next
	}
	return root, t, nil
}

// entry is one line of a listing.
type entry struct {
	Path string `json:"path"`
	Type string `json:"type"`
	Size *int64 `json:"size,omitempty"`
}

func (c *Conn) listDirectory(ctx context.Context, call *call) (*mcp.CallToolResult, error) {
	a, err := args(call, struct {
		Path  string `json:"path"`
		Depth int    `json:"depth"`
	}{Path: ".", Depth: 1})
	if err != nil {
		return nil, err
	}
	root, t, err := c.openTarget(a.Path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	out := struct {
		Path      string  `json:"path"`
		Entries   []entry `json:"entries"`
		Truncated bool    `json:"truncated"`
	}{Path: t.Path, Entries: []entry{}}
	w := walker{ctx: ctx, depth: a.Depth, visit: func(_ *os.Root, rel string, d fs.DirEntry) error {
		if len(out.Entries) == maxList {
			out.Truncated = true
			return fs.SkipAll
		}
		e := entry{Path: path.Join(t.Path, rel), Type: typeOf(d.Type())}
		if d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				size := info.Size()
				e.Size = &size
			}
		}
		out.Entries = append(out.Entries, e)
		return nil
	}}
	if err := w.walk(root, "", 1); err != nil {
		return nil, err
	}
	out.Truncated = out.Truncated || w.partial
	var text strings.Builder
	for _, e := range out.Entries {
		switch {
		case e.Type == "folder":
			fmt.Fprintf(&text, "%s/\n", e.Path)
		case e.Size != nil:
			fmt.Fprintf(&text, "%s  %d bytes\n", e.Path, *e.Size)
		default:
			fmt.Fprintf(&text, "%s  %s\n", e.Path, e.Type)
		}
	}
	if len(out.Entries) == 0 {
		text.WriteString("(the folder is empty)\n")
	}
	if out.Truncated {
		text.WriteString("(there is more)\n")
	}
	return mcp.NewToolResultStructured(out, text.String()), nil
}

// walker visits everything below a folder in name order and follows no link.
// It leaves out names that are not valid UTF-8, which JSON cannot represent.
type walker struct {
	ctx     context.Context
	depth   int // levels; 0 for all
	skip    func(rel string, d fs.DirEntry) bool
	visit   func(dir *os.Root, rel string, d fs.DirEntry) error
	seen    int
	partial bool // something was left out
}

func (w *walker) walk(root *os.Root, prefix string, level int) error {
	err := w.folder(root, prefix, level)
	if errors.Is(err, fs.SkipAll) {
		return nil
	}
	return err
}

func (w *walker) folder(root *os.Root, prefix string, level int) error {
	dir, err := root.Open(".")
	if err != nil {
		w.partial = true
		return nil
	}
	list, err := dir.ReadDir(-1)
	dir.Close()
	if err != nil {
		w.partial = true
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, d := range list {
		switch w.seen++; {
		case w.ctx.Err() != nil:
			return errCancelled
		case w.seen > maxWalk:
			w.partial = true
			return fs.SkipAll
		case !utf8.ValidString(d.Name()):
			w.partial = true
			continue
		}
		rel := path.Join(prefix, d.Name())
		if w.skip != nil && w.skip(rel, d) {
			continue
		}
		if err := w.visit(root, rel, d); err != nil {
			return err
		}
		if !d.IsDir() || level == w.depth || level >= 100 {
			continue
		}
		next, err := enter(root, d.Name())
		if err != nil {
			w.partial = true
			continue
		}
		err = w.folder(next, rel, level+1)
		next.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// match is one result of a search.
type match struct {
	Path string `json:"path"`
	Line int    `json:"line,omitempty"`
	Text string `json:"text,omitempty"`
}

// query is the input of a search.
type query struct {
	Path       string `json:"path"`
	Pattern    string `json:"pattern"`
	Text       string `json:"text"`
	Regexp     bool   `json:"regexp"`
	IgnoreCase bool   `json:"ignore_case"`
	Limit      int    `json:"limit"`
}

// maxMatch is how many characters of a matching line are returned.
const maxMatch = 500

func (c *Conn) searchFiles(ctx context.Context, call *call) (*mcp.CallToolResult, error) {
	q, err := args(call, query{Path: ".", Pattern: "**", Limit: 200})
	if err != nil {
		return nil, err
	}
	find, err := q.compile()
	if err != nil {
		return nil, err
	}
	root, t, err := c.openTarget(q.Path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	limited, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	s := search{query: q, find: find, base: t.Path, out: []match{}}
	w := walker{ctx: limited, skip: func(_ string, d fs.DirEntry) bool { return d.IsDir() && d.Name() == ".git" }, visit: s.visit}
	err = w.walk(root, "", 1)
	switch {
	case ctx.Err() != nil:
		return nil, errCancelled
	case limited.Err() != nil:
		s.more = true
	case err != nil:
		return nil, err
	}
	s.more = s.more || w.partial
	return s.answer(), nil
}

// compile returns the line matcher, nil if only names are searched.
func (q query) compile() (*regexp.Regexp, error) {
	if !doublestar.ValidatePattern(q.Pattern) {
		return nil, fmt.Errorf("the pattern %q is not valid", q.Pattern)
	}
	if q.Text == "" {
		return nil, nil
	}
	src := q.Text
	if !q.Regexp {
		src = regexp.QuoteMeta(src)
	}
	if q.IgnoreCase {
		src = "(?i)" + src
	}
	re, err := regexp.Compile(src)
	if err != nil {
		return nil, fmt.Errorf("the regular expression is not valid: %w", err)
	}
	return re, nil
}

// search collects matches.
type search struct {
	query
	find *regexp.Regexp
	base string
	out  []match
	size int // of the texts in out
	more bool
}

func (s *search) visit(dir *os.Root, rel string, d fs.DirEntry) error {
	if d.IsDir() {
		return nil
	}
	if ok, err := doublestar.Match(s.Pattern, rel); err != nil || !ok {
		return err
	}
	full := path.Join(s.base, rel)
	if s.find == nil {
		return s.add(match{Path: full})
	}
	if !d.Type().IsRegular() {
		return nil
	}
	b, ok := readSmall(dir, d.Name())
	if !ok {
		return nil
	}
	n := 0
	for line := range bytes.Lines(b) {
		n++
		line = bytes.TrimRight(line, "\r\n")
		if !s.find.Match(line) {
			continue
		}
		text := string(line)
		if runes := []rune(text); len(runes) > maxMatch {
			text = string(runes[:maxMatch]) + "…"
		}
		if err := s.add(match{Path: full, Line: n, Text: text}); err != nil {
			return err
		}
	}
	return nil
}

func (s *search) add(m match) error {
	if len(s.out) == s.Limit || s.size > maxOutput {
		s.more = true
		return fs.SkipAll
	}
	s.out = append(s.out, m)
	s.size += len(m.Path) + len(m.Text)
	return nil
}

// readSmall reads a text file that is small enough to search.
func readSmall(dir *os.Root, name string) ([]byte, bool) {
	seen, err := dir.Lstat(name)
	if err != nil || !seen.Mode().IsRegular() || seen.Size() > maxSearch {
		return nil, false
	}
	f, err := dir.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	if now, err := f.Stat(); err != nil || !os.SameFile(seen, now) {
		return nil, false
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSearch))
	return b, err == nil && utf8.Valid(b) && bytes.IndexByte(b, 0) < 0
}

func (s *search) answer() *mcp.CallToolResult {
	out := struct {
		Matches   []match `json:"matches"`
		Truncated bool    `json:"truncated"`
	}{s.out, s.more}
	var text strings.Builder
	for _, m := range s.out {
		if m.Line > 0 {
			fmt.Fprintf(&text, "%s:%d: %s\n", m.Path, m.Line, m.Text)
		} else {
			fmt.Fprintf(&text, "%s\n", m.Path)
		}
	}
	if len(s.out) == 0 {
		text.WriteString("(nothing was found)\n")
	}
	if s.more {
		text.WriteString("(there is more: narrow the search)\n")
	}
	return mcp.NewToolResultStructured(out, text.String())
}
