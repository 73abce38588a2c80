package jsonvalue

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// The operations of RFC 6902.
const (
	OpAdd     = "add"
	OpRemove  = "remove"
	OpReplace = "replace"
	OpMove    = "move"
	OpCopy    = "copy"
	OpTest    = "test"
)

// Op is one operation of a JSON Patch. From is used by move and copy, Value by add,
// replace and test; other operations leave them empty and absent.
type Op struct {
	Op, Path, From string
	Value          Value
}

// Patch is a JSON Patch (RFC 6902): operations applied in order, all or none.
type Patch []Op

// ParsePatch reads a JSON Patch as strictly as [Decode] and checks the members and
// pointer syntax of each operation. Members that the RFC does not define for an
// operation are ignored, as it requires; duplicate members are refused.
func ParsePatch(raw []byte) (Patch, error) {
	v, err := Decode(raw)
	if err != nil {
		return nil, fmt.Errorf("reading JSON Patch: %w", err)
	}
	return PatchOf(v)
}

// PatchOf reads a decoded JSON Patch.
func PatchOf(v Value) (Patch, error) {
	if v.Type() != TypeArray {
		return nil, fmt.Errorf("reading JSON Patch: want an array, found %v", v.Type())
	}
	p := make(Patch, 0, v.Len())
	for i, e := range v.Elems() {
		op, err := opOf(e)
		if err != nil {
			return nil, fmt.Errorf("reading JSON Patch: operation %d: %w", i, err)
		}
		p = append(p, op)
	}
	return p, nil
}

func opOf(v Value) (Op, error) {
	if v.Type() != TypeObject {
		return Op{}, fmt.Errorf("want an object, found %v", v.Type())
	}
	text := func(name string) (string, error) {
		m := v.Member(name)
		if m.Type() != TypeString {
			return "", fmt.Errorf("member %q must be a string, is %v", name, m.Type())
		}
		return m.Text(), nil
	}
	var o Op
	var err error
	if o.Op, err = text("op"); err != nil {
		return Op{}, err
	}
	if o.Path, err = text("path"); err != nil {
		return Op{}, err
	}
	switch o.Op {
	case OpMove, OpCopy:
		if o.From, err = text("from"); err != nil {
			return Op{}, err
		}
	case OpAdd, OpReplace, OpTest:
		o.Value = v.Member("value")
	}
	if _, _, err := o.pointers(); err != nil {
		return Op{}, err
	}
	return o, nil
}

// pointers checks that o is well formed and returns its split pointers.
func (o Op) pointers() (path, from []string, err error) {
	if path, err = ParsePointer(o.Path); err != nil {
		return nil, nil, err
	}
	switch o.Op {
	case OpRemove:
	case OpAdd, OpReplace, OpTest:
		if !o.Value.Present() {
			return nil, nil, fmt.Errorf("%s without a value", o.Op)
		}
	case OpMove, OpCopy:
		if from, err = ParsePointer(o.From); err != nil {
			return nil, nil, err
		}
		if o.Op == OpMove && len(from) < len(path) && slices.Equal(from, path[:len(from)]) {
			return nil, nil, errors.New("move into a part of what is moved")
		}
	default:
		return nil, nil, fmt.Errorf("unknown operation %.32q", o.Op)
	}
	return path, from, nil
}

// value returns o as a JSON object with the members of its operation.
func (o Op) value() (Value, error) {
	if _, _, err := o.pointers(); err != nil {
		return Value{}, err
	}
	names := []string{"op", "path"}
	vals := []Value{{typ: TypeString, text: o.Op}, {typ: TypeString, text: o.Path}}
	switch o.Op {
	case OpMove, OpCopy:
		names, vals = []string{"op", "from", "path"}, []Value{vals[0], {typ: TypeString, text: o.From}, vals[1]}
	case OpAdd, OpReplace, OpTest:
		names, vals = append(names, "value"), append(vals, o.Value)
	}
	// The operation wraps a value of any depth: its readers check the limit.
	return Value{typ: TypeObject, node: newNode(names, vals)}, nil
}

// MarshalJSON returns a valid operation and refuses any other.
func (o Op) MarshalJSON() ([]byte, error) {
	v, err := o.value()
	if err != nil {
		return nil, fmt.Errorf("encoding JSON Patch operation: %w", err)
	}
	return v.Encode(), nil
}

// UnmarshalJSON reads one operation as strictly as ParsePatch.
func (o *Op) UnmarshalJSON(raw []byte) error {
	v, err := Decode(raw)
	if err != nil {
		return err
	}
	op, err := opOf(v)
	if err == nil {
		*o = op
	}
	return err
}

// MarshalJSON returns the patch as an array, also if p is nil.
func (p Patch) MarshalJSON() ([]byte, error) {
	vals := make([]Value, len(p))
	for i, o := range p {
		v, err := o.value()
		if err != nil {
			return nil, fmt.Errorf("encoding JSON Patch: operation %d: %w", i, err)
		}
		vals[i] = v
	}
	return Value{typ: TypeArray, node: newNode(nil, vals)}.Encode(), nil
}

// UnmarshalJSON reads as strictly as ParsePatch.
func (p *Patch) UnmarshalJSON(raw []byte) error {
	q, err := ParsePatch(raw)
	if err == nil {
		*p = q
	}
	return err
}

var _ interface {
	json.Marshaler
	json.Unmarshaler
} = (*Patch)(nil)
