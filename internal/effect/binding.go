package effect

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Dialects: the exact behavior of a server.
const (
	// DialectGeneric is a server about which nothing is known: content is written
	// as given, and an edit replaces text that occurs exactly once.
	DialectGeneric = ""
	// DialectWorkspace is the built-in server.
	DialectWorkspace = "workspace"
	// DialectFilesystem is @modelcontextprotocol/server-filesystem.
	DialectFilesystem = "server-filesystem"
)

// Spec is an effect as a configuration declares it.
type Spec struct {
	Kind    string
	Params  map[string]string // parameter → expression
	Dialect string
	// Proven says that the dialect was checked against this version of the server.
	// Otherwise the effect of a known server is not computed: the call is opaque,
	// and its paths must still lie in the workspace.
	Proven bool
	// Record is set for the json.* kinds only.
	Record *RecordSpec
}

// Input is everything that a plan may depend on besides the disk.
type Input struct {
	Call  guard.ToolCall
	Roots []string // workspace folders, absolute, in the order in which relative paths are tried
	Vars  *expr.Vars
	// ServerRoots are the folders given to the server itself, where they are known
	// and may differ from Roots. A relative path must mean the same under both.
	ServerRoots []string
	// Home is the server's home folder. If it is empty, a path that begins with ~
	// is refused.
	Home string
	// Reader reads records through the server. If it is nil, no effect is computed
	// on a record that a tool reads.
	Reader Reader
	// Memo saves repeated work when a call is planned again over the same bytes. It
	// may be nil.
	Memo *Memo
	// Commands runs commands in a sandbox. If it is nil, a command is shown by its
	// text.
	Commands Commands
	// Changed lists the files that the run of this call has changed so far, by
	// absolute path with all links resolved. It may be nil.
	Changed func() ([]string, error)
}

// Binding maps a tool's arguments to an effect. It is immutable and safe for
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

// compile compiles the parameters. Only the one that computes the new record may
// refer to the record.
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

// Kind returns the kind in force. The effect of an unproven server is opaque.
func (b *Binding) Kind() string { return b.inForce().about().Name }

func (b *Binding) inForce() kind {
	if b.unproven {
		return opaque{}
	}
	return b.kind
}

// Declared returns the kind named in the configuration.
func (b *Binding) Declared() string { return b.about.Name }

// ReadOnly reports whether no call of this binding can change anything.
func (b *Binding) ReadOnly() bool { return b.about.ReadOnly }

// Changes reports whether this call would change anything. It is false for reads
// and for dry runs.
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

// has reports whether a parameter is set.
func (b *Binding) has(name string) bool { return b.params[name] != nil }

// text evaluates a parameter that is set.
func (b *Binding) text(in Input, name string) (string, error) {
	s, err := b.params[name].String(in.Vars)
	if err != nil {
		return "", fmt.Errorf("effect %s, %s: %w", b.about.Name, name, err)
	}
	return s, nil
}

// texts evaluates the parameters that are set, each into its target.
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

// flag evaluates a condition; it is false if not set.
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

// value evaluates a parameter to any JSON value; it is nil if not set.
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
