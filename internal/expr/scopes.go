package expr

import (
	"fmt"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"
)

// Two more variables exist only in some places: the current record, where an effect
// computes the new one, and the result of a call, where parts of it are kept.

var (
	recordScope = sync.OnceValues(func() (*Env, error) { return extended("record") })
	answerScope = sync.OnceValues(func() (*Env, error) { return extended("answer") })
)

// Record returns the environment with the variable record and list functions.
func (*Env) Record() (*Env, error) { return recordScope() }

// Answer returns the environment with the variable answer and the same functions.
func (*Env) Answer() (*Env, error) { return answerScope() }

// extended adds a variable of any type. The cost of an expression over it depends
// on a document of unknown size, so no estimate is made; only the limit on each
// evaluation applies.
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
