package effect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// TargetRecord is the target kind of a record. Its key is server:tool:arguments of
// the tool that reads it.
const TargetRecord = "record"

// RecordSpec says how a record is read and which of its changes count.
type RecordSpec struct {
	Tool string            // the tool that reads it, T0; or
	File string            // an expression for the path of the file that holds it
	Args map[string]string // of Tool → expression
	At   string            // JSON Pointer into the tool's result or the file
	// Shape says what is compared. No call may set what it ignores.
	Shape jsonvalue.Shape
	// Allow, Ask and Deny are JSON Pointers into the record, with * for any token:
	// a change at or below one of them is allowed, needs approval or is refused.
	Allow, Ask, Deny []string
	Create           bool   // a missing record may be created
	Path             string // of the effect in the configuration, for rule names
}

// Reader calls read-only tools on the server that a call goes to.
type Reader interface {
	// ReadTool returns the result of one call, a JSON object. args is a JSON object
	// too. A *Refusal says why there is no result; any other error is that of ctx.
	ReadTool(ctx context.Context, tool string, args []byte) ([]byte, error)
}

// record is a compiled RecordSpec.
type record struct {
	spec     RecordSpec
	names    []string // of arguments, sorted
	args     []*expr.Program
	paths    pathRules
	ignored  []pattern
	unproven bool
}

// compileRecord compiles how the effect's record is read.
func (b *Binding) compileRecord(env *expr.Env, s Spec) error {
	if s.Record == nil {
		return fmt.Errorf("effect %s does not say how its record is read", s.Kind)
	}
	b.record = &record{spec: *s.Record, unproven: !s.Proven}
	return b.record.compile(env, b.params)
}

func (r *record) compile(env *expr.Env, params map[string]*expr.Program) (err error) {
	if (r.spec.Tool == "") == (r.spec.File == "") {
		return errors.New("a record is read with a tool or from a file")
	}
	if r.spec.File != "" {
		if params["path"], err = env.Compile(r.spec.File, expr.String); err != nil {
			return fmt.Errorf("read, file: %w", err)
		}
	}
	r.names = slices.Sorted(maps.Keys(r.spec.Args))
	for _, name := range r.names {
		p, err := env.Compile(r.spec.Args[name], expr.Dyn)
		if err != nil {
			return fmt.Errorf("read, args, %s: %w", name, err)
		}
		r.args = append(r.args, p)
	}
	if _, err := jsonvalue.ParsePointer(r.spec.At); err != nil {
		return fmt.Errorf("at: %w", err)
	}
	if _, _, err := r.spec.Shape.Normal(jsonvalue.Null()); err != nil {
		return err
	}
	if r.ignored, err = patterns(r.spec.Shape.Ignore); err != nil {
		return err
	}
	r.paths, err = compilePaths(r.spec)
	return err
}

// recordRef returns a reference to this call's record that can be stored.
func (b *Binding) recordRef(in Input) (*guard.RecordRef, error) {
	r := b.record
	ref := &guard.RecordRef{Tool: r.spec.Tool, At: r.spec.At, Ignore: r.spec.Shape.Ignore, Keys: r.spec.Shape.Keys}
	if r.spec.Tool == "" {
		return ref, nil
	}
	members := make([]jsonvalue.Member, len(r.names))
	for i, name := range r.names {
		v, err := exactValue(r.args[i], in.Vars)
		if err != nil {
			return nil, fmt.Errorf("effect %s, read, %s: %w", b.about.Name, name, err)
		}
		members[i] = jsonvalue.Member{Name: name, Value: v}
	}
	args, err := jsonvalue.Object(members...)
	if err != nil {
		return nil, fmt.Errorf("effect %s, read: %w", b.about.Name, err)
	}
	if ref.Args, err = args.Canonical(); err != nil {
		return nil, refusePlan("use plain numbers and text in the arguments", "the record's arguments have no canonical form")
	}
	return ref, nil
}

// maxRecordKey is the longest arguments, in bytes, that name a record themselves;
// longer ones are replaced by their digest.
const maxRecordKey = 512

// exactValue evaluates an expression to a JSON value. An argument is passed on as
// decoded, so that every digit is kept.
func exactValue(prog *expr.Program, vars *expr.Vars) (jsonvalue.Value, error) {
	if name, ok := prog.PlainArg(); ok {
		if v := vars.Args.Value.Member(name); v.Present() {
			return v, nil
		}
	}
	x, err := prog.Any(vars)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	raw, err := json.Marshal(x)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	return jsonvalue.Decode(raw)
}
