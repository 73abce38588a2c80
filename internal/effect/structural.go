package effect

import (
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// structure is the structural view of a change.
type structure struct {
	patch, preview json.RawMessage
	hazards        []guard.Hazard
	sides          []guard.SideEffect
}

func hazard(kind, format string, args ...any) guard.Hazard {
	return guard.Hazard{Kind: kind, Text: fmt.Sprintf(format, args...)}
}

func marshalRows(rows []diff.Change) (json.RawMessage, error) {
	if rows == nil {
		rows = []diff.Change{}
	}
	return json.Marshal(rows)
}

// plainArg is an expression that hands on one argument as it is.
var plainArg = regexp.MustCompile(`^args\.([A-Za-z_][A-Za-z0-9_]*)$`)

// patchValue returns what the patch expression yields. Where it names an
// argument, the admitted bytes are read, so that 1.0 stays 1.0.
func (b *Binding) patchValue(in Input) (diff.Value, error) {
	prog := b.params["patch"]
	if m := plainArg.FindStringSubmatch(prog.Source()); m != nil {
		raw := []byte(in.Call.Args)
		if s, ok := jsonrpc.Member(raw, jsonrpc.Span{Start: 0, End: len(raw)}, m[1]); ok {
			v, err := diff.Decode(raw[s.Start:s.End])
			if err != nil {
				return diff.Value{}, refusePlan("send a JSON Patch as RFC 6902 defines it", "the patch is not valid: %v", err)
			}
			return v, nil
		}
	}
	x, err := prog.Any(in.Vars)
	if err != nil {
		return diff.Value{}, fmt.Errorf("effect %s, patch: %w", b.kind, err)
	}
	raw, err := json.Marshal(x)
	if err != nil {
		return diff.Value{}, fmt.Errorf("effect %s, patch: %w", b.kind, err)
	}
	return diff.Decode(raw)
}
