package effect

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
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
	// Memo spares a call that is planned again the work that depends on the same
	// bytes. It may be nil.
	Memo *Memo
	// Commands runs commands where they can do no harm. Without it a command is
	// shown by its text.
	Commands Commands
}

// Binding ties a tool's arguments to an effect. It is immutable and safe for
// concurrent use.
type Binding struct {
	kind     kind
	about    About
	dialect  string
	unproven bool
	params   map[string]*expr.Program
	record   *record // of kinds that change one
}

// Compile checks a spec. The error names the kind or the parameter at fault; a
// fault in an expression is an *expr.Error inside it.
func Compile(env *expr.Env, s Spec) (*Binding, error) {
	k, ok := kindNamed(s.Kind)
	if !ok {
		return nil, fmt.Errorf("unknown effect %q; known are %s", s.Kind, strings.Join(Kinds(), ", "))
	}
	switch s.Dialect {
	case DialectGeneric, DialectWorkspace, DialectFilesystem, DialectClaude:
	default:
		return nil, fmt.Errorf("unknown dialect %q of effect %s", s.Dialect, s.Kind)
	}
	a := k.about()
	b := &Binding{kind: k, about: a, dialect: s.Dialect, params: map[string]*expr.Program{}}
	b.unproven = s.Dialect == DialectFilesystem && !s.Proven && !a.ReadOnly && !a.blind && a.Record == ""
	if err := b.compile(env, s); err != nil {
		return nil, err
	}
	if a.check != nil {
		if err := a.check(s); err != nil {
			return nil, err
		}
	}
	if a.Record != "" {
		return b, b.compileRecord(env, s)
	}
	return b, nil
}

// compile compiles the parameters. Only the one that says what a record becomes
// may speak of the record.
func (b *Binding) compile(env *expr.Env, s Spec) error {
	for _, p := range b.about.params {
		src, given := s.Params[p.name]
		if !given && p.optional {
			continue
		}
		if !given {
			return fmt.Errorf("effect %s needs %q", s.Kind, p.name)
		}
		from := env
		if p.name == b.about.Record {
			var err error
			if from, err = env.Record(); err != nil {
				return err
			}
		}
		prog, err := from.Compile(src, p.want)
		if err != nil {
			return fmt.Errorf("effect %s, %s: %w", s.Kind, p.name, err)
		}
		b.params[p.name] = prog
	}
	for _, name := range slices.Sorted(maps.Keys(s.Params)) {
		if !slices.ContainsFunc(b.about.params, func(p param) bool { return p.name == name }) {
			return fmt.Errorf("effect %s has no parameter %q", s.Kind, name)
		}
	}
	return nil
}

// Kind returns the kind in force: what an unproven server does is opaque.
func (b *Binding) Kind() string { return b.inForce().about().Name }

func (b *Binding) inForce() kind {
	if b.unproven {
		return opaque{}
	}
	return b.kind
}

// Declared returns the kind that the configuration names.
func (b *Binding) Declared() string { return b.about.Name }

// ReadOnly reports whether no call can change anything.
func (b *Binding) ReadOnly() bool { return b.about.ReadOnly }

// Changes reports whether this call would change anything: it is false for
// reads and for calls that ask for a trial run.
func (b *Binding) Changes(in Input) (bool, error) {
	if b.about.ReadOnly {
		return false, nil
	}
	if b.unproven {
		return true, nil
	}
	dry, err := b.flag(in, dryRun.name)
	if err != nil {
		return true, err
	}
	return !dry, nil
}

// has reports whether a parameter is given.
func (b *Binding) has(name string) bool { return b.params[name] != nil }

// text evaluates a parameter that is given.
func (b *Binding) text(in Input, name string) (string, error) {
	s, err := b.params[name].String(in.Vars)
	if err != nil {
		return "", fmt.Errorf("effect %s, %s: %w", b.about.Name, name, err)
	}
	return s, nil
}

// texts evaluates the parameters that are given, each into its place.
func (b *Binding) texts(in Input, to map[string]*string) (err error) {
	for _, name := range slices.Sorted(maps.Keys(to)) {
		if !b.has(name) {
			continue
		}
		if *to[name], err = b.text(in, name); err != nil {
			return err
		}
	}
	return nil
}

// flag evaluates a condition, false where it is not given.
func (b *Binding) flag(in Input, name string) (bool, error) {
	if !b.has(name) {
		return false, nil
	}
	on, err := b.params[name].Bool(in.Vars)
	if err != nil {
		return false, fmt.Errorf("effect %s, %s: %w", b.about.Name, name, err)
	}
	return on, nil
}

// value evaluates a parameter to any JSON value, nil where it is not given.
func (b *Binding) value(in Input, name string) (any, error) {
	if !b.has(name) {
		return nil, nil
	}
	v, err := b.params[name].Any(in.Vars)
	if err != nil {
		return nil, fmt.Errorf("effect %s, %s: %w", b.about.Name, name, err)
	}
	return v, nil
}
