package effect

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Plan computes what the call would do from what is on disk now. targets are
// those that Resolve returned; if the names lead elsewhere by now, the call is
// refused. The result depends on the input and the disk alone.
func (b *Binding) Plan(ctx context.Context, in Input, targets []guard.Target) (guard.Preview, error) {
	if b.record != nil {
		return b.planRecord(ctx, in, targets)
	}
	places, err := b.places(ctx, in)
	if err != nil {
		return guard.Preview{}, err
	}
	if !slices.Equal(b.targets(in, places), targets) {
		// fail closed: rules were applied to other names
		return guard.Preview{}, refusePath(readAgain, "the path leads elsewhere than it did a moment ago")
	}
	var p guard.Preview
	changes, err := b.Changes(in)
	switch {
	case err != nil:
		return guard.Preview{}, err
	case b.Kind() == Opaque:
		p, err = b.planOpaque(in, places)
	case b.kind == Exec:
		return b.planExec(in, targets)
	case b.kind == HTTP:
		return b.planHTTP(in, targets)
	case b.kind == Message:
		if p, err = b.planMessage(ctx, in, targets); err == nil {
			err = b.unspoken(in, &p)
		}
		if err != nil {
			return guard.Preview{}, err
		}
		return p, nil
	case b.kind == SQL:
		return b.planSQL(in, targets)
	case !changes:
		p, err = b.planNothing(in, places)
	case b.kind == FileMove:
		p, err = b.planMove(ctx, places[0], places[1])
	case b.kind == FileDelete:
		p, err = b.planDelete(ctx, places[0])
	case b.kind == DirCreate:
		p, err = b.planFolder(places[0])
	default:
		p, err = b.planContent(in, places[0])
	}
	if err != nil {
		return guard.Preview{}, err
	}
	if changes && b.Kind() != Opaque {
		b.besides(&p, places)
	}
	p.Hazards = append(p.Hazards, nameHazards(places)...)
	for _, pl := range places {
		if pl.linked && b.kind != FileRead {
			p.Hazards = append(p.Hazards, guard.Hazard{Kind: HazardLink, Text: fmt.Sprintf("the path leads through a symbolic link to %q", pl.rel())})
		}
	}
	return p, nil
}

// planOpaque shows the arguments, for nothing else is known.
func (b *Binding) planOpaque(in Input, places []place) (guard.Preview, error) {
	text, err := prettyArgs(in)
	if err != nil {
		return guard.Preview{}, err
	}
	hazards := []guard.Hazard{{Kind: HazardOpaque, Text: "effect not computed; you approve the arguments"}}
	if b.unproven {
		hazards = append(hazards, guard.Hazard{Kind: HazardUnproven, Text: "this version of the server was not compared with what the guard knows of it"})
	}
	targets := b.targets(in, places)
	effects := make([]guard.Effect, len(targets))
	for i, t := range targets {
		effects[i] = guard.Effect{Kind: Opaque, Resource: t, Diff: digest.Sum([]byte(text))}
	}
	return guard.Preview{
		Effects: effects,
		Change:  guard.Change{Type: guard.ChangeOpaque, Text: text},
		Hazards: append(hazards, textHazards([]byte(text))...),
		Summary: "call " + in.Call.Tool + pathList(places),
	}, nil
}

// planNothing is the preview of a read or of a trial run.
func (b *Binding) planNothing(in Input, places []place) (guard.Preview, error) {
	text, err := prettyArgs(in)
	if err != nil {
		return guard.Preview{}, err
	}
	verb := "read"
	if b.kind != FileRead {
		verb = "trial run of " + in.Call.Tool + " on"
	}
	return guard.Preview{
		Effects: []guard.Effect{},
		Change:  guard.Change{Type: guard.ChangeOpaque, Text: text},
		Summary: verb + pathList(places),
	}, nil
}

func prettyArgs(in Input) (string, error) {
	var out bytes.Buffer
	if err := json.Indent(&out, in.Call.ArgsCanonical, "", "  "); err != nil {
		return "", fmt.Errorf("showing the arguments: %w", err)
	}
	return out.String() + "\n", nil
}

// pathList names the places for a summary.
func pathList(places []place) string {
	switch len(places) {
	case 0:
		return ""
	case 1:
		return " " + places[0].shown()
	}
	return fmt.Sprintf(" %s and %d more", places[0].shown(), len(places)-1)
}

// planContent is the preview of everything that gives one file new content.
func (b *Binding) planContent(in Input, p place) (guard.Preview, error) {
	c, err := b.contentOf(in, p)
	if err != nil {
		return guard.Preview{}, err
	}
	return b.present(c)
}

// contentOf reads a file and computes what it would hold.
func (b *Binding) contentOf(in Input, p place) (content, error) {
	if err := b.checkContentTarget(p); err != nil {
		return content{}, err
	}
	c := content{place: p}
	if p.exists {
		var err error
		if c.before, c.stat, err = p.read(MaxText); err != nil {
			return content{}, err
		}
		if c.stat.dev != p.stat.dev || c.stat.ino != p.stat.ino {
			return content{}, p.unreadable(errGone)
		}
	}
	if err := b.fill(in, &c); err != nil {
		return content{}, err
	}
	if len(c.after) > MaxText {
		return content{}, refusePlan("write less at once", "%q would have %d bytes; at most %d are compared", p.rel(), len(c.after), MaxText)
	}
	c.mode = b.modeAfter(p, c.stat)
	return c, nil
}

// content is a file before and after. mode is 0 where it is not predicted.
type content struct {
	place
	stat          stat // of the file before, zero where it is new
	before, after []byte
	mode          uint32
	open          bool // a part of after is the client's to choose: it is shown, and not predicted
	hazards       []guard.Hazard
}

func (c content) stateBefore() guard.State {
	if !c.exists {
		return guard.State{Computed: true}
	}
	return guard.State{Exists: true, Kind: stateFile, SHA256: digest.Sum(c.before), Size: int64(len(c.before)), Mode: c.stat.perm(), Computed: true}
}

// checkContentTarget refuses what cannot be written as a file.
func (b *Binding) checkContentTarget(p place) error {
	switch {
	case p.exists && p.stat.isDir():
		return refusePlan("name a file", "%q is a folder", p.rel())
	case p.exists && p.stat.isLink():
		return refusePlan("write to what it leads to", "%q is a symbolic link, which the tool does not write", p.rel())
	case p.missing > 1 && b.dialect != DialectClaude:
		return refusePlan("create the folder first", "the folder %q is not there", path.Dir(p.rel()))
	case !p.exists && b.kind == FileEdit && b.dialect == DialectClaude: // an edit without old text makes the file
	case !p.exists && b.kind != FileWrite && (b.kind != FileAppend || b.dialect == DialectFilesystem):
		return refusePlan(listFirst, "%q is not there", p.rel())
	case b.dialect == DialectFilesystem && p.exists && len(p.names[len(p.names)-1])+nodeTemp > maxName:
		return refusePlan("use a shorter name", "the name of %q is too long for the server to write it", p.rel())
	}
	return nil
}

// fill computes the content after the call.
func (b *Binding) fill(in Input, c *content) error {
	switch b.kind {
	case FileWrite, FileAppend:
		s, err := b.text(in, "content")
		if err != nil {
			return err
		}
		if b.dialect == DialectClaude {
			c.after, err = claudeWrite(s, *c)
			return err
		}
		c.after = []byte(s)
		if b.kind == FileAppend {
			c.after = append(slices.Clip(slices.Clone(c.before)), s...)
		}
		return nil
	case FileEdit:
		return b.fillEdit(in, c)
	case NotebookEdit:
		return b.fillNotebook(in, c)
	case DocumentPatch:
		return b.fillPatch(in, c)
	}
	return fmt.Errorf("no plan for effect %q", b.kind)
}

func (b *Binding) fillEdit(in Input, c *content) error {
	edits, err := b.edits(in)
	if err != nil {
		return err
	}
	if err := checkEditWork(len(c.before), edits); err != nil {
		return err
	}
	if b.dialect == DialectClaude {
		if !c.exists && (len(edits) != 1 || edits[0].old != "") {
			return refusePlan(listFirst, "%q is not there", c.rel())
		}
		c.after, err = claudeEdits(*c, edits)
		return err
	}
	if b.dialect != DialectFilesystem {
		c.after, err = exactEdits(c.before, edits, c.rel(), b.dialect == DialectWorkspace)
		return err
	}
	text := decodeUTF8(c.before)
	if text != string(c.before) {
		if len(c.before) > nodeChunk {
			// fail closed: the server decodes piece by piece
			return refusePlan("write the whole file", "%q is large and not valid UTF-8; what the server would make of it is not known", c.rel())
		}
		c.hazards = append(c.hazards, guard.Hazard{Kind: HazardInvalidUTF8, Text: "bytes that are not valid UTF-8 are replaced by U+FFFD and lost"})
	}
	after, err := nodeEdits(lf(text), edits, c.rel())
	c.after = []byte(after)
	return err
}

// nodeChunk is how much of a file Node decodes at once.
const nodeChunk = 512 << 10

// modeAfter predicts the permission bits after a write; 0 means unknown.
func (b *Binding) modeAfter(p place, st stat) uint32 {
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

// replaces reports whether a write puts a new file in the old one's place.
func (b *Binding) replaces() bool { return b.dialect != DialectGeneric }

// present renders a change of one file's content.
func (b *Binding) present(c content) (guard.Preview, error) {
	name := c.rel()
	before := diff.File{Path: name, Data: c.before, Exists: c.exists, Mode: c.stat.perm()}
	after := diff.File{Path: name, Data: c.after, Exists: true, Mode: c.mode}
	if c.exists && c.mode == 0 {
		after.Mode = before.Mode
	}
	text, result := diff.Unified(before, after, diff.Options{})
	e := guard.Effect{
		Kind:     b.kind,
		Resource: c.target(true),
		Before:   c.stateBefore(),
		After:    guard.State{Exists: true, Kind: stateFile, SHA256: digest.Sum(c.after), Size: int64(len(c.after)), Mode: c.mode, Computed: true},
		Diff:     digest.Sum(text),
	}
	if c.open {
		e.After = guard.State{Exists: true, Kind: stateFile}
	}
	change := guard.Change{Type: guard.ChangeUnified, Text: string(text), Added: result.Added, Removed: result.Removed}
	s, err := structural(name, c.before, c.after, c.exists)
	if err != nil {
		return guard.Preview{}, err
	}
	change.Patch, change.Preview = s.patch, s.preview
	if len(s.patch) > 0 {
		change.Type = guard.ChangeJSONDiff // the text, and the values beside it
	}
	sides := s.sides
	if c.missing > 1 {
		sides = append(sides, guard.SideEffect{Text: "creates the folder " + oneLine(path.Dir(name))})
	}
	return guard.Preview{
		SideEffects: sides,
		Effects:     []guard.Effect{e},
		Change:      change,
		Hazards:     append(s.hazards, b.contentHazards(c, result, len(text))...),
		Summary:     b.contentSummary(c, result, len(text) == 0),
	}, nil
}

func (b *Binding) contentSummary(c content, r diff.Result, same bool) string {
	verb := "edit"
	switch {
	case same:
		return "no change to " + c.shown()
	case !c.exists:
		verb = "create"
	case b.kind == FileWrite:
		verb = "overwrite"
	case b.kind == FileAppend:
		verb = "append to"
	}
	return verb + " " + c.shown() + counts(r)
}

// counts is "(+3 −1)", with a real minus sign.
func counts(r diff.Result) string {
	if r.Binary {
		return " (binary)"
	}
	return fmt.Sprintf(" (+%d −%d)", r.Added, r.Removed)
}
