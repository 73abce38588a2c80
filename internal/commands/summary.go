package commands

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// EffectKind is the kind of each effect of a command that ran in a sandbox.
const EffectKind = "exec"

// The hazards of what a command changes.
const (
	HazardSetID       = "set_id"           // a program that runs with another's rights
	HazardStartup     = "startup_file"     // what an agent or a shell obeys when it starts
	HazardGitPrograms = "git_programs"     // settings or hooks of a repository
	HazardGitLoses    = "git_loses"        // commits that no ref leads to any more
	HazardGitDamaged  = "git_damaged"      // the repository's own check fails
	HazardGitUnread   = "git_unread"       // nobody could say what the files of the repository mean
	HazardNotLanded   = "not_landed"       // a pipe, socket or device
	HazardNotShown    = "not_shown_whole"  // content over the limit of what is compared
	HazardOutside     = "outside_of_roots" // a temporary folder beside the workspace
)

// The bounds of the text of a change, in bytes: of one file's comparison, and of
// all together.
const (
	maxFileText = 1 << 20
	maxText     = 8 << 20
)

// Preview says in the guard's nouns what a record shows. The text stands behind
// head, which names the command.
func (r *Record) Preview(head string) (guard.Preview, error) {
	var p guard.Preview
	p.Effects, p.Record, p.Output = []guard.Effect{}, r.ID, valid(cutOutput(r.Text()))
	run := &guard.ExecRun{Exit: r.Exit, Signal: r.Signal, Files: len(r.Changes), Stopped: r.Stopped, Left: r.Left, Cut: r.Truncated, Times: r.OnlyTimes(), Failed: r.Retry}
	for _, at := range r.Moved {
		run.Moved = append(run.Moved, valid(at))
	}
	for _, w := range r.Wanted {
		run.Wanted = append(run.Wanted, guard.ExecWant{Kind: string(w.Kind), What: valid(w.What)})
	}
	var text strings.Builder
	text.WriteString(head)
	r.describeRun(&text)
	s := summary{Record: r, text: &text, preview: &p}
	if r.Git != nil {
		run.Git = r.Git.sentences()
		for _, line := range run.Git {
			text.WriteString("git: " + line + "\n")
		}
		p.Hazards = append(p.Hazards, r.Git.hazards()...)
	}
	for _, name := range r.Special {
		s.hazard(HazardNotLanded, quoted(name)+" is a pipe, a socket or a device, which is not landed")
	}
	folded := r.folded()
	run.Folded = r.foldedRows(folded)
	for _, row := range run.Folded {
		fmt.Fprintf(&text, "new in %s: %s, %s, which the repository ignores\n", quoted(row.Folder), count(row.Files, "file"), count(int(row.Bytes), "byte"))
	}
	var err error
	if s.pairs, err = s.renames(folded); err != nil {
		return p, err
	}
	run.Renames = s.pairs.facts(r.Changes)
	s.gitObjects()
	for _, c := range r.Changes {
		if err := s.change(c, folded[nameOf(c)] != ""); err != nil {
			return p, err
		}
	}
	p.Change.Type, p.Change.Text, p.Change.Added, p.Change.Removed = guard.ChangeExec, text.String(), s.added, s.removed
	p.Change.Exec = &guard.ExecFacts{Run: run}
	p.Summary = r.sentence(s.added, s.removed)
	return p, nil
}

// maxShownOutput bounds the output that a reviewer sees, in bytes.
const maxShownOutput = 64 << 10

// cutOutput keeps both ends of an output.
func cutOutput(s string) string {
	if len(s) <= maxShownOutput {
		return s
	}
	half := maxShownOutput / 2
	return s[:half] + fmt.Sprintf("\n… %d bytes …\n", len(s)-2*half) + s[len(s)-half:]
}

func moved(paths []string) []string {
	out := make([]string, 0, len(paths))
	for _, p := range paths {
		out = append(out, "changed while it ran: "+valid(p))
	}
	return out
}

// valid is text as JSON can hold it.
func valid(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

// quoted is a name on one line.
func quoted(name string) string {
	if utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f || r == 0x2028 || r == 0x2029 }) {
		return name
	}
	return fmt.Sprintf("%+q", name)
}

// describeRun says how the command ended and what it did not get.
func (r *Record) describeRun(w io.Writer) {
	switch {
	case r.Stopped != "":
		fmt.Fprintf(w, "ended by the limit: %s\n", r.Stopped)
	case r.Signal != 0:
		fmt.Fprintf(w, "ended by signal %d\n", r.Signal)
	default:
		fmt.Fprintf(w, "exit code %d\n", r.Exit)
	}
	for _, x := range r.Wanted {
		fmt.Fprintf(w, "wanted %s: %s\n", x.Kind, quoted(x.What))
	}
	if len(r.Left) > 0 {
		fmt.Fprintf(w, "still ran at its end: %s\n", quoted(strings.Join(r.Left, ", ")))
	}
	for _, why := range slices.Concat(r.Retry, moved(r.Moved)) {
		fmt.Fprintf(w, "not proven: %s\n", quoted(why))
	}
	if r.Truncated {
		fmt.Fprintln(w, "its output was cut")
	}
}

// sentence is the summary in one line.
func (r *Record) sentence(added, removed int) string {
	name := r.Argv[len(r.Argv)-1]
	if line, _, cut := strings.Cut(strings.TrimSpace(name), "\n"); cut {
		name = line + " …"
	}
	if len(r.Changes) == 0 {
		return quoted(name) + " (changes nothing)"
	}
	return fmt.Sprintf("%s (%s, +%d −%d)", quoted(name), r.counted(), added, removed)
}

// counted says how many files and folders change. What git keeps of its own counts
// as one, where its meaning is shown.
func (r *Record) counted() string {
	var files, folders int
	git := false
	for _, c := range r.Changes {
		switch {
		case r.Git.tells(c):
			git = true
		case (c.Before == nil || c.Before.Type == 'd') && (c.After == nil || c.After.Type == 'd'):
			folders++
		default:
			files++
		}
	}
	var parts []string
	if files > 0 {
		parts = append(parts, count(files, "file"))
	}
	if folders > 0 {
		parts = append(parts, count(folders, "folder"))
	}
	if git {
		parts = append(parts, "the repository")
	}
	return strings.Join(parts, ", ")
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// summary collects effects, text and hazards of one record.
type summary struct {
	*Record
	pairs          renames
	text           *strings.Builder
	preview        *guard.Preview
	added, removed int
	cut            int // files whose content is not shown whole
	starts         int // files that an agent or a shell obeys
}

func (s *summary) hazard(kind, text string) {
	s.preview.Hazards = append(s.preview.Hazards, guard.Hazard{Kind: kind, Text: text})
}

// shownPath is how a path is called: relative to the workspace, or in full.
func (s *summary) shownPath(c sandbox.Change) string {
	if slices.Contains(s.Roots, c.Tree) {
		if len(s.Roots) == 1 {
			return cmp.Or(c.Path, ".")
		}
	}
	return path.Join(c.Tree, c.Path)
}

func (s *summary) change(c sandbox.Change, folded bool) error {
	name := s.shownPath(c)
	e := guard.Effect{
		Kind:     EffectKind,
		Resource: guard.Target{Kind: "file", Key: filepath.Join(c.Tree, c.Path), Path: cmp.Or(c.Path, "."), Root: c.Tree, Write: true},
		Before:   stateOf(c.Before), After: stateOf(c.After),
	}
	s.look(c, name)
	pair := s.pairs.of[sideOf(c)]
	if pair != nil {
		return s.half(c, pair, e)
	}
	text, added, removed, err := s.compare(c, name)
	if err != nil {
		return err
	}
	e.Diff = digest.Sum(text)
	if s.Git.tells(c) {
		// What it means stands above; what it holds is compressed, or repeats that.
		text, added, removed = fmt.Appendf(nil, "git file %s: %s\n", quoted(name), c.Op), 0, 0
	}
	s.added += added
	s.removed += removed
	if !folded && !s.isPlainObject(c) {
		s.show(text, name)
	}
	s.preview.Effects = append(s.preview.Effects, e)
	return nil
}

// gitObjects shows in one line what comes to the objects of a repository. Their
// names are those of their content, so that they tell nothing beside the commits
// and refs, which stand above.
func (s *summary) gitObjects() {
	var added, touched int
	for _, c := range s.Changes {
		switch {
		case !s.isPlainObject(c):
		case c.Op == sandbox.OpTouch:
			touched++
		case c.After.Type == 'f':
			added++
		}
	}
	if added+touched > 0 {
		fmt.Fprintf(s.text, "git file .git/objects: %d new, %d with another time\n", added, touched)
	}
}

// isPlainObject reports whether a change adds an object of a repository whose
// meaning is shown, a folder for objects, or touches one.
func (s *summary) isPlainObject(c sandbox.Change) bool {
	if !s.Git.tells(c) || !gitObject.MatchString(c.Path) {
		return false
	}
	switch c.Op {
	case sandbox.OpTouch:
		return true
	case sandbox.OpAdd:
		return c.After.Type == 'd' || c.After.Type == 'f' && c.After.Mode&0o6111 == 0
	}
	return false
}

// gitObject matches the path of an object, or of a folder for them.
var gitObject = regexp.MustCompile(`^\.git/objects/[0-9a-f]{2}(/[0-9a-f]{38})?$`)

// show adds to the text, unless it becomes too long.
func (s *summary) show(text []byte, name string) {
	if s.text.Len()+len(text) > maxText {
		s.notShown(name)
		return
	}
	s.text.Write(text)
}

// half adds one of the two changes of a renamed file. Their text is the same, and
// stands where the first of them does.
func (s *summary) half(c sandbox.Change, pair *rename, e guard.Effect) error {
	text, added, removed, err := s.renamed(pair)
	if err != nil {
		return err
	}
	e.Diff = digest.Sum(text)
	s.preview.Effects = append(s.preview.Effects, e)
	switch group := s.pairs.moved[sideOf(c)]; {
	case group != nil:
		s.show(s.group(group), s.shownPath(c))
	case !pair.moves && !pair.shown:
		pair.shown = true
		s.added += added
		s.removed += removed
		s.show(text, s.shownPath(c))
	}
	return nil
}

// maxNamed bounds how many paths have a hazard of one kind; one is enough for what
// follows from it.
const maxNamed = 20

// notShown notes a file of which the content is not in the text.
func (s *summary) notShown(name string) {
	if s.cut++; s.cut <= maxNamed {
		s.hazard(HazardNotShown, "the change of "+quoted(name)+" is too large to be shown whole")
	}
}

// look notes what a reviewer must not miss about a path.
func (s *summary) look(c sandbox.Change, name string) {
	if s.startup != nil && s.startup(c.Path) && c.Op != sandbox.OpTouch && !isFolder(c) {
		if s.starts++; s.starts <= maxNamed {
			s.hazard(HazardStartup, quoted(name)+" is what an agent or a shell obeys each time that it starts")
		}
	}
	if c.After == nil {
		return
	}
	set := c.After.Mode&0o6000 != 0 && c.After.Type == 'f' && (c.Before == nil || c.Before.Mode&0o6000 != c.After.Mode&0o6000)
	if set {
		s.hazard(HazardSetID, quoted(name)+" would run with the rights of its owner or group")
	}
}

// isFolder reports whether a path is a folder and was nothing else.
func isFolder(c sandbox.Change) bool {
	return (c.After == nil || c.After.Type == 'd') && (c.Before == nil || c.Before.Type == 'd')
}

// stateOf is an entry as effects hold it.
func stateOf(e *sandbox.Entry) guard.State {
	if e == nil {
		return guard.State{Computed: true}
	}
	s := guard.State{Exists: true, Mode: e.Mode, Computed: true}
	switch e.Type {
	case 'f':
		s.Kind, s.Size = "file", e.Size
		if d, err := digest.ParseDigest("sha256:" + e.Sum); err == nil {
			s.SHA256 = d
		}
	case 'd':
		s.Kind = "dir"
	case 'l':
		s.Kind, s.Size, s.SHA256, s.Mode = "symlink", int64(len(e.Target)), digest.Sum([]byte(e.Target)), 0
	}
	return s
}

// compare is the text of one path's change.
func (s *summary) compare(c sandbox.Change, name string) (text []byte, added, removed int, err error) {
	kind := func(e *sandbox.Entry) byte {
		if e == nil {
			return 0
		}
		return e.Type
	}
	if (kind(c.Before) == 'f' || c.Before == nil) && (kind(c.After) == 'f' || c.After == nil) && c.Op != sandbox.OpTouch {
		return s.compareFiles(c, name)
	}
	line := func(format string, args ...any) []byte { return fmt.Appendf(nil, format+"\n", args...) }
	q := quoted(name)
	switch {
	case c.Op == sandbox.OpTouch:
		return line("time of %s changes", q), 0, 0, nil
	case c.Before == nil && kind(c.After) == 'd':
		return line("new folder %s (mode %04o)", q, c.After.Mode), 0, 0, nil
	case c.Before == nil && kind(c.After) == 'l':
		return line("new link %s → %s", q, quoted(c.After.Target)), 0, 0, nil
	case c.After == nil && kind(c.Before) == 'd':
		return line("deleted folder %s", q), 0, 0, nil
	case c.After == nil && kind(c.Before) == 'l':
		return line("deleted link %s → %s", q, quoted(c.Before.Target)), 0, 0, nil
	case kind(c.Before) == 'l' && kind(c.After) == 'l':
		return line("link %s → %s, before → %s", q, quoted(c.After.Target), quoted(c.Before.Target)), 0, 0, nil
	case kind(c.Before) == 'd' && kind(c.After) == 'd':
		return line("folder %s: mode %04o, before %04o", q, c.After.Mode, c.Before.Mode), 0, 0, nil
	case c.After != nil:
		return line("new special file %s", q), 0, 0, nil
	}
	return line("deleted special file %s", q), 0, 0, nil
}

func (s *summary) compareFiles(c sandbox.Change, name string) (text []byte, added, removed int, err error) {
	side := func(e *sandbox.Entry, read func() ([]byte, error)) (diff.File, bool, error) {
		f := diff.File{Path: name}
		if e == nil {
			return f, true, nil
		}
		f.Exists, f.Mode = true, e.Mode
		if e.Size > maxFileText {
			return f, false, nil
		}
		data, err := read()
		f.Data = data
		return f, true, err
	}
	before, small, err := side(c.Before, func() ([]byte, error) { return s.contentBefore(c) })
	if err != nil {
		return nil, 0, 0, err
	}
	after, small2, err := side(c.After, func() ([]byte, error) { return s.contentAfter(c) })
	if err != nil {
		return nil, 0, 0, err
	}
	if !small || !small2 {
		s.notShown(name)
		return fmt.Appendf(nil, "diff --git a/%[1]s b/%[1]s\nlarge file %[1]s: %[2]s\n", quoted(name), sizes(c)), 0, 0, nil
	}
	text, r := diff.Unified(before, after, diff.Options{})
	if len(text) == 0 && c.Op == sandbox.OpModify {
		text = fmt.Appendf(nil, "extended attributes of %s change\n", quoted(name))
	}
	return text, r.Added, r.Removed, nil
}

func sizes(c sandbox.Change) string {
	side := func(e *sandbox.Entry) string {
		if e == nil {
			return "none"
		}
		return fmt.Sprintf("%d bytes, sha256:%s", e.Size, e.Sum)
	}
	return side(c.Before) + " → " + side(c.After)
}

// contentAfter reads what a change leaves at its path.
func (s *summary) contentAfter(c sandbox.Change) ([]byte, error) {
	return io.ReadAll(io.NewSectionReader(s.contents, c.After.At, c.After.Size))
}

// contentBefore reads the real file that a change starts from. What it returns is
// what Before says, or the change is stale.
func (s *summary) contentBefore(c sandbox.Change) ([]byte, error) {
	at := filepath.Join(c.Tree, c.Path)
	fd, err := unix.Open(at, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &sandbox.MovedError{Path: at, What: "it cannot be read: " + err.Error()}
	}
	f := os.NewFile(uintptr(fd), at)
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, max(c.Before.Size, maxFileText)+1))
	if err != nil {
		return nil, &os.PathError{Op: "read", Path: at, Err: err}
	}
	if digest.Sum(data).String() != "sha256:"+c.Before.Sum && !s.alike(c.Before.Sum, data) {
		return nil, &sandbox.MovedError{Path: at, What: "its content is different"}
	}
	return data, nil
}
