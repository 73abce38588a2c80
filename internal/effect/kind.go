package effect

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// kind is one kind of effect: everything that the guard knows of it. A kind is
// one file of this package and one line of the table below.
type kind interface {
	// about says what holds for every call of the kind.
	about() About
	// resolve names what a call touches, links resolved, what is written first.
	// It reads no content.
	resolve(ctx context.Context, b *Binding, in Input) (resolved, error)
	// plan computes what a call would change, from what is there now.
	plan(ctx context.Context, b *Binding, in Input, at resolved) (guard.Preview, error)
	// verify reads one effect back. It has the effect as it was kept and nothing
	// else, so that it serves after a restart too.
	verify(ctx context.Context, reader Reader, e guard.Effect) reading
	// inverse computes the call of the built-in server that takes the effects of
	// an approval back.
	inverse(ctx context.Context, a guard.Approval) (Inverse, error)
}

// kinds is the table of all kinds, in the order in which messages list them.
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
	// ReadOnly kinds change nothing; they hold the paths of a read to the workspace.
	ReadOnly bool
	// MayRead is set where a call may turn out to read only, so that a condition
	// may put it at T0.
	MayRead bool
	// Bare kinds may be written by their name alone.
	Bare bool
	// Record is the parameter that says what becomes of a JSON record, for kinds
	// that change one; Creates is set where they can make one that is missing.
	Record  string
	Creates bool

	// Lands is set where the files that change are known only once it was tried.
	Lands bool

	params []param
	paths  []string         // parameters that name files
	check  func(Spec) error // what the list of parameters cannot say; may be nil
	// blind kinds compute nothing, so it does not matter whether the server is proven.
	blind bool
	// touches names what a change reaches beside files; nil where it reaches nothing.
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

// resolved is what a call touches. Targets that are no files have no place.
type resolved struct {
	targets []guard.Target
	places  []resolvedPath
}

// reading is what reading one effect back has shown.
type reading struct {
	result     guard.ReadBack
	state      guard.State
	note       string          // explains every result but Verified
	difference json.RawMessage // of a record that diverged, where it is known
}

func kindNamed(name string) (kind, bool) {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.about().Name == name })
	if i < 0 {
		return nil, false
	}
	return kinds[i], true
}

// Lookup returns what holds for every call of a kind; ok is false for unknown
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

// Params lists the parameters of a kind and which of them may be left out.
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

// NamesTargets reports whether a call with these parameters names a file or a
// record, so that rules may speak of it.
func (a About) NamesTargets(params map[string]string) bool {
	return a.Record != "" || a.Lands || slices.ContainsFunc(a.params, func(p param) bool {
		_, given := params[p.name]
		return slices.Contains(a.paths, p.name) && (given || !p.optional)
	})
}

// notPredicted is embedded by kinds whose outcome is not predicted: nothing can
// be read back or taken back.
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
