package expr

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// Vars is what an expression may see of one call. It is read only while an
// evaluation runs, and may be shared by several at once. A nil member is
// unknown: an expression that touches it fails.
type Vars struct {
	Args    map[string]any // decoded by DecodeArgs
	Target  *guard.Target  // the resource in question
	Targets []guard.Target // every resource of the call; nil means unknown
	Effect  *guard.Effect  // the effect in question, known after the preview
	Preview *guard.Preview // gives `effect` its line counts
	Tool    string         // name of the tool
	Server  string         // name of the server in the configuration
	Session *guard.Session // gives tenant, environment, workflow, run and client
	Calls   int            // calls of this tool in this run so far: run.calls
	Record  *any           // a JSON value as DecodeArgs makes them; for expressions of [Env.Record]
	Answer  *any           // likewise, of [Env.Answer]
}

// MaxNumber is how long a number in arguments may be, in characters.
const MaxNumber = 64

// DecodeArgs decodes a JSON object. Integers become int64, other numbers
// float64; an integer outside int64 is an error, so that no rule ever compares
// a rounded one.
func DecodeArgs(raw []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		return nil, fmt.Errorf("decoding arguments: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decoding arguments: more than one value")
	}
	if m == nil {
		return nil, errors.New("decoding arguments: not an object")
	}
	for k, v := range m {
		n, err := number(v)
		if err != nil {
			return nil, fmt.Errorf("decoding arguments: %w", err)
		}
		m[k] = n
	}
	return m, nil
}

// number replaces each json.Number under v, in place where v is a container.
func number(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		return parseNumber(string(v))
	case []any:
		for i := range v {
			n, err := number(v[i])
			if err != nil {
				return nil, err
			}
			v[i] = n
		}
	case map[string]any:
		for k := range v {
			n, err := number(v[k])
			if err != nil {
				return nil, err
			}
			v[k] = n
		}
	}
	return v, nil
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
