package policy

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// explain says where the arguments do not fit: the deepest cause, its path and the
// keyword, never a value.
func explain(err error) string {
	var v *jsonschema.ValidationError
	if !errors.As(err, &v) {
		return "the arguments do not fit the tool's schema"
	}
	for len(v.Causes) > 0 {
		v = v.Causes[0]
	}
	where := "the arguments"
	if len(v.InstanceLocation) > 0 {
		where = "the argument " + quoteName(strings.Join(v.InstanceLocation, "."))
	}
	return where + " " + describe(v)
}

// describe says which requirement is not met, in terms of the schema only.
func describe(v *jsonschema.ValidationError) string {
	switch k := v.ErrorKind.(type) {
	case *kind.Type:
		return "must be " + strings.Join(k.Want, " or ")
	case *kind.Required:
		names := make([]string, 0, len(k.Missing))
		for _, m := range k.Missing {
			names = append(names, quoteName(m))
		}
		return "must have " + strings.Join(names, ", ")
	case *kind.AdditionalProperties:
		names := make([]string, 0, len(k.Properties))
		for _, p := range slices.Sorted(slices.Values(k.Properties)) {
			names = append(names, quoteName(p))
		}
		return "must not have " + clipText(strings.Join(names, ", "))
	case *kind.Enum:
		if b, err := json.Marshal(k.Want); err == nil {
			return "must be one of " + clipText(string(b))
		}
	}
	if path := v.ErrorKind.KeywordPath(); len(path) > 0 {
		return "must fit the keyword " + quoteName(path[0]) + " of the tool's schema"
	}
	return "do not fit the tool's schema"
}

func clipText(s string) string {
	if r := []rune(s); len(r) > 300 {
		return string(r[:300]) + "…"
	}
	return s
}
