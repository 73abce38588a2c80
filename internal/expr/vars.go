package expr

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// Vars is what an expression may see of one call. It must not change during an
// evaluation, and concurrent evaluations may share it. A nil member is unknown: an
// expression that reads it fails.
type Vars struct {
	Args    Args           // decoded by DecodeArgs
	Target  *guard.Target  // the resource in question
	Targets []guard.Target // every resource of the call; nil means unknown
	Effect  *guard.Effect  // the effect in question, known after the preview
	Preview *guard.Preview // gives `effect` its line counts
	Tool    string         // name of the tool
	Server  string         // name of the server in the configuration
	Session *guard.Session // gives tenant, environment, workflow, run and client
	Calls   int            // calls of this tool in this run so far: run.calls
	Record  *any           // a JSON value as returned by DecodeArgs; for expressions of [Env.Record]
	Answer  *any           // likewise, of [Env.Answer]
}

// Args are the arguments of a call, decoded once: exactly, and as expressions see
// them.
type Args struct {
	Value jsonvalue.Value // an object, each number as it was written
	Plain map[string]any  // nil if the arguments were not decoded
}

// MaxNumber is the maximum length of a number in arguments, in characters.
const MaxNumber = 64

// DecodeArgs decodes a JSON object, and refuses anything that two parsers might
// read differently; see ArgsOf.
func DecodeArgs(raw []byte) (Args, error) {
	v, err := jsonvalue.Decode(raw)
	if err != nil {
		return Args{}, fmt.Errorf("decoding arguments: %w", err)
	}
	return ArgsOf(v)
}

// ArgsOf returns an object, also as expressions see it. Integers become int64,
// other numbers float64; an integer outside int64 is an error, so that no rule
// compares a rounded one.
func ArgsOf(v jsonvalue.Value) (Args, error) {
	if v.Type() != jsonvalue.TypeObject {
		return Args{}, errors.New("decoding arguments: not an object")
	}
	m, err := plain(v)
	if err != nil {
		return Args{}, fmt.Errorf("decoding arguments: %w", err)
	}
	return Args{Value: v, Plain: m.(map[string]any)}, nil
}

// plain converts v to the Go types of JSON.
func plain(v jsonvalue.Value) (any, error) {
	switch v.Type() {
	case jsonvalue.TypeNull:
		return nil, nil
	case jsonvalue.TypeBool:
		return v.Bool(), nil
	case jsonvalue.TypeNumber:
		return parseNumber(v.Text())
	case jsonvalue.TypeString:
		return v.Text(), nil
	case jsonvalue.TypeArray:
		list := make([]any, v.Len())
		for i, e := range v.Elems() {
			var err error
			if list[i], err = plain(e); err != nil {
				return nil, err
			}
		}
		return list, nil
	case jsonvalue.TypeObject:
		m := make(map[string]any, v.Len())
		for name, e := range v.Members() {
			var err error
			if m[name], err = plain(e); err != nil {
				return nil, err
			}
		}
		return m, nil
	}
	return nil, errors.New("a value is absent")
}

func parseNumber(s string) (any, error) {
	if len(s) > MaxNumber {
		return nil, fmt.Errorf("a number of %d characters", len(s))
	}
	if !strings.ContainsAny(s, ".eE") {
		i, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("the integer %s is out of range", s)
		}
		return i, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, fmt.Errorf("the number %s is out of range", s)
	}
	return f, nil
}
