package expr

import (
	"fmt"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"
)

// Besides the variables of every expression there are two that only some
// places know: the record as it is now, where an effect computes what it will
// be, and the answer of a call, where something of it is kept.

var (
	recordScope = sync.OnceValues(func() (*Env, error) { return extended("record") })
	answerScope = sync.OnceValues(func() (*Env, error) { return extended("answer") })
)

// Record returns the environment with the variable record, and functions that
// take lists apart.
func (*Env) Record() (*Env, error) { return recordScope() }

// Answer returns the environment with the variable answer, and the same
// functions.
func (*Env) Answer() (*Env, error) { return answerScope() }

// extended adds a variable of any type. What an expression over it costs
// depends on a document of unknown size, so no estimate is made: the bound on
// each evaluation is what holds.
func extended(name string) (*Env, error) {
	base, err := New()
	if err != nil {
		return nil, err
	}
	env, err := base.cel.Extend(cel.Variable(name, cel.DynType),
		ext.Lists(ext.ListsVersion(2)), ext.TwoVarComprehensions(), ext.Bindings())
	if err != nil {
		return nil, fmt.Errorf("building the expression environment with %q: %w", name, err)
	}
	return &Env{cel: env, records: base.records, adapter: base.adapter, unestimated: true}, nil
}
