package policy

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

const (
	toolDomain = "mcpguard/policy/tool/v1"
	setDomain  = "mcpguard/policy/set/v1"
)

// toolHash covers everything in force for a tool, presets included: two tools with
// the same hash decide alike. The location in the file does not count.
func toolHash(cfg *config.Config, s *config.Server, t *Tool) (string, error) {
	boxes := map[string]guard.TimeBox{}
	for tier, box := range t.boxes {
		boxes[tier.String()] = box
	}
	doc := struct {
		Server       string
		Tool         config.Tool
		Limits       Limits
		Effect       config.Effect
		Boxes        map[string]guard.TimeBox
		Builtin      string
		Command      string
		Args, Env    []string
		Secrets      map[string]config.SecretRef
		Cwd          string
		Workspaces   []string
		Concurrency  int
		Dialect      string
		Proven       bool
		Expressions  int
		ReadsRelaxed bool
	}{
		s.Name, *t.Config, t.Limits, t.effect, boxes, s.Builtin, s.Command, s.Args, s.Env, s.Secrets, s.Cwd, s.Workspaces,
		s.Limits.Concurrency, s.Dialect, t.proven, expr.FunctionsVersion, cfg.Audit.Reads == "relaxed",
	}
	data, err := json.Marshal(doc)
	if err != nil {
		return "", fmt.Errorf("hashing the policy of %s/%s: %w", s.Name, t.Name, err)
	}
	return digest.NewHasher(toolDomain).Field("policy", data).Digest().String(), nil
}

// setHash covers the whole configuration and every accepted definition.
func setHash(s *Set) (string, error) {
	data, err := json.Marshal(plain(s.cfg))
	if err != nil {
		return "", fmt.Errorf("hashing the policy: %w", err)
	}
	h := digest.NewHasher(setDomain).Field("configuration", data)
	for _, sv := range s.Servers() {
		for _, t := range sv.sorted {
			h.Field(sv.Name+"/"+t.Name, []byte(t.Hash))
		}
	}
	for _, p := range s.lock.Pins() {
		h.Field("pin/"+p.Server+"/"+p.Tool, p.SHA256[:])
	}
	return h.Digest().String(), nil
}

// plain is a configuration in a form that has exactly one encoding.
func plain(c *config.Config) any {
	boxes := map[string]config.TimeBoxTexts{}
	for t, b := range c.TimeBoxes {
		boxes[t.String()] = b
	}
	x := *c
	x.TimeBoxes, x.Notes, x.Servers = nil, nil, maps.Clone(c.Servers)
	return struct {
		Config config.Config
		Boxes  map[string]config.TimeBoxTexts
	}{x, boxes}
}
