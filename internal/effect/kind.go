package effect

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// kind is everything that the guard knows about one kind of effect. A kind is one
// file of this package and one row of the table below.
type kind interface {
	// about returns what holds for every call of the kind.
	about() About
	// resolve returns what a call touches, with links resolved and written targets
	// first. It reads no content.
	resolve(ctx context.Context, b *Binding, in Input) (resolved, error)
	// plan computes what a call would change, from the current state.
	plan(ctx context.Context, b *Binding, in Input, at resolved) (guard.Preview, error)
	// verify reads one effect back. It uses only the stored effect, so that it also
	// works after a restart.
	verify(ctx context.Context, reader Reader, e guard.Effect) reading
	// inverse computes the call of the built-in server that undoes the effects of
	// an approval.
	inverse(ctx context.Context, a guard.Approval) (Inverse, error)
}

// kinds lists all kinds, in the order in which messages list them.
var kinds = []kind{
	fileRead{},
	fileWrite,
	fileAppend,
	fileEdit,
	fileMove{},
	fileDelete{},
	dirCreate{},
	documentPatch,
	notebookEdit,
	jsonReplace,
	jsonMerge,
	jsonPatch,
	execKind{},
	execUndo{},
	httpKind{},
	messageKind{},
	sqlKind{},
	opaque{},
}

// About is what holds for every call of a kind.
type About struct {
	Name string
	// ReadOnly kinds change nothing; the paths they read must lie in the workspace.
	ReadOnly bool
	// MayRead is set if a call may turn out to be read-only, so that a condition
	// may put it at T0.
	MayRead bool
	// Bare kinds may be configured by name alone.
	Bare bool
	// Record is the parameter that computes the new JSON record, for kinds that
	// change one. Creates is set if they can create a missing record.
	Record  string
	Creates bool

	// Lands is set if the changed files are known only after a trial run.
	Lands bool

	params []param
	paths  []string         // parameters that name files
	check  func(Spec) error // checks beyond the parameter list; may be nil
	// blind kinds compute nothing, so the server need not be proven.
	blind bool
	// touches names what a change reaches besides files; nil if nothing.
	touches *touching
}

// param is one parameter of a kind.
type param struct {
	name     string
	want     expr.Type
	optional bool
}

// dryRun is the parameter that says whether a call only asks what it would do.
var dryRun = param{"dry_run", expr.Bool, true}

// resolved is what a call touches. Targets that are not files have no path.
type resolved struct {
	targets []guard.Target
	places  []resolvedPath
}

// reading is the result of reading one effect back.
type reading struct {
	result     guard.ReadBack
	state      guard.State
	note       string          // explains every result except Verified
	difference json.RawMessage // of a record that diverged, if known
}

func kindNamed(name string) (kind, bool) {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.about().Name == name })
	if i < 0 {
		return nil, false
	}
	return kinds[i], true
}

// Lookup returns what holds for every call of a kind. ok is false for unknown
// kinds.
func Lookup(name string) (a About, ok bool) {
	k, ok := kindNamed(name)
	if !ok {
		return About{}, false
	}
	return k.about(), true
}

// Kinds lists the kinds that Compile knows, for messages and schemas.
func Kinds() []string {
	out := make([]string, len(kinds))
	for i, k := range kinds {
		out[i] = k.about().Name
	}
	return out
}

// Params lists the required and optional parameters of a kind.
func Params(name string) (required, optional []string) {
	a, _ := Lookup(name)
	for _, p := range a.params {
		if p.optional {
			optional = append(optional, p.name)
		} else {
			required = append(required, p.name)
		}
	}
	return required, optional
}

// NamesTargets reports whether a call with these parameters names a file or record,
// so that rules may refer to it.
func (a About) NamesTargets(params map[string]string) bool {
	return a.Record != "" || a.Lands || slices.ContainsFunc(a.params, func(p param) bool {
		_, given := params[p.name]
		return slices.Contains(a.paths, p.name) && (given || !p.optional)
	})
}

// notPredicted is embedded by kinds whose outcome is not predicted: nothing can be
// verified or undone.
type notPredicted struct{}

func (notPredicted) verify(context.Context, Reader, guard.Effect) reading { return notComputed() }

func (notPredicted) inverse(_ context.Context, a guard.Approval) (Inverse, error) {
	e, err := undoable(a)
	if err != nil {
		return Inverse{}, err
	}
	return Inverse{}, noInverse(e)
}

func notComputed() reading {
	return reading{result: guard.Unverifiable, note: "an effect that was not computed cannot be read back"}
}

func noInverse(e guard.Effect) *Refusal {
	return refusePlan(byHand, "what %s did cannot be undone from here", e.Kind)
}
