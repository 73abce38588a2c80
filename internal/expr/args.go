package expr

import (
	"slices"
	"strings"

	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// ArgPaths lists the arguments whose values the expression reads, each as a path of
// names: args.a.b and args["a"].b are [a b]. A path ends at a list or a computed
// name. An expression that reads the arguments as a whole has the empty path. One
// that only tests whether an argument is present, as has(args.a) does, reads no
// value.
func (p *Program) ArgPaths() [][]string { return p.args }

// PlainArg returns the argument that the expression passes on unchanged, if it does
// nothing else.
func (p *Program) PlainArg() (name string, ok bool) { return p.plain, p.plain != "" }

// argVar is the variable that holds the arguments.
const argVar = "args"

// argWalk collects the paths of one expression.
type argWalk struct{ paths [][]string }

// argPaths reads the paths from a checked syntax tree.
func argPaths(root celast.Expr) (paths [][]string, plain string) {
	var w argWalk
	w.visit(root)
	if path, ok := argPath(root); ok && len(path) == 1 {
		plain = path[0]
	}
	return w.paths, plain
}

func (w *argWalk) visit(e celast.Expr) {
	if path, ok := argPath(e); ok {
		if !slices.ContainsFunc(w.paths, func(p []string) bool { return slices.Equal(p, path) }) {
			w.paths = append(w.paths, path)
		}
		return
	}
	switch e.Kind() {
	case celast.SelectKind:
		s := e.AsSelect()
		if _, ok := argPath(s.Operand()); ok && s.IsTestOnly() {
			return // a test for presence reads no value
		}
		w.visit(s.Operand())
	case celast.CallKind:
		c := e.AsCall()
		if c.IsMemberFunction() {
			w.visit(c.Target())
		}
		for _, a := range c.Args() {
			w.visit(a)
		}
	case celast.ListKind:
		for _, x := range e.AsList().Elements() {
			w.visit(x)
		}
	case celast.MapKind:
		for _, x := range e.AsMap().Entries() {
			w.visit(x.AsMapEntry().Key())
			w.visit(x.AsMapEntry().Value())
		}
	case celast.StructKind:
		for _, x := range e.AsStruct().Fields() {
			w.visit(x.AsStructField().Value())
		}
	case celast.ComprehensionKind:
		w.comprehension(e.AsComprehension())
	}
}

// comprehension walks a loop. A loop variable may also be called args, and then
// shadows the arguments.
func (w *argWalk) comprehension(c celast.ComprehensionExpr) {
	w.visit(c.IterRange())
	w.visit(c.AccuInit())
	if c.AccuVar() != argVar {
		w.visit(c.Result())
	}
	if c.IterVar() == argVar || c.IterVar2() == argVar || c.AccuVar() == argVar {
		return
	}
	w.visit(c.LoopCondition())
	w.visit(c.LoopStep())
}

// argPath reads args, or a selection from it by constant names.
func argPath(e celast.Expr) (path []string, ok bool) {
	switch e.Kind() {
	case celast.IdentKind:
		return []string{}, strings.TrimPrefix(e.AsIdent(), ".") == argVar
	case celast.SelectKind:
		s := e.AsSelect()
		if path, ok = argPath(s.Operand()); !ok || s.IsTestOnly() {
			return nil, false
		}
		return append(slices.Clone(path), s.FieldName()), true
	case celast.CallKind:
		c := e.AsCall()
		if c.FunctionName() != operators.Index || len(c.Args()) != 2 || c.Args()[1].Kind() != celast.LiteralKind {
			return nil, false
		}
		name, isName := c.Args()[1].AsLiteral().(types.String)
		if path, ok = argPath(c.Args()[0]); !ok || !isName {
			return nil, false
		}
		return append(slices.Clone(path), string(name)), true
	}
	return nil, false
}
