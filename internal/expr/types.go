package expr

import (
	"fmt"
	"reflect"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// field is one member of a record type.
type field[T any] struct {
	name string
	typ  *cel.Type
	get  func(T) any
}

// record is a struct type that expressions see. It tells the checker the names of
// its members, so that a misspelled one is found when the file is loaded.
type record struct {
	typ    *types.Type
	names  []string
	fields map[string]*types.FieldType
}

func newRecord[T any](name string, fields ...field[T]) *record {
	r := &record{typ: types.NewObjectType(name), fields: make(map[string]*types.FieldType, len(fields))}
	for _, f := range fields {
		r.names = append(r.names, f.name)
		r.fields[f.name] = &types.FieldType{
			Type: f.typ,
			IsSet: func(v any) bool {
				_, ok := v.(T)
				return ok
			},
			GetFrom: func(v any) (any, error) {
				t, ok := v.(T)
				if !ok {
					return nil, fmt.Errorf("no %s here", name)
				}
				return f.get(t), nil
			},
		}
	}
	return r
}

// of wraps v, whose Go type must be that of the record.
func (r *record) of(v any) ref.Val { return &object{typ: r.typ, v: v} }

// object is a value of a record type.
type object struct {
	typ *types.Type
	v   any
}

func (o *object) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("%s cannot be turned into %s", o.typ, t)
}

func (o *object) ConvertToType(t ref.Type) ref.Val {
	return types.NewErr("%s cannot be turned into %s", o.typ, t.TypeName())
}

func (o *object) Equal(other ref.Val) ref.Val {
	return types.NewErr("%s cannot be compared", o.typ)
}

func (o *object) Type() ref.Type { return o.typ }
func (o *object) Value() any     { return o.v }

// effectView combines one effect with the line counts of the whole preview.
type effectView struct {
	e *guard.Effect
	p *guard.Preview
}

// runView is the value of `run`.
type runView struct {
	s     *guard.Session
	calls int
}

// records are the struct types of the environment.
type records struct {
	target, effect, run, client *record
}

func newRecords() *records {
	str, num, flag := cel.StringType, cel.IntType, cel.BoolType
	return &records{
		target: newRecord("mcpguard.Target",
			field[*guard.Target]{"kind", str, func(t *guard.Target) any { return t.Kind }},
			field[*guard.Target]{"path", str, func(t *guard.Target) any { return t.Path }},
			field[*guard.Target]{"absolute", str, func(t *guard.Target) any { return t.Key }},
			field[*guard.Target]{"root", str, func(t *guard.Target) any { return t.Root }},
			field[*guard.Target]{"write", flag, func(t *guard.Target) any { return t.Write }},
		),
		effect: newRecord("mcpguard.Effect",
			field[effectView]{"kind", str, func(v effectView) any { return v.e.Kind }},
			field[effectView]{"path", str, func(v effectView) any { return v.e.Resource.Path }},
			field[effectView]{"computed", flag, func(v effectView) any { return v.e.After.Computed }},
			field[effectView]{"existed", flag, func(v effectView) any { return v.e.Before.Exists }},
			field[effectView]{"exists", flag, func(v effectView) any { return v.e.After.Exists }},
			field[effectView]{"size_before", num, func(v effectView) any { return v.e.Before.Size }},
			field[effectView]{"size_after", num, func(v effectView) any { return v.e.After.Size }},
			field[effectView]{"mode", num, func(v effectView) any { return int64(v.e.Before.Mode) }},
			field[effectView]{"executable", flag, func(v effectView) any { return (v.e.Before.Mode|v.e.After.Mode)&0o111 != 0 }},
			field[effectView]{"added", num, func(v effectView) any { return int64(v.p.Change.Added) }},
			field[effectView]{"removed", num, func(v effectView) any { return int64(v.p.Change.Removed) }},
			field[effectView]{"writes", flag, func(v effectView) any { return v.p.Change.SQL == nil || v.p.Change.SQL.Writes }},
			field[effectView]{"tables", cel.ListType(str), func(v effectView) any { return tablesOf(v.p.Change.SQL) }},
			field[effectView]{"recipients", cel.ListType(str), func(v effectView) any { return recipientsOf(v.p.Change.Message) }},
			field[effectView]{"domains", cel.ListType(str), func(v effectView) any { return domainsOf(v.p.Change.Message) }},
			field[effectView]{"host", str, func(v effectView) any { return requestOf(v.p.Change.HTTP).Host }},
			field[effectView]{"method", str, func(v effectView) any { return requestOf(v.p.Change.HTTP).Method }},
			field[effectView]{"programs", cel.ListType(str), func(v effectView) any { return programsOf(v.p.Change.Exec) }},
		),
		run: newRecord("mcpguard.Run",
			field[runView]{"id", str, func(v runView) any { return string(v.s.RunID) }},
			field[runView]{"calls", num, func(v runView) any { return int64(v.calls) }},
		),
		client: newRecord("mcpguard.Client",
			field[*guard.Session]{"name", str, func(s *guard.Session) any { return s.Origin.Client }},
			field[*guard.Session]{"version", str, func(s *guard.Session) any { return s.Origin.Version }},
			field[*guard.Session]{"executable", str, func(s *guard.Session) any { return s.Origin.Executable }},
			field[*guard.Session]{"folder", str, func(s *guard.Session) any { return s.Origin.Folder }},
			field[*guard.Session]{"user", str, func(s *guard.Session) any { return s.Origin.User }},
		),
	}
}

func (r *records) all() []*record { return []*record{r.target, r.effect, r.run, r.client} }

// provider adds the record types to the standard ones.
type provider struct {
	*types.Registry
	byName map[string]*record
}

func newProvider(r *records) (*provider, error) {
	reg, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	p := &provider{Registry: reg, byName: map[string]*record{}}
	for _, x := range r.all() {
		p.byName[x.typ.TypeName()] = x
	}
	return p, nil
}

func (p *provider) FindStructType(name string) (*types.Type, bool) {
	if r, ok := p.byName[name]; ok {
		return types.NewTypeTypeWithParam(r.typ), true
	}
	return p.Registry.FindStructType(name)
}

func (p *provider) FindStructFieldNames(name string) ([]string, bool) {
	if r, ok := p.byName[name]; ok {
		return r.names, true
	}
	return p.Registry.FindStructFieldNames(name)
}

func (p *provider) FindStructFieldType(name, member string) (*types.FieldType, bool) {
	if r, ok := p.byName[name]; ok {
		f, ok := r.fields[member]
		return f, ok
	}
	return p.Registry.FindStructFieldType(name, member)
}

func (p *provider) NewValue(name string, fields map[string]ref.Val) ref.Val {
	if _, ok := p.byName[name]; ok {
		return types.NewErr("%s cannot be made in an expression", name)
	}
	return p.Registry.NewValue(name, fields)
}
