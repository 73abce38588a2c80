package diff

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/pelletier/go-toml/v2"
)

func readTOML(data []byte, n *Notes) (Value, error) {
	if err := checkForeign(data); err != nil {
		return Value{}, err
	}
	var root map[string]any
	if err := guarded(func() error { return toml.Unmarshal(data, &root) }); err != nil {
		return Value{}, err
	}
	r := tomlReader{notes: n}
	return r.value(root)
}

// tomlReader turns decoded TOML into a value. TOML gives tables no order, so
// members are sorted by name.
type tomlReader struct {
	notes *Notes
	path  []string
}

func (r *tomlReader) value(x any) (Value, error) {
	if len(r.path) > maxDepth {
		return Value{}, errDepth
	}
	switch x := x.(type) {
	case map[string]any:
		names := make([]string, 0, len(x))
		for name := range x {
			names = append(names, name)
		}
		slices.Sort(names)
		vals := make([]Value, len(names))
		for i, name := range names {
			var err error
			if vals[i], err = r.child(name, x[name]); err != nil {
				return Value{}, err
			}
		}
		return newObject(names, vals)
	case []any:
		vals := make([]Value, len(x))
		for i, e := range x {
			var err error
			if vals[i], err = r.child(strconv.Itoa(i), e); err != nil {
				return Value{}, err
			}
		}
		return newArray(vals)
	case string:
		return String(x)
	case bool:
		return Bool(x), nil
	case int64:
		return Int(x), nil
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return r.typed(strconv.FormatFloat(x, 'g', -1, 64))
		}
		token := strconv.FormatFloat(x, 'g', -1, 64)
		if !hasFraction(token) {
			token += ".0"
		}
		return Number(token)
	case time.Time:
		return r.typed(x.Format(time.RFC3339Nano))
	case fmt.Stringer: // local dates and times
		return r.typed(x.String())
	}
	return Value{}, fmt.Errorf("unexpected %T", x)
}

func (r *tomlReader) child(step string, x any) (Value, error) {
	r.path = append(r.path, step)
	v, err := r.value(x)
	r.path = r.path[:len(r.path)-1]
	return v, err
}

// typed returns a string for a scalar that JSON has no type for and notes it, so
// that it is not taken for the same text in quotes.
func (r *tomlReader) typed(text string) (Value, error) {
	r.notes.Ambiguous = append(r.notes.Ambiguous, FormatPointer(r.path...)+" "+text)
	return String(text)
}
