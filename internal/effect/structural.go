package effect

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/mcpguard/mcpguard/internal/document"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
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

func marshalRows(rows []jsonvalue.Change) (json.RawMessage, error) {
	if rows == nil {
		rows = []jsonvalue.Change{}
	}
	return json.Marshal(rows)
}

// plainArg is an expression that hands on one argument as it is.
var plainArg = regexp.MustCompile(`^args\.([A-Za-z_][A-Za-z0-9_]*)$`)

// patchValue returns what the patch expression yields. Where it names an
// argument, the admitted bytes are read, so that 1.0 stays 1.0.
func (b *Binding) patchValue(in Input) (jsonvalue.Value, error) {
	prog := b.params["patch"]
	if m := plainArg.FindStringSubmatch(prog.Source()); m != nil {
		raw := []byte(in.Call.Args)
		if s, ok := jsonrpc.Member(raw, jsonrpc.Span{Start: 0, End: len(raw)}, m[1]); ok {
			v, err := jsonvalue.Decode(raw[s.Start:s.End])
			if err != nil {
				return jsonvalue.Value{}, refusePlan("send a JSON Patch as RFC 6902 defines it", "the patch is not valid: %v", err)
			}
			return v, nil
		}
	}
	x, err := prog.Any(in.Vars)
	if err != nil {
		return jsonvalue.Value{}, fmt.Errorf("effect %s, patch: %w", b.kind, err)
	}
	raw, err := json.Marshal(x)
	if err != nil {
		return jsonvalue.Value{}, fmt.Errorf("effect %s, patch: %w", b.kind, err)
	}
	return jsonvalue.Decode(raw)
}

// readPatch turns a patch that an expression yielded into operations.
func (b *Binding) readPatch(in Input) (jsonvalue.Patch, error) {
	v, err := b.patchValue(in)
	if err != nil {
		return nil, err
	}
	p, err := jsonvalue.PatchOf(v)
	if err != nil {
		return nil, refusePlan("send a JSON Patch as RFC 6902 defines it", "the patch is not valid: %v", err)
	}
	return p, nil
}

// fillPatch computes a file after a JSON Patch.
func (b *Binding) fillPatch(in Input, c *content) error {
	p, err := b.readPatch(in)
	if err != nil {
		return err
	}
	var rewritten bool
	c.after, rewritten, err = document.Patch(c.rel(), c.before, p)
	var no *document.Refusal
	if errors.As(err, &no) {
		return &Refusal{Rule: guard.RulePreviewFailed, Reason: no.Reason, Repair: no.Repair}
	}
	if err != nil {
		return err
	}
	if rewritten {
		c.hazards = append(c.hazards, hazard(HazardRewritten, "the whole file is written anew: its layout changes beyond the patch"))
	}
	return nil
}
