package document

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

func parseTOML(data []byte, n *Notes) (jsonvalue.Value, error) {
	if err := checkForeign(data); err != nil {
		return jsonvalue.Value{}, err
	}
	var root map[string]any
	if err := guarded(func() error { return toml.Unmarshal(data, &root) }); err != nil {
		return jsonvalue.Value{}, err
	}
	r := tomlReader{notes: n}
	return r.value(root)
}

// tomlReader converts decoded TOML to a value. TOML tables are unordered, so
// members are sorted by name.
type tomlReader struct {
	notes *Notes
	path  []string
}

func (r *tomlReader) value(x any) (jsonvalue.Value, error) {
	if len(r.path) > jsonvalue.MaxDepth {
		return jsonvalue.Value{}, jsonvalue.ErrDepth
	}
	switch x := x.(type) {
	case map[string]any:
		names := make([]string, 0, len(x))
		for name := range x {
			names = append(names, name)
		}
		slices.Sort(names)
		vals := make([]jsonvalue.Value, len(names))
		for i, name := range names {
			var err error
			if vals[i], err = r.child(name, x[name]); err != nil {
				return jsonvalue.Value{}, err
			}
		}
		return jsonvalue.NewObject(names, vals)
	case []any:
		vals := make([]jsonvalue.Value, len(x))
		for i, e := range x {
			var err error
			if vals[i], err = r.child(strconv.Itoa(i), e); err != nil {
				return jsonvalue.Value{}, err
			}
		}
		return jsonvalue.NewArray(vals)
	case string:
		return jsonvalue.String(x)
	case bool:
		return jsonvalue.Bool(x), nil
	case int64:
		return jsonvalue.Int(x), nil
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return r.typed(strconv.FormatFloat(x, 'g', -1, 64))
		}
		token := strconv.FormatFloat(x, 'g', -1, 64)
		if !jsonvalue.HasFraction(token) {
			token += ".0"
		}
		return jsonvalue.Number(token)
	case time.Time:
		return r.typed(x.Format(time.RFC3339Nano))
	case fmt.Stringer: // local dates and times
		return r.typed(x.String())
	}
	return jsonvalue.Value{}, fmt.Errorf("unexpected %T", x)
}

func (r *tomlReader) child(step string, x any) (jsonvalue.Value, error) {
	r.path = append(r.path, step)
	v, err := r.value(x)
	r.path = r.path[:len(r.path)-1]
	return v, err
}

// typed returns a string for a scalar that JSON has no type for, and notes it so
// that it is not confused with the same text in quotes.
func (r *tomlReader) typed(text string) (jsonvalue.Value, error) {
	r.notes.Ambiguous = append(r.notes.Ambiguous, jsonvalue.FormatPointer(r.path...)+" "+text)
	return jsonvalue.String(text)
}
