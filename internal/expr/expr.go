package expr

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
)

// Limits of an expression. The run limit lets one `contains` search 16 MiB of
// arguments, and stops well under a second.
const (
	maxSource   = 4096       // characters
	maxNodes    = 1000       // nodes of the syntax tree
	maxDepth    = 64         // nesting
	compileCost = 50_000_000 // estimated for arguments of ordinary size
	runCost     = 5_000_000
	// For expressions over a document, which may read all of it many times: at most
	// two seconds.
	documentCost = 20_000_000
)

// Limits on the values that an evaluation creates. The engine counts elements, ten
// bytes of text being one, and treats what it cannot fully count as too large. Its
// own limits are five levels and ten thousand values.
const (
	runMemory   = 16 << 20 // elements
	countDepth  = 256
	countValues = 4 << 20
	countEvery  = 1000 // iterations of a loop
)

// memory passes the limits on values to the engine.
func memory() cel.ProgramOption {
	return cel.MemoryTracking(types.MemoryTrackerLimit(runMemory), types.MemoryTrackerSampleInterval(countEvery),
		types.MemoryTrackerSizeCalculator(types.NewSizeCalculator(types.SizeCalculatorMaxDepth(countDepth), types.SizeCalculatorMaxTraversal(countValues))))
}

// Type is the type that an expression must yield.
type Type uint8

// The types that a caller may ask for.
const (
	Dyn        Type = iota // any JSON value
	Bool                   // true or false
	String                 // one string
	StringList             // one string, or a list of strings
)

// String names the type as a message spells it.
func (t Type) String() string {
	switch t {
	case Bool:
		return "true or false"
	case String:
		return "a string"
	case StringList:
		return "a string or a list of strings"
	}
	return "a value"
}

// Env compiles expressions. It is immutable and safe for concurrent use.
type Env struct {
	cel     *cel.Env
	records *records
	adapter types.Adapter
	// unestimated is set if the cost is bounded at run time only.
	unestimated bool
}

// shared builds the environment once: that takes milliseconds and a few hundred
// kilobytes, and the result never changes.
var shared = sync.OnceValues(build)

// New returns the environment. All callers share one, built on first use.
func New() (*Env, error) { return shared() }

func build() (*Env, error) {
	r := newRecords()
	p, err := newProvider(r)
	if err != nil {
		return nil, fmt.Errorf("building the expression environment: %w", err)
	}
	opts := []cel.EnvOption{
		cel.CustomTypeProvider(p),
		cel.CustomTypeAdapter(p.Registry),
		cel.ParserRecursionLimit(maxDepth),
		cel.ParserExpressionSizeLimit(maxSource),
		cel.ExpressionNodeLimit(maxNodes),
		cel.ExpressionNestingDepthLimit(maxDepth),
		cel.CrossTypeNumericComparisons(true),
		cel.Variable("args", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("target", r.target.typ),
		cel.Variable("targets", cel.ListType(r.target.typ)),
		cel.Variable("effect", r.effect.typ),
		cel.Variable("tool", cel.StringType),
		cel.Variable("server", cel.StringType),
		cel.Variable("tenant", cel.StringType),
		cel.Variable("environment", cel.StringType),
		cel.Variable("workflow", cel.StringType),
		cel.Variable("run", r.run.typ),
		cel.Variable("client", r.client.typ),
		ext.Strings(ext.StringsVersion(2)),
	}
	env, err := cel.NewEnv(append(opts, pathFunctions()...)...)
	if err != nil {
		return nil, fmt.Errorf("building the expression environment: %w", err)
	}
	return &Env{cel: env, records: r, adapter: p.Registry}, nil
}

// Error is a fault in an expression. Line and Column count from 1, Column in
// characters; Offset is a byte offset into Source.
type Error struct {
	Source       string
	Line, Column int
	Offset       int
	Message      string
}

func (e *Error) Error() string { return e.Message }

// Program is a compiled expression. It is immutable and safe for concurrent use.
type Program struct {
	env  *Env
	src  string
	prog cel.Program
	uses map[string]bool

	args  [][]string // see ArgPaths
	plain string     // see PlainArg
}

// Compile checks src against the variables and the wanted type. The error is
// an *Error.
func (e *Env) Compile(src string, want Type) (_ *Program, err error) {
	defer func() {
		if r := recover(); r != nil { // fail closed: a fault of the engine is a fault of the file
			err = &Error{Source: src, Line: 1, Column: 1, Message: "the expression cannot be compiled"}
		}
	}()
	fail := func(format string, args ...any) (*Program, error) {
		return nil, &Error{Source: src, Line: 1, Column: 1, Message: fmt.Sprintf(format, args...)}
	}
	if strings.TrimSpace(src) == "" {
		return fail("the expression is empty")
	}
	if len(src) > maxSource {
		return fail("the expression has %d characters; at most %d are allowed", len(src), maxSource)
	}
	ast, iss := e.cel.Compile(src)
	if iss.Err() != nil {
		return nil, firstIssue(src, iss)
	}
	if got := ast.OutputType(); !yields(got, want) {
		return fail("the expression yields %s; %s is needed", cel.FormatCELType(got), want)
	}
	if !e.unestimated {
		est, err := e.cel.EstimateCost(ast, sizes{})
		if err != nil {
			return fail("the cost of the expression cannot be estimated: %v", err)
		}
		if est.Max > compileCost {
			return fail("the expression may cost too much to evaluate (loops inside loops?)")
		}
	}
	steps := uint64(runCost)
	if e.unestimated {
		steps = documentCost
	}
	prog, err := e.cel.Program(ast, cel.CostLimit(steps), memory())
	if err != nil {
		return fail("the expression cannot be planned: %v", err)
	}
	p := &Program{env: e, src: src, prog: prog, uses: references(ast)}
	p.args, p.plain = argPaths(ast.NativeRep().Expr())
	return p, nil
}

// yields reports whether an expression of type got may be used where want is
// needed. Dynamic types are checked again on each evaluation.
func yields(got *cel.Type, want Type) bool {
	if got.Kind() == types.DynKind || want == Dyn {
		return true
	}
	switch want {
	case Bool:
		return got.Kind() == types.BoolKind
	case String:
		return got.Kind() == types.StringKind
	case StringList:
		if got.Kind() == types.ListKind {
			k := got.Parameters()[0].Kind()
			return k == types.StringKind || k == types.DynKind || k == types.TypeParamKind
		}
		return got.Kind() == types.StringKind
	}
	return false
}

func firstIssue(src string, iss *cel.Issues) error {
	errs := iss.Errors()
	if len(errs) == 0 {
		return &Error{Source: src, Line: 1, Column: 1, Message: iss.Err().Error()}
	}
	x := errs[0]
	line, col := max(x.Location.Line(), 1), max(x.Location.Column()+1, 1)
	return &Error{Source: src, Line: line, Column: col, Offset: offset(src, line, col), Message: x.Message}
}

// offset converts a line and a column in characters to a byte offset.
func offset(src string, line, col int) int {
	start := 0
	for ; line > 1; line-- {
		i := strings.IndexByte(src[start:], '\n')
		if i < 0 {
			return len(src)
		}
		start += i + 1
	}
	n := 1
	for i := range src[start:] {
		if n == col {
			return start + i
		}
		n++
	}
	return len(src)
}

func references(ast *cel.Ast) map[string]bool {
	uses := map[string]bool{}
	for _, r := range ast.NativeRep().ReferenceMap() {
		if r.Name != "" {
			uses[r.Name] = true
		}
	}
	celast.PostOrderVisit(ast.NativeRep().Expr(), celast.NewExprVisitor(func(x celast.Expr) {
		if x.Kind() == celast.CallKind {
			uses[x.AsCall().FunctionName()+"()"] = true
		}
	}))
	return uses
}

// Source returns the text that was compiled.
func (p *Program) Source() string { return p.src }

// Uses reports whether the expression mentions a variable such as "effect", or a
// function, written as "under()".
func (p *Program) Uses(name string) bool { return p.uses[name] }

// eval runs the program; unknowns and panics are errors.
func (p *Program) eval(v *Vars) (out ref.Val, err error) {
	defer func() {
		if r := recover(); r != nil { // fail closed: whatever the engine trips over is no answer
			out, err = nil, fmt.Errorf("evaluating %q: the engine failed: %v", p.src, r)
		}
	}()
	out, _, err = p.prog.Eval(&activation{vars: v, env: p.env})
	if err != nil {
		return nil, fmt.Errorf("evaluating %q: %w", p.src, err)
	}
	if types.IsUnknownOrError(out) {
		return nil, fmt.Errorf("evaluating %q: the value is unknown", p.src)
	}
	return out, nil
}

// Bool evaluates a condition. Anything but true or false is an error.
func (p *Program) Bool(v *Vars) (bool, error) {
	out, err := p.eval(v)
	if err != nil {
		return false, err
	}
	b, ok := out.(types.Bool)
	if !ok {
		return false, p.mismatch(out, Bool)
	}
	return bool(b), nil
}

// String evaluates to one string.
func (p *Program) String(v *Vars) (string, error) {
	out, err := p.eval(v)
	if err != nil {
		return "", err
	}
	s, ok := out.(types.String)
	if !ok {
		return "", p.mismatch(out, String)
	}
	return string(s), nil
}

// Strings evaluates to a list of strings; a single string becomes a list of one.
func (p *Program) Strings(v *Vars) ([]string, error) {
	out, err := p.eval(v)
	if err != nil {
		return nil, err
	}
	switch out := out.(type) {
	case types.String:
		return []string{string(out)}, nil
	case traits.Lister:
		list := []string{}
		for it := out.Iterator(); it.HasNext() == types.True; {
			x := it.Next()
			s, ok := x.(types.String)
			if !ok {
				return nil, p.mismatch(x, StringList)
			}
			list = append(list, string(s))
		}
		return list, nil
	}
	return nil, p.mismatch(out, StringList)
}

// Any evaluates to a JSON value: nil, bool, int64, float64, string, []any or
// map[string]any, as returned by DecodeArgs. The caller owns the containers.
func (p *Program) Any(v *Vars) (any, error) {
	out, err := p.eval(v)
	if err != nil {
		return nil, err
	}
	x, err := native(out)
	if err != nil {
		return nil, fmt.Errorf("evaluating %q: %w", p.src, err)
	}
	return x, nil
}

func (p *Program) mismatch(out ref.Val, want Type) error {
	return fmt.Errorf("evaluating %q: it yields %s; %s is needed", p.src, out.Type().TypeName(), want)
}

var errNoJSON = errors.New("the value has no JSON form")

func native(v ref.Val) (any, error) {
	switch v := v.(type) {
	case types.Null:
		return nil, nil
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return int64(v), nil
	case types.Double:
		return float64(v), nil
	case types.String:
		return string(v), nil
	case traits.Lister:
		list := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			x, err := native(it.Next())
			if err != nil {
				return nil, err
			}
			list = append(list, x)
		}
		return list, nil
	case traits.Mapper:
		m := map[string]any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			k := it.Next()
			name, ok := k.(types.String)
			if !ok {
				return nil, errNoJSON
			}
			x, err := native(v.Get(k))
			if err != nil {
				return nil, err
			}
			m[string(name)] = x
		}
		return m, nil
	}
	return nil, errNoJSON
}

// activation exposes Vars to the engine. A name without a value is not found, which
// the engine reports as an error.
type activation struct {
	vars *Vars
	env  *Env
}

func (a *activation) Parent() cel.Activation { return nil }

func (a *activation) ResolveName(name string) (any, bool) {
	v, r := a.vars, a.env.records
	if v == nil {
		return nil, false
	}
	switch name {
	case "args":
		return v.Args.Plain, v.Args.Plain != nil
	case "target":
		if v.Target == nil {
			return nil, false
		}
		return r.target.of(v.Target), true
	case "targets":
		if v.Targets == nil {
			return nil, false
		}
		list := make([]ref.Val, len(v.Targets))
		for i := range v.Targets {
			list[i] = r.target.of(&v.Targets[i])
		}
		return types.NewRefValList(a.env.adapter, list), true
	case "effect":
		if v.Effect == nil || v.Preview == nil {
			return nil, false
		}
		return r.effect.of(effectView{v.Effect, v.Preview}), true
	case "record":
		return document(v.Record)
	case "answer":
		return document(v.Answer)
	case "tool":
		return v.Tool, v.Tool != ""
	case "server":
		return v.Server, v.Server != ""
	}
	return a.session(name)
}

// document exposes a JSON value, null included.
func document(v *any) (any, bool) {
	if v == nil {
		return nil, false
	}
	if *v == nil {
		return types.NullValue, true
	}
	return *v, true
}

func (a *activation) session(name string) (any, bool) {
	s := a.vars.Session
	if s == nil {
		return nil, false
	}
	switch name {
	case "tenant":
		return s.Tenant, true
	case "environment":
		return s.Environment, true
	case "workflow":
		return s.Workflow, true
	case "run":
		return a.env.records.run.of(runView{s, a.vars.Calls}), true
	case "client":
		return a.env.records.client.of(s), true
	}
	return nil, false
}

// sizes estimates costs for arguments of ordinary size. The run limit bounds the
// actual arguments.
type sizes struct{}

func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

func (sizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	if n.ComputedSize() != nil || len(n.Path()) == 0 {
		return nil
	}
	est := cost.RangedSizeEstimate(0, 256)
	return &est
}
