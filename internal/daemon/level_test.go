package daemon

import (
	"slices"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/config"
)

// TestWeaknesses: every setting that lets something run without a prior
// decision, or with less protection than possible, is named.
func TestWeaknesses(t *testing.T) {
	const base = `version: 1
roots: [/w]
servers:
  s:
    command: /bin/x
    tools:
      get: {tier: T0_READ}
      t: `
	for name, c := range map[string]struct{ tool, want string }{
		"asks":     {"{tier: T1_REVERSIBLE_WRITE}", ""},
		"unasked":  {"{tier: T1_REVERSIBLE_WRITE, approval: {required: false}}", "s/t: writes without an approval (approval.required: false)"},
		"post":     {"{tier: T1_REVERSIBLE_WRITE, approval: {mode: post}, effect: {file.write: {path: args.path, content: args.content}}}", "s/t: writes first and is shown afterwards (approval.mode: post)"},
		"paths":    {"{tier: T1_REVERSIBLE_WRITE, effect: {json.merge: {read: {tool: get, args: {id: args.id}}, merge: args.fields, paths: {allow: [/stage]}}}}", "s/t: changes of some fields run without an approval (paths.allow)"},
		"commands": {"{tier: T3_EXECUTE, sandbox: none, effect: {exec: {command: args.command}}}", "s/t: runs commands without a sandbox (sandbox: none)"},
		"sends":    {"{tier: T4_IDENTITY_MONEY_OUTBOUND, signed: no, effect: {message: {to: args.to}}}", "s/t: may be approved without a signature (signed: no)"},
	} {
		cfg, err := config.Parse("config.yaml", []byte(base+c.tool+"\n"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := slices.DeleteFunc(Weaknesses(cfg, "terminal"), func(w string) bool { return !strings.HasPrefix(w, "s/") })
		if text := strings.Join(got, "\n"); text != c.want {
			t.Errorf("%s: got %q, want %q", name, text, c.want)
		}
	}
}
