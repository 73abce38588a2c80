package effect

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gowebpki/jcs"

	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// spec returns a spec whose arguments are named like the parameters.
func spec(kind, dialect string) Spec {
	s := Spec{Kind: kind, Dialect: dialect, Proven: true, Params: map[string]string{}}
	required, _ := Params(kind)
	for _, p := range required {
		s.Params[p] = "args." + p
	}
	switch kind {
	case FileEdit:
		s.Params["edits"] = "args.edits"
	case FileRead:
		s.Params["path"] = "args.path"
	case Exec:
		s.Params["command"] = "args.command"
	case ExecUndo:
		s.Params["record"] = "args.record"
	case Message:
		s.Params["to"] = "args.to"
	}
	if isRecord(kind) {
		s.Record = &RecordSpec{Tool: "get", Args: map[string]string{"id": "args.id"}, Path: "effect"}
	}
	if kind != FileRead && kind != Opaque && kind != Exec && kind != ExecUndo && kind != HTTP && kind != Message && kind != SQL {
		s.Params["dry_run"] = "has(args.dryRun) && args.dryRun"
	}
	return s
}

func compile(t testing.TB, s Spec) *Binding {
	t.Helper()
	env, err := expr.New()
	if err != nil {
		t.Fatal(err)
	}
	b, err := Compile(env, s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// input makes an input from arguments given as a Go value.
func input(t testing.TB, args any, roots ...string) Input {
	t.Helper()
	raw, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	canonical, err := jcs.Transform(raw)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := expr.DecodeArgs(raw)
	if err != nil {
		t.Fatal(err)
	}
	return Input{
		Call:  guard.ToolCall{Tool: "tool", Args: raw, ArgsCanonical: canonical, Session: guard.Session{Server: "files"}},
		Roots: roots,
		Vars:  &expr.Vars{Args: decoded},
	}
}

type m = map[string]any

// plan resolves and plans a call.
func plan(t testing.TB, b *Binding, in Input) (guard.Preview, error) {
	t.Helper()
	targets, err := b.Resolve(context.Background(), in)
	if err != nil {
		return guard.Preview{}, err
	}
	return b.Plan(context.Background(), in, targets)
}

func mustPlan(t testing.TB, b *Binding, in Input) guard.Preview {
	t.Helper()
	p, err := plan(t, b, in)
	if err != nil {
		t.Fatalf("planning: %v", err)
	}
	return p
}

func write(t testing.TB, root, name, content string) string {
	t.Helper()
	p := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

// workspace returns an empty folder whose path contains no link.
func workspace(t testing.TB) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "ws")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}

func link(t testing.TB, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// refused checks that err is a refusal by rule and that it names nothing
// outside the workspace.
func refused(t testing.TB, err error, rule guard.Rule, secrets ...string) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("got %v, want a refusal", err)
	}
	if r.Rule != rule {
		t.Errorf("refused by %q (%s), want %q", r.Rule, r.Reason, rule)
	}
	if r.Reason == "" || r.Repair == "" {
		t.Errorf("refusal %+v lacks a sentence", r)
	}
	for _, s := range secrets {
		if strings.Contains(r.Reason+r.Repair, s) {
			t.Errorf("refusal %q names %q", r.Reason, s)
		}
	}
}

func hazards(p guard.Preview) string {
	var kinds []string
	for _, h := range p.Hazards {
		kinds = append(kinds, h.Kind)
	}
	return strings.Join(kinds, " ")
}

func recordArg(kind string) string {
	a, _ := Lookup(kind)
	return a.Record
}

func isRecord(kind string) bool { return recordArg(kind) != "" }
