package effect

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// The kinds of effect that can be computed.
const (
	FileRead      = "file.read" // changes nothing; its paths are held to the workspace
	FileWrite     = "file.write"
	FileAppend    = "file.append"
	FileEdit      = "file.edit"
	FileMove      = "file.move"
	FileDelete    = "file.delete"
	DirCreate     = "dir.create"
	DocumentPatch = "document.patch" // RFC 6902 on a JSON, YAML or TOML file
	Opaque        = "opaque"         // not computed; the arguments are approved
)

// The dialects: how exactly a server does what it does.
const (
	// DialectGeneric is a server of which nothing is known: content is written
	// as given, an edit replaces text that is there exactly once.
	DialectGeneric = ""
	// DialectWorkspace is the built-in server.
	DialectWorkspace = "workspace"
	// DialectFilesystem is @modelcontextprotocol/server-filesystem.
	DialectFilesystem = "server-filesystem"
)

// Spec is an effect as a configuration binds it.
type Spec struct {
	Kind    string
	Params  map[string]string // parameter → expression
	Dialect string
	// Proven says that the dialect was compared with the version of the server
	// at hand. Without it a known server's effect is not computed: the call is
	// opaque, its paths are still held to the workspace.
	Proven bool
	// Record is set for the kinds json.*, and for no other.
	Record *RecordSpec
}

// Input is what a plan may depend on besides the disk.
type Input struct {
	Call  guard.ToolCall
	Roots []string // workspace folders, absolute, in the order in which relative paths are tried
	Vars  *expr.Vars
	// ServerRoots are the folders that the server itself was given, where they
	// are known and may differ from Roots. A relative path must mean the same
	// under both.
	ServerRoots []string
	// Home is the server's home folder; without it a path that begins with ~ is
	// refused.
	Home string
	// Reader reads records through the server. Without it no effect is computed
	// on a record that a tool reads.
	Reader Reader
}

// param is one parameter of a kind.
type param struct {
	name     string
	want     expr.Type
	optional bool
}

// params returns the parameters of a kind; ok is false for unknown kinds.
func params(kind string) (list []param, ok bool) {
	dry := param{"dry_run", expr.Bool, true}
	path := param{name: "path", want: expr.String}
	switch kind {
	case FileRead:
		return []param{{name: "path", want: expr.StringList}}, true
	case FileWrite, FileAppend:
		return []param{path, {name: "content", want: expr.String}, dry}, true
	case FileEdit:
		return []param{path, {"edits", expr.Dyn, true}, {"old", expr.String, true}, {"new", expr.String, true}, {"all", expr.Bool, true}, dry}, true
	case FileMove:
		return []param{{name: "source", want: expr.String}, {name: "destination", want: expr.String}, dry}, true
	case FileDelete, DirCreate:
		return []param{path, dry}, true
	case DocumentPatch:
		return []param{path, {name: "patch", want: expr.Dyn}, dry}, true
	case Opaque:
		return []param{{"path", expr.StringList, true}, dry}, true
	case NotebookEdit:
		return notebookParams(), true
	case Exec:
		return execParams(), true
	case HTTP:
		return httpParams(), true
	case JSONReplace, JSONMerge, JSONPatch:
		return recordParams(kind), true
	case Message:
		return messageParams(), true
	case SQL:
		return sqlParams(), true
	}
	return nil, false
}

// Kinds lists the kinds that Compile knows, for messages and schemas.
func Kinds() []string {
	return []string{FileRead, FileWrite, FileAppend, FileEdit, FileMove, FileDelete, DirCreate, DocumentPatch, NotebookEdit, JSONReplace, JSONMerge, JSONPatch, Exec, HTTP, Message, SQL, Opaque}
}

// Params lists the parameters of a kind and which of them may be left out.
func Params(kind string) (required, optional []string) {
	list, _ := params(kind)
	for _, p := range list {
		if p.optional {
			optional = append(optional, p.name)
		} else {
			required = append(required, p.name)
		}
	}
	return required, optional
}

// Binding ties a tool's arguments to an effect. It is immutable and safe for
// concurrent use.
type Binding struct {
	kind     string
	dialect  string
	unproven bool
	params   map[string]*expr.Program
	record   *record // of the kinds json.*
}

// Compile checks a spec. The error names the kind or the parameter at fault; a
// fault in an expression is an *expr.Error inside it.
func Compile(env *expr.Env, s Spec) (*Binding, error) {
	list, ok := params(s.Kind)
	if !ok {
		return nil, fmt.Errorf("unknown effect %q; known are %s", s.Kind, strings.Join(Kinds(), ", "))
	}
	if recordParam(s.Kind) != "" {
		return compileRecord(env, s)
	}
	switch s.Dialect {
	case DialectGeneric, DialectWorkspace, DialectFilesystem, DialectClaude:
	default:
		return nil, fmt.Errorf("unknown dialect %q of effect %s", s.Dialect, s.Kind)
	}
	if s.Kind == NotebookEdit && s.Dialect != DialectClaude {
		return nil, fmt.Errorf("effect %s is known of Claude Code's own tool alone", s.Kind)
	}
	b := &Binding{kind: s.Kind, dialect: s.Dialect, params: map[string]*expr.Program{}}
	b.unproven = s.Dialect == DialectFilesystem && !s.Proven && s.Kind != FileRead && s.Kind != Opaque
	for _, p := range list {
		src, given := s.Params[p.name]
		if !given && p.optional {
			continue
		}
		if !given {
			return nil, fmt.Errorf("effect %s needs %q", s.Kind, p.name)
		}
		prog, err := env.Compile(src, p.want)
		if err != nil {
			return nil, fmt.Errorf("effect %s, %s: %w", s.Kind, p.name, err)
		}
		b.params[p.name] = prog
	}
	names := make([]string, 0, len(s.Params))
	for name := range s.Params {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !slices.ContainsFunc(list, func(p param) bool { return p.name == name }) {
			return nil, fmt.Errorf("effect %s has no parameter %q", s.Kind, name)
		}
	}
	var err error
	switch s.Kind {
	case FileEdit:
		err = checkEditParams(b.params)
	case Exec:
		err = checkExecParams(b.params)
	case Message:
		err = checkMessageParams(b.params)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// checkEditParams demands either a list of edits or one old and new text.
func checkEditParams(p map[string]*expr.Program) error {
	_, edits := p["edits"]
	_, old := p["old"]
	_, repl := p["new"]
	if _, all := p["all"]; all && edits {
		return errors.New(`effect file.edit takes "all" beside "old" and "new" only`)
	}
	if edits == old || old != repl {
		return errors.New(`effect file.edit needs either "edits", or "old" and "new"`)
	}
	return nil
}

// Kind returns the kind in force: what an unproven server does is opaque.
func (b *Binding) Kind() string {
	if b.unproven {
		return Opaque
	}
	return b.kind
}

// Declared returns the kind that the configuration names.
func (b *Binding) Declared() string { return b.kind }

// Changes reports whether this call would change anything: it is false for
// reads and for calls that ask for a trial run.
func (b *Binding) Changes(in Input) (bool, error) {
	if b.kind == FileRead {
		return false, nil
	}
	prog, ok := b.params["dry_run"]
	if !ok || b.unproven {
		return true, nil
	}
	dry, err := prog.Bool(in.Vars)
	if err != nil {
		return true, fmt.Errorf("effect %s, dry_run: %w", b.kind, err)
	}
	return !dry, nil
}

func (b *Binding) text(in Input, name string) (string, error) {
	s, err := b.params[name].String(in.Vars)
	if err != nil {
		return "", fmt.Errorf("effect %s, %s: %w", b.kind, name, err)
	}
	return s, nil
}

// paths returns the paths that the call names, the one that is written first.
func (b *Binding) paths(in Input) ([]string, error) {
	if b.kind == FileMove {
		src, err := b.text(in, "source")
		if err != nil {
			return nil, err
		}
		dst, err := b.text(in, "destination")
		return []string{src, dst}, err
	}
	prog, ok := b.params["path"]
	if !ok {
		return nil, nil
	}
	list, err := prog.Strings(in.Vars)
	if err != nil {
		return nil, fmt.Errorf("effect %s, path: %w", b.kind, err)
	}
	return list, nil
}

// maxEdits bounds the edits of one call.
const maxEdits = 10_000

// edits returns the replacements that the call asks for.
func (b *Binding) edits(in Input) ([]edit, error) {
	if _, ok := b.params["edits"]; !ok {
		old, err := b.text(in, "old")
		if err != nil {
			return nil, err
		}
		repl, err := b.text(in, "new")
		if err != nil {
			return nil, err
		}
		e := edit{old: old, new: repl}
		if prog, ok := b.params["all"]; ok {
			if e.all, err = prog.Bool(in.Vars); err != nil {
				return nil, fmt.Errorf("effect %s, all: %w", b.kind, err)
			}
		}
		return []edit{e}, nil
	}
	v, err := b.params["edits"].Any(in.Vars)
	if err != nil {
		return nil, fmt.Errorf("effect %s, edits: %w", b.kind, err)
	}
	list, ok := v.([]any)
	if !ok {
		return nil, refusePlan("give a list of edits", "the edits are not a list")
	}
	if len(list) > maxEdits {
		return nil, refusePlan("send fewer edits in one call", "%d edits were given; at most %d are taken", len(list), maxEdits)
	}
	out := make([]edit, len(list))
	for i, x := range list {
		if out[i], err = oneEdit(i, x); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// oneEdit reads {oldText, newText} or {old_text, new_text, replace_all}. A
// member that is not known could change what the server does, so it is refused.
func oneEdit(i int, v any) (e edit, err error) {
	m, ok := v.(map[string]any)
	if !ok {
		return e, refusePlan("give edits as objects", "edit %d is not an object", i+1)
	}
	var old, repl bool
	for name, v := range m {
		switch name {
		case "oldText", "old_text", "old_string":
			old = !old
			e.old, ok = v.(string)
		case "newText", "new_text", "new_string":
			repl = !repl
			e.new, ok = v.(string)
		case "replaceAll", "replace_all":
			e.all, ok = v.(bool)
		default:
			ok = false
		}
		if !ok {
			return e, refusePlan("give the old and the new text as strings", "edit %d has a member that is not understood", i+1)
		}
	}
	if !old || !repl {
		return e, refusePlan("give the old and the new text", "edit %d lacks its old or its new text", i+1)
	}
	return e, nil
}
