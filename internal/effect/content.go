package effect

import (
	"bytes"
	"context"
	"fmt"
	"path"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/document"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// contentKind is a kind that gives one file new content. Kinds differ in how the
// new content is computed from the old content and the call.
type contentKind struct {
	onFiles
	name     string
	params   []param // besides the path and dry_run
	required func(Spec) error
	verb     string                    // for a change to an existing file, used in its summary
	whole    bool                      // the new content does not depend on the old
	creates  func(dialect string) bool // may create a missing file; nil means never
	fill     func(b *Binding, in Input, c *content) error
}

func (k contentKind) about() About {
	list := append([]param{{name: "path", want: expr.String}}, k.params...)
	return About{Name: k.name, params: append(list, dryRun), paths: []string{"path"}, check: k.required}
}

func (k contentKind) resolve(ctx context.Context, b *Binding, in Input) (resolved, error) {
	return b.files(ctx, in, naming{paths: []string{"path"}, follow: followsToWrite})
}

func (k contentKind) plan(_ context.Context, b *Binding, in Input, at resolved) (guard.Preview, error) {
	c, err := k.content(b, in, at.places[0])
	if err != nil {
		return guard.Preview{}, err
	}
	c.memo = in.Memo
	p, err := k.present(b, c)
	if err != nil {
		return guard.Preview{}, err
	}
	addSideEffects(&p, at.places[0])
	return p, nil
}

func (k contentKind) work(_ context.Context, b *Binding, in Input, at resolved) (Work, error) {
	c, err := k.content(b, in, at.places[0])
	return Work{Op: WriteContent, Before: c.stateBefore(), Content: c.after, Mode: c.mode}, err
}

// content returns a file with its old and new content.
func (k contentKind) content(b *Binding, in Input, p resolvedPath) (content, error) {
	if err := k.check(b, p); err != nil {
		return content{}, err
	}
	c := content{resolvedPath: p}
	if p.exists {
		var err error
		if c.before, c.stat, err = p.read(MaxText); err != nil {
			return content{}, err
		}
		if c.stat.dev != p.stat.dev || c.stat.ino != p.stat.ino {
			return content{}, p.unreadable(errGone)
		}
	}
	if _, e := document.DecodeText(c.before); e.Wide() && !k.whole {
		// fail closed: whatever takes it for UTF-8 would spoil it
		return content{}, refuseWide(p, e)
	}
	if err := k.fill(b, in, &c); err != nil {
		return content{}, err
	}
	if len(c.after) > MaxText {
		return content{}, refusePlan("write less at once", "%q would have %d bytes; at most %d are compared", p.rel(), len(c.after), MaxText)
	}
	c.mode = b.modeAfter(p, c.stat)
	if p.exists && b.replaces() {
		var err error
		if c.attributes, err = p.attributes(); err != nil {
			return content{}, err
		}
	}
	return c, nil
}

// refuseWide refuses to change part of a file whose encoding the tools do not keep.
// Converting it is not the agent's decision: other programs read the file.
func refuseWide(p resolvedPath, e document.Encoding) *Refusal {
	return refusePlan("ask the user to make this change, in the file's own encoding", "%q is %s, which this tool does not write", p.rel(), e)
}

// content is a file before and after a change. mode is 0 if it is not predicted.
type content struct {
	resolvedPath
	stat          stat // of the file before; zero if it is new
	before, after []byte
	mode          uint32
	attributes    []string // extended attributes that are lost, for display
	open          bool     // the client chooses a part of after: it is shown but not predicted
	hazards       []guard.Hazard
	memo          *Memo
}

// texts is a content as people read it.
type texts struct {
	before, after []byte
	from, to      document.Encoding
}

func (c content) asText() (v texts) {
	v.before, v.from = document.DecodeText(c.before)
	v.after, v.to = document.DecodeText(c.after)
	return v
}

// wide returns UTF-16 as the encoding if either side has it.
func (v texts) wide() document.Encoding {
	if v.from.Wide() {
		return v.from
	}
	return v.to
}

func (c content) stateBefore() guard.State {
	if !c.exists {
		return guard.State{Computed: true}
	}
	return guard.State{Exists: true, Kind: stateFile, SHA256: digest.Sum(c.before), Size: int64(len(c.before)), Mode: c.stat.perm(), Computed: true}
}

// check refuses what cannot be written as a file.
func (k contentKind) check(b *Binding, p resolvedPath) error {
	switch {
	case p.exists && p.stat.isDir():
		return refusePlan("name a file", "%q is a folder", p.rel())
	case p.exists && p.stat.isLink():
		return refusePlan("write to what it leads to", "%q is a symbolic link, which the tool does not write", p.rel())
	case p.missing > 1 && b.dialect != DialectClaude:
		return refusePlan("create the folder first", "the folder %q is not there", path.Dir(p.rel()))
	case !p.exists && (k.creates == nil || !k.creates(b.dialect)):
		return refusePlan(listFirst, "%q is not there", p.rel())
	case b.dialect == DialectFilesystem && p.exists && len(p.names[len(p.names)-1])+nodeTemp > maxName:
		return refusePlan("use a shorter name", "the name of %q is too long for the server to write it", p.rel())
	}
	return nil
}

// modeAfter predicts the permission bits after a write; 0 means unknown.
func (b *Binding) modeAfter(p resolvedPath, st stat) uint32 {
	switch b.dialect {
	case DialectFilesystem:
		if p.exists {
			return st.perm() & 0o777
		}
		return 0 // depends on the server's umask
	case DialectWorkspace:
		if p.exists {
			return st.perm()
		}
		return NewFileMode
	case DialectClaude:
		if p.exists {
			return st.perm()
		}
		return 0 // depends on the client's umask
	}
	return 0
}

// The permission bits that the built-in server gives what it creates.
const (
	NewFileMode   = 0o644
	NewFolderMode = 0o755
)

// replaces reports whether a write replaces the old file with a new one.
func (b *Binding) replaces() bool { return b.dialect != DialectGeneric }

// present renders a change to one file's content.
func (k contentKind) present(b *Binding, c content) (guard.Preview, error) {
	name := c.rel()
	v := c.asText()
	before := diff.File{Path: name, Data: v.before, Exists: c.exists, Mode: c.stat.perm()}
	after := diff.File{Path: name, Data: v.after, Exists: true, Mode: c.mode}
	if c.exists && c.mode == 0 {
		after.Mode = before.Mode
	}
	text, result := diff.Unified(before, after, diff.Options{})
	if len(text) == 0 && !bytes.Equal(c.before, c.after) {
		text = fmt.Appendf(nil, "the text of %s stays, its encoding changes\n", c.shown())
	}
	e := guard.Effect{
		Kind:     k.name,
		Resource: c.target(true),
		Before:   c.stateBefore(),
		After:    guard.State{Exists: true, Kind: stateFile, SHA256: digest.Sum(c.after), Size: int64(len(c.after)), Mode: c.mode, Computed: true},
		Diff:     digest.Sum(text),
	}
	if c.open {
		e.After = guard.State{Exists: true, Kind: stateFile}
	}
	change := guard.Change{Type: guard.ChangeUnified, Text: string(text), Added: result.Added, Removed: result.Removed}
	s, err := c.memo.structural(name, v.before, v.after, c.exists)
	if err != nil {
		return guard.Preview{}, err
	}
	change.Patch, change.Preview = s.patch, s.preview
	if len(s.patch) > 0 {
		change.Type = guard.ChangeJSONDiff // the text together with its values
	}
	sides := s.sides
	if v.from.Wide() || v.to.Wide() {
		sides = append(sides, guard.SideEffect{Text: "the text is shown decoded: it is " + string(v.wide())})
	}
	if c.missing > 1 {
		sides = append(sides, guard.SideEffect{Text: "creates the folder " + oneLine(path.Dir(name))})
	}
	return guard.Preview{
		SideEffects: sides,
		Effects:     []guard.Effect{e},
		Change:      change,
		Hazards:     append(s.hazards, b.contentHazards(c, v, result, len(text))...),
		Summary:     k.summary(c, result, len(text) == 0),
	}, nil
}

func (k contentKind) summary(c content, r diff.Result, same bool) string {
	switch {
	case same:
		return "no change to " + c.shown()
	case !c.exists:
		return "create " + c.shown() + counts(r)
	}
	return k.verb + " " + c.shown() + counts(r)
}
