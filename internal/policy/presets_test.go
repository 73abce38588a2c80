package policy

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/mcpguard/mcpguard/configs"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/workspace"
)

// packageServer compiles a configuration that starts the package of a preset
// in the version that testdata was taken from.
func packageServer(t testing.TB, preset, version string) (*Server, map[string]json.RawMessage) {
	t.Helper()
	tools := packageTools(t, preset)
	var defs [][]byte
	for _, d := range tools {
		defs = append(defs, d)
	}
	src := "version: 1\nroots: [/w]\nservers:\n  s:\n    preset: " + preset + "\n    command: npx\n    args: [-y, '@modelcontextprotocol/server-" + preset + "@" + version + "', /w]\n"
	set := compile(t, src, defs...)
	sv, _ := set.Server("s")
	sv.Config.Detected, _ = config.DetectPackage(sv.Config) // as loading the file does
	set, err := Compile(set.Config(), set.Lock())
	if err != nil {
		t.Fatal(err)
	}
	sv, _ = set.Server("s")
	return sv, tools
}

func localRequest(name, args string, def []byte, targets ...guard.Target) Request {
	r := request(args, targets...)
	r.Call.Tool, r.Definition = name, def
	r.Call.Session.Tenant, r.Call.Session.Environment = "local", "dev"
	return r
}

// TestPresetsNameEveryTool compares each preset with what the real package
// lists: every tool has a tier, none is invented, and what reads a path says so.
func TestPresetsNameEveryTool(t *testing.T) {
	for _, preset := range []string{"filesystem", "memory", "everything"} {
		sv, tools := packageServer(t, preset, "2026.8.31")
		var named []string
		for _, x := range sv.Tools() {
			named = append(named, x.Name)
		}
		if got := slices.Sorted(maps.Keys(tools)); !slices.Equal(got, named) {
			t.Errorf("%s: the package lists %q, the preset names %q", preset, got, named)
		}
		for name, raw := range tools {
			x, ok := sv.Tool(name)
			if !ok {
				continue
			}
			var d struct {
				InputSchema struct {
					Properties map[string]any
				}
				Annotations struct{ ReadOnlyHint, DestructiveHint *bool }
			}
			if err := json.Unmarshal(raw, &d); err != nil {
				t.Fatal(err)
			}
			for _, arg := range []string{"path", "paths", "source", "destination"} {
				if _, ok := d.InputSchema.Properties[arg]; ok && !x.namesPaths() {
					t.Errorf("%s/%s takes %q and its preset binds no path", preset, name, arg)
				}
			}
			hint := d.Annotations.ReadOnlyHint
			if hint != nil && !*hint && x.Tier == guard.T0Read && preset != "everything" {
				t.Errorf("%s/%s says that it writes; the preset makes it a read", preset, name)
			}
			if !x.Listed(guard.Session{Tenant: "local", Environment: "dev"}, raw) {
				t.Errorf("%s/%s is not listed", preset, name)
			}
		}
	}
}

// TestPresetFilesystem sends calls through the preset as the package lists its
// tools.
func TestPresetFilesystem(t *testing.T) {
	sv, tools := packageServer(t, "filesystem", "2026.8.31")
	for _, c := range []struct {
		tool, args string
		targets    []guard.Target
		rule       guard.Rule
		tier       guard.Tier
		sensitive  bool
	}{
		{"read_text_file", `{"path":"a","head":3}`, []guard.Target{file("a")}, guard.RuleTierDefault, guard.T0Read, false},
		{"read_text_file", `{"path":"a","encoding":"x"}`, []guard.Target{file("a")}, guard.RuleSchema, 0, false},
		{"read_multiple_files", `{"paths":["a","b/.env"]}`, []guard.Target{file("a"), file("b/.env")}, guard.RuleTierDefault, guard.T0Read, true},
		{"read_media_file", `{"path":"keys/id_rsa"}`, []guard.Target{file("keys/id_rsa")}, guard.RuleTierDefault, guard.T0Read, true},
		{"list_allowed_directories", `{}`, nil, guard.RuleTierDefault, guard.T0Read, false},
		{"write_file", `{"path":"a","content":"x"}`, []guard.Target{file("a")}, guard.RuleTierDefault, guard.T1ReversibleWrite, false},
		{"write_file", `{"path":".git/config","content":"x"}`, []guard.Target{file(".git/config")}, "servers.s.tools.write_file.deny[0]", 0, false},
		{"edit_file", `{"path":"sub/.git/x","edits":[]}`, []guard.Target{file("sub/.git/x")}, "servers.s.tools.edit_file.deny[0]", 0, false},
		{"edit_file", `{"path":"a","edits":[{"oldText":"a","newText":"b","regex":true}]}`, []guard.Target{file("a")}, guard.RuleSchema, 0, false},
		{"edit_file", `{"path":".github/workflows/x.yml","edits":[]}`, []guard.Target{file(".github/workflows/x.yml")}, guard.RuleTierDefault, guard.T2IrreversibleWrite, false},
		{"move_file", `{"source":"a","destination":".git/b"}`, []guard.Target{file("a"), file(".git/b")}, "servers.s.tools.move_file.deny[0]", 0, false},
		{"create_directory", `{"path":"d"}`, []guard.Target{file("d")}, guard.RuleTierDefault, guard.T1ReversibleWrite, false},
	} {
		x, _ := sv.Tool(c.tool)
		req := localRequest(c.tool, c.args, tools[c.tool], c.targets...)
		d := x.Admit(req)
		if d.Rule != c.rule {
			t.Errorf("%s %s: %+v, want %s", c.tool, c.args, d, c.rule)
			continue
		}
		if c.tier == 0 {
			continue
		}
		p := guard.Preview{}
		if x.Tier != guard.T0Read {
			p = preview("file.write", c.targets...)
		}
		if v := x.Decide(req, p); v.Tier != c.tier || v.Sensitive != c.sensitive {
			t.Errorf("%s %s: %+v", c.tool, c.args, v)
		}
	}
}

func TestPresetOnOtherVersions(t *testing.T) {
	for version, kind := range map[string]string{"2026.8.31": effect.FileWrite, "2026.9.1": effect.Opaque, "latest": effect.Opaque} {
		sv, tools := packageServer(t, "filesystem", version)
		x, _ := sv.Tool("write_file")
		if x.Binding.Kind() != kind || x.Proven() != (kind != effect.Opaque) {
			t.Errorf("version %s: effect %s", version, x.Binding.Kind())
		}
		// What protects the repository applies to every version.
		d := x.Admit(localRequest("write_file", `{"path":".git/x","content":""}`, tools["write_file"], file(".git/x"), guard.Target{Kind: "opaque", Key: "s", Write: true}))
		if d.Rule != "servers.s.tools.write_file.deny[0]" {
			t.Errorf("version %s: %+v", version, d)
		}
	}
}

func TestPresetMemory(t *testing.T) {
	sv, tools := packageServer(t, "memory", "2026.8.31")
	x, _ := sv.Tool("delete_entities")
	req := localRequest("delete_entities", `{"entityNames":["a","b"]}`, tools["delete_entities"], guard.Target{Kind: "record", Key: "s:read_graph:{}", Path: "read_graph:{}", Write: true})
	if d := x.Admit(req); d.Verdict != guard.Allow {
		t.Fatalf("%+v", d)
	}
	v := x.Decide(req, preview("json.replace", req.Targets...))
	if v.Tier != guard.T2IrreversibleWrite || v.Verdict != guard.Ask || len(v.SideEffects) != 2 || v.SideEffects[1].Text != "deletes 2 entities with their relations" {
		t.Errorf("%+v", v)
	}
}

// TestPresetsCompile compiles a configuration around every preset, and the
// example.
func TestPresetsCompile(t *testing.T) {
	for _, name := range configs.Presets() {
		compile(t, "version: 1\nroots: [/w]\nservers:\n  s: {preset: "+name+", command: /bin/x}\n")
	}
	compile(t, string(configs.Example()))
}

// TestPresetWorkspace compares the preset with the built-in server itself.
func TestPresetWorkspace(t *testing.T) {
	sv, _ := compile(t, "version: 1\nroots: [/w]\nservers:\n  s: {builtin: workspace}\n").Server("s")
	conn, err := workspace.Open(workspace.Config{Roots: []string{t.TempDir()}, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Stop(t.Context())
	ask := func(frame string) []byte {
		t.Helper()
		if err := conn.Write([]byte(frame)); err != nil {
			t.Fatal(err)
		}
		answer, err := conn.Next()
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	ask(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
	var list struct {
		Result struct {
			Tools []struct {
				Name        string
				InputSchema json.RawMessage
				Annotations struct{ ReadOnlyHint, DestructiveHint bool }
			}
		}
	}
	if err := json.Unmarshal(ask(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`), &list); err != nil {
		t.Fatal(err)
	}
	specs := workspace.Specs()
	var names []string
	for _, d := range list.Result.Tools {
		names = append(names, d.Name)
		x, ok := sv.Tool(d.Name)
		if !ok {
			t.Errorf("%s is not in the preset", d.Name)
			continue
		}
		if d.Annotations.ReadOnlyHint != (x.Tier == guard.T0Read) {
			t.Errorf("%s: read only is %v, tier %s", d.Name, d.Annotations.ReadOnlyHint, x.Tier)
		}
		if _, err := compileSchema(d.InputSchema); err != nil {
			t.Errorf("%s: %v", d.Name, err)
		}
		if spec, ok := specs[d.Name]; ok && (x.effect.Kind != spec.Kind || !maps.Equal(x.effect.Params, spec.Params)) {
			t.Errorf("%s: the preset binds %+v, the server does %+v", d.Name, x.effect, spec)
		}
	}
	slices.Sort(names)
	var preset []string
	for _, x := range sv.Tools() {
		preset = append(preset, x.Name)
	}
	if !slices.Equal(names, preset) {
		t.Errorf("the server lists %q, the preset names %q", names, preset)
	}
}

// TestUnprovenServerKeepsItsPolicy: a process of another version gets the same
// policy, except for what is known about its effects.
func TestUnprovenServerKeepsItsPolicy(t *testing.T) {
	sv, _ := packageServer(t, "filesystem", "2026.8.31")
	set, err := Compile(&config.Config{Servers: map[string]*config.Server{"s": sv.Config, "other": {Name: "other", Command: "x"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	was, _ := set.Server("s")
	other, _ := set.Server("other")
	out := set.Unproven("s")
	got, ok := out.Server("s")
	if !ok || len(got.Tools()) != len(was.Tools()) || out.Config() != set.Config() {
		t.Fatalf("it is another policy: %v", ok)
	}
	for _, x := range was.Tools() {
		y, _ := got.Tool(x.Name)
		if !x.Proven() || y.Proven() || x.Hash == y.Hash || x.Tier != y.Tier {
			t.Errorf("%s: proven %v and %v, of one hash: %v", x.Name, x.Proven(), y.Proven(), x.Hash == y.Hash)
		}
	}
	if x, _ := got.Tool("write_file"); x.Binding.Kind() != effect.Opaque {
		t.Errorf("write_file is %s", x.Binding.Kind())
	}
	if same, _ := out.Server("other"); same != other {
		t.Error("another server is not the same")
	}
	if now, _ := set.Server("s"); now != was || !now.Config.Proven() {
		t.Error("the set itself has changed")
	}
	if none, ok := set.Unproven("nope").Server("nope"); ok {
		t.Errorf("got %v", none)
	}
}
