package onboard

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/diff"
)

// Difference is one tool whose definition differs from the accepted one.
type Difference struct {
	Tool Tool
	// New is true if no definition was accepted before. Gone is true if the
	// server no longer has the tool; Tool then has only its name.
	New, Gone bool
	Diff      []byte // unified, of the definitions with one member per line
}

// Comparison compares what a configured server offers with what the policy
// names and what was accepted.
type Comparison struct {
	// Differences are of tools that the policy names, in the server's order;
	// accepted tools that are gone come last.
	Differences []Difference
	// Unnamed are tools of the server that the policy does not name. Accepting
	// one widens the policy, so each needs a decision of its own.
	Unnamed []Difference
	LeftOut []LeftOut
	Tools   []Tool // tools that the server offers, except those left out
	// Program is the server's present program. Changed says how it differs
	// from the one whose tools were accepted.
	Program config.Program
	Changed []string
}

// Compare starts a configured server and compares it with what was accepted. r
// carries name, folder, environment lookup and version.
func Compare(ctx context.Context, r Request, s *config.Server, recorded *config.Environment, lock *config.Lock) (Comparison, error) {
	l, err := ask(ctx, r, s, recorded)
	if err != nil {
		return Comparison{}, err
	}
	out := Comparison{LeftOut: l.LeftOut, Tools: l.Tools, Program: l.Program}
	if before, ok := lock.Program(s.Name); ok {
		out.Changed = before.Differences(l.Program)
	}
	offered := map[string]bool{}
	for _, t := range l.LeftOut {
		offered[t.Name] = true
	}
	for _, t := range l.Tools {
		offered[t.Name] = true
		pin, ok := lock.Pin(s.Name, t.Name)
		_, named := s.Tools[t.Name]
		if named && ok && pin.SHA256 == t.SHA256 {
			continue
		}
		d := Difference{Tool: t, New: !ok}
		if d.Diff, err = DefinitionDiff(t.Name, pin.Definition, t.Definition); err != nil {
			return Comparison{}, err
		}
		if named {
			out.Differences = append(out.Differences, d)
		} else {
			out.Unnamed = append(out.Unnamed, d)
		}
	}
	for _, pin := range lock.Pins() {
		if pin.Server != s.Name || offered[pin.Tool] {
			continue
		}
		d := Difference{Tool: Tool{Name: pin.Tool}, Gone: true}
		if d.Diff, err = DefinitionDiff(pin.Tool, pin.Definition, nil); err != nil {
			return Comparison{}, err
		}
		out.Differences = append(out.Differences, d)
	}
	return out, nil
}

// DefinitionDiff returns a diff of two definitions as indented JSON; nil means
// no definition on that side.
func DefinitionDiff(tool string, before, after []byte) ([]byte, error) {
	a, err := indented(before)
	if err != nil {
		return nil, err
	}
	b, err := indented(after)
	if err != nil {
		return nil, err
	}
	path := tool + ".json"
	text, _ := diff.Unified(
		diff.File{Path: path, Data: a, Mode: 0o644, Exists: before != nil},
		diff.File{Path: path, Data: b, Mode: 0o644, Exists: after != nil},
		diff.Options{})
	return text, nil
}

func indented(raw []byte) ([]byte, error) {
	if raw == nil {
		return nil, nil
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return nil, fmt.Errorf("reading a tool definition: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}
