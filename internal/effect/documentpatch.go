package effect

import (
	"errors"
	"fmt"

	"github.com/mcpguard/mcpguard/internal/document"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// DocumentPatch applies a JSON Patch (RFC 6902) to a JSON, YAML or TOML file.
const DocumentPatch = "document.patch"

var documentPatch = contentKind{
	name: DocumentPatch, verb: "edit", fill: fillPatch,
	params: []param{{name: "patch", want: expr.Dyn}},
}

// readPatch turns a patch that an expression yields into operations.
func (b *Binding) readPatch(in Input) (jsonvalue.Patch, error) {
	v, err := exactValue(b.params["patch"], in.Vars)
	var no *Refusal
	if err != nil && !errors.As(err, &no) {
		return nil, fmt.Errorf("effect %s, patch: %w", b.about.Name, err)
	}
	var p jsonvalue.Patch
	if err == nil {
		p, err = jsonvalue.PatchOf(v)
	}
	if err != nil {
		return nil, refusePlan("send a JSON Patch as RFC 6902 defines it", "the patch is not valid: %v", err)
	}
	return p, nil
}

// fillPatch computes a file after a JSON Patch.
func fillPatch(b *Binding, in Input, c *content) error {
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
