package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
)

const base = "version: 1\nroots: [/w]\nservers:\n  s:\n    command: /bin/x\n    tools:\n      t:\n        tier: T1_REVERSIBLE_WRITE\n"

// TestPromise1_WhatIsNotUnderstoodDoesNotLoad: each message has a position and, if
// there is one, a suggestion.
func TestPromise1_WhatIsNotUnderstoodDoesNotLoad(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"", "c.yaml:1:1: the version of the configuration is missing – write \"version: 1\""},
		{"version: 2\n", "c.yaml:1:10: this program reads version 1"},
		{"version: '1'\n", `c.yaml:1:10: a whole number is needed here, not "1"`},
		{"version: 1\nservrs: {}\n", `c.yaml:2:1: "servrs" is not a key of the configuration – did you mean "servers"?`},
		{base + "        aproval: {}\n", `c.yaml:9:9: "aproval" is not a key of a tool – did you mean "approval"?`},
		{strings.Replace(base, "T1_REVERSIBLE_WRITE", "T1", 1), `c.yaml:8:15: "T1" is not a tier – did you mean "T1_REVERSIBLE_WRITE"?`},
		{strings.Replace(base, "        tier: T1_REVERSIBLE_WRITE\n", "        says: x\n", 1), `c.yaml:7:7: tool "t" has no tier`},
		{strings.Replace(base, "        tier: T1_REVERSIBLE_WRITE\n", "", 1), `c.yaml:7:7: tool "t" has no tier`},
		{strings.Replace(base, "command: /bin/x", "preset: filesytem", 1), `c.yaml:5:13: there is no preset "filesytem" – did you mean "filesystem"?`},
		{base + "        limits: {recipients_per_day: 3}\n", `"recipients_per_day" is not a limit that this version enforces, and a limit that is not enforced does not load`},
		{base + "        limits: {rate: fast}\n", `c.yaml:9:24: a rate such as 5/s, 30/m or 100/h is needed here, not "fast"`},
		{base + "        limits: {calls_per_run: 0}\n", "a limit is at least 1"},
		{base + "        limits: {output: 5XB}\n", "a size such as 64KiB"},
		{strings.Replace(base, "T1_REVERSIBLE_WRITE", "T2_IRREVERSIBLE_WRITE", 1) + "        effect: opaque\n        approval: {mode: post}\n", "'post' (run first, show then) is for T1_REVERSIBLE_WRITE alone"},
		{base + "        approval: {mode: post, required: false}\n", "'required: false' does not"},
		{base + "        approval: {mode: later}\n", "a mode of approval"},
		{base + "        labels: [privat]\n", `c.yaml:9:18: "privat" is not a label – did you mean "private"?`},
		{base + "        labels: private\n", "a list is needed here"},
		{base + "        approval: {mode: aks}\n", `"aks" is not a mode of approval – did you mean "ask"?`},
		{base + "        approval: {approvers: 2}\n", "more than one approver is not enforced in this version"},
		{base + "        approval: {ttl: 48h}\n", "an approval may wait from"},
		{base + "        approval: {ttl: soon}\n", "a duration such as 30s"},
		{base + "        effect: {file.wirte: {path: args.path}}\n", `c.yaml:9:18: "file.wirte" is not a kind of effect – did you mean "file.write"?`},
		{base + "        effect: {smtp: {}}\n", "is not a kind of effect"},
		{base + "        effect: {file.read: {path: args.path}}\n", "file.read is for tools at T0_READ"},
		{base + "        effect: {file.write: {}, file.delete: {}}\n", "an effect is 'opaque', or one kind"},
		{strings.Replace(base, "T1_REVERSIBLE_WRITE", "T2_IRREVERSIBLE_WRITE", 1), "from T2 up a tool must say its effect"},
		{base + "        tiers_when: [{when: 'true', tier: T2_IRREVERSIBLE_WRITE}]\n", "from T2 up a tool must say its effect"},
		{strings.Replace(base, "T1_REVERSIBLE_WRITE", "T0_READ\n        effect: opaque", 1), "a tool at T0_READ changes nothing"},
		{strings.Replace(base, "T1_REVERSIBLE_WRITE", "T2_IRREVERSIBLE_WRITE\n        effect: opaque\n        approval: {required: false}", 1), "approval cannot be switched off for T2_IRREVERSIBLE_WRITE"},
		{base + "        effect: opaque\n        approval: {required: false}\n        tiers_when: [{when: 'true', tier: T3_EXECUTE}]\n", "approval cannot be switched off for T3_EXECUTE"},
		{base + "        effect: {file.delete: {path: args.path}}\n        tiers_when: [{when: 'true', tier: T0_READ}]\n", "a call that changes files cannot be T0_READ"},
		{base + "        sandbox: bubblewrap\n", "is no sandbox that this version knows"},
		{base + "        signed: yes\n", "signed decisions are not enforced in this version"},
		{base + "        signed: true\n", "signed decisions are not enforced in this version"},
		{base + "        environments: [prd]\n", `"prd" is not an environment – did you mean "prod"?`},
		{base + "        tenants: [lokal]\n", `no profile has the tenant "lokal" – did you mean "local"?`},
		{base + "        deny: [{says: x}]\n", "an entry of deny needs a condition"},
		{base + "        deny: {when: x}\n", "a list is needed here, not a mapping"},
		{base + "        says: x\n", "'says' belongs to tier NEVER"},
		{base + "        tier: T0_READ\n", `the key "tier" is written twice (first on line 8)`},
		{base + "    env: [PATH=/bin]\n", "'env' lists names of environment variables"},
		{base + "    secrets: {TOKEN: hunter2}\n", "a secret is named by where it is found"},
		{base + "    cwd: src\n", "'cwd' is 'client' or an absolute folder"},
		{base + "    workspaces: [src]\n", "a workspace is 'client' or an absolute folder"},
		{base + "    versions: [1.0.0]\n", `"versions" can only be said by a preset`},
		{base + "    methods: {tools/call: allow}\n", `the guard handles "tools/call" itself`},
		{base + "    builtin: workspace\n", "a built-in server has no command"},
		{base + "    prompts: yes\n", `"yes" is not 'allow' or 'deny'`},
		{"version: 1\nservers: {s: {command: x, tools: {t: {tier: T0_READ}}}}\n", "no folder is served"},
		{"version: 1\nroots: [src]\n", `"src" is not an absolute folder`},
		{"version: 1\nroots: [/w]\nprofiles: {a: {roots: [/w], tenant: x, environment: dev}}\n", "cannot be used beside 'profiles'"},
		{"version: 1\nprofiles: {a: {roots: [/w], tenant: x, environment: dev}, b: {roots: [/w], tenant: y, environment: dev}}\n", `the folder belongs to profile "a" already`},
		{"version: 1\nprofiles: {a: {roots: [/w], environment: dev}}\n", `profile "a" has no tenant`},
		{"version: 1\nroots: [/w]\nservers:\n  a/b: {command: x}\n", `"a/b" cannot be the name of a server`},
		{"version: 1\ntime_boxes: {NEVER: {ttl: 1m}}\n", "nothing is approved at tier NEVER"},
		{"version: 1\nhold: {default: 1ms}\n", "a duration from 1s to 24h, or 'wait'"},
		{"version: 1\naudit: {reads: lax}\n", `"lax" is not a way to record reads`},
		{"version: 1\napprovers: {unsigned: termnal}\n", `did you mean "terminal"?`},
		{"version: &v 1\n", "anchors and aliases are not allowed"},
		{"version: !!int 1\n", "tags are not allowed"},
		{"version: 1\n---\nversion: 1\n", "more than one document"},
		{"version: [1\n", "this is not valid YAML"},
		{"version: 1\nservers:\n\tfiles: {}\n", "indented with spaces, not with tabs"},
		{"- version: 1\n", "a mapping (the configuration) is needed here, not a list"},
		{"version: 1\nroots: " + strings.Repeat("[", 5000) + "\n", "nests too deeply"},
		{"version: 1\n# \xff\n", "not valid UTF-8"},
	} {
		_, err := Parse("c.yaml", []byte(c.src))
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s\nloads: %v\nwant %s", c.src, err, c.want)
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.300s\ngot  %s\nwant %s", c.src, err, c.want)
		}
		for _, d := range e.Diagnostics {
			if d.Line == 0 && !strings.Contains(d.Message, "nests") && !strings.Contains(d.Message, "UTF-8") {
				t.Errorf("%s\nno place: %s", c.src, d)
			}
		}
	}
}

func TestEveryProblemIsReported(t *testing.T) {
	_, err := Parse("c.yaml", []byte("version: 1\nrots: [/w]\nservers:\n  s:\n    comand: x\n    tools:\n      t: {tier: T9}\n      u: {teir: T0_READ}\n"))
	var e *Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	var got []string
	for _, d := range e.Diagnostics {
		got = append(got, d.Pos.String()+" "+d.Suggestion)
	}
	for _, want := range []string{`c.yaml:2:1 did you mean "roots"?`, `c.yaml:5:5 did you mean "command"?`, `c.yaml:8:11 did you mean "tier"?`} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing in\n%s", want, strings.Join(got, "\n"))
		}
	}
	if !slices.IsSortedFunc(e.Diagnostics, func(a, b Diagnostic) int { return a.Line - b.Line }) {
		t.Error("not in the order of the file")
	}
}

// TestPromise8_SecretsDoNotLoad: a secret in the file is an error, and no error
// repeats it.
func TestPromise8_SecretsDoNotLoad(t *testing.T) {
	for _, secret := range []string{
		"sk-ant-" + strings.Repeat("a1", 12), "ghp_" + strings.Repeat("a1", 15), "AKIA" + strings.Repeat("A1", 8),
		"glpat-" + strings.Repeat("a1", 10), "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abcdefghijklmnop", "postgres://me:hunter2@db/x",
		"--api-key=abcdef123456", "DB_PASSWORD=hunter22",
	} {
		for _, src := range []string{
			base + "    args: ['" + secret + "']\n",
			base + "    secrets: {T: '" + secret + "'}\n",
			base + "    env: ['" + secret + "']\n",
		} {
			_, err := Parse("c.yaml", []byte(src))
			if err == nil {
				t.Errorf("loads:\n%s", src)
			} else if strings.Contains(err.Error(), secret) {
				t.Errorf("the error repeats the secret: %v", err)
			}
		}
	}
	if _, err := Parse("c.yaml", []byte(base+"    args: [--token, abcdef123456]\n")); err == nil || strings.Contains(err.Error(), "abcdef") {
		t.Errorf("a flag's value: %v", err)
	}
	for _, fine := range []string{"--token-file=/run/x", "--verbose", "/opt/keys/x", "postgres://db/x", "https://example.com/@me"} {
		if _, err := Parse("c.yaml", []byte(base+"    args: ['"+fine+"', --token, /run/secrets/x]\n")); err != nil {
			t.Errorf("%s: %v", fine, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	c, err := Parse("c.yaml", []byte(base))
	if err != nil {
		t.Fatal(err)
	}
	s := c.Servers["s"]
	tool := s.Tools["t"]
	if !c.Implicit || c.Profiles["default"].Tenant != "local" || c.Profiles["default"].Environment != "dev" || c.Profiles["default"].Roots[0] != "/w" {
		t.Errorf("profiles %+v", c.Profiles)
	}
	if !slices.Equal(tool.Tenants, []string{"local"}) || !slices.Equal(tool.Environments, []string{"dev"}) {
		t.Errorf("tool %+v", tool)
	}
	if s.Cwd != "client" || !slices.Equal(s.Workspaces, []string{"client"}) || s.Prompts != AccessDeny || s.Resources != AccessDeny || s.Sampling != AccessDeny || s.Elicitation != AccessAllow {
		t.Errorf("server %+v", s)
	}
	if c.Audit.Reads != "strict" || c.Approvers.Unsigned != "terminal" {
		t.Errorf("%+v %+v", c.Audit, c.Approvers)
	}
	if d, wait := c.Hold.For("x"); d != 50*time.Second || wait {
		t.Errorf("hold %v %v", d, wait)
	}
	if _, wait := c.Hold.For("claude-code"); !wait {
		t.Error("claude-code does not wait")
	}
	if c.Box(guard.T1ReversibleWrite).TTL != 15*time.Minute || c.Box(guard.T2IrreversibleWrite).TTL != 5*time.Minute {
		t.Error("time boxes")
	}
	// With profiles, nothing is open to anyone by default.
	c, err = Parse("c.yaml", []byte(strings.Replace(base, "roots: [/w]", "profiles: {a: {roots: [/w], tenant: x, environment: dev}}", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if tool := c.Servers["s"].Tools["t"]; tool.Tenants != nil || tool.Environments != nil || len(c.Notes) != 1 {
		t.Errorf("%+v, notes %v", tool, c.Notes)
	}
}

// TestUncallableToolsAreNotedOnce: a preset under profiles brings many such
// tools, and one note at the server is enough.
func TestUncallableToolsAreNotedOnce(t *testing.T) {
	c, err := Parse("config.yaml", []byte(`version: 1
profiles: {a: {roots: [/w], tenant: acme, environment: dev}}
servers:
  work:
    builtin: workspace
    preset: workspace
    tools:
      read_file: {tenants: [acme], environments: [dev]}
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Notes) != 1 {
		t.Fatalf("got %d notes: %v", len(c.Notes), c.Notes)
	}
	got := c.Notes[0].String()
	for _, want := range []string{"config.yaml:4:3: 13 tools of server \"work\"", "append_file", "add 'tenants' and 'environments' to the server"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %q", got, want)
		}
	}
	if strings.Contains(got, "read_file,") {
		t.Errorf("a tool that can be called is named: %s", got)
	}
}

// TestFileRefinesPresetAndKeepsProtections: the file overrides the preset, and
// protections are added up.
func TestFileRefinesPresetAndKeepsProtections(t *testing.T) {
	c, err := Parse("c.yaml", []byte(`version: 1
roots: [/w]
servers:
  s:
    preset: filesystem
    command: /bin/x
    tools:
      write_file:
        tier: T2_IRREVERSIBLE_WRITE
        deny: [{when: "under(target.path, 'vendor')", says: mine}]
        tiers_when: [{when: "under(target.path, 'docs')", tier: T1_REVERSIBLE_WRITE}]
        limits: {rate: 5/m}
      read_file: {labels: [untrusted, private]}
      move_file: {tier: NEVER}
      own_tool: {tier: T0_READ}
`))
	if err != nil {
		t.Fatal(err)
	}
	s := c.Servers["s"]
	w := s.Tools["write_file"]
	if w.Tier != guard.T2IrreversibleWrite || w.Effect.Kind != "file.write" || w.Limits.Rate.Count != 5 {
		t.Errorf("%+v", w)
	}
	if len(w.Deny) != 2 || w.Deny[1].Says != "mine" || w.Deny[1].Path != "servers.s.tools.write_file.deny[1]" {
		t.Errorf("deny %+v", w.Deny)
	}
	if len(w.TiersWhen) != 2 || w.TiersWhen[0].Tier != guard.T1ReversibleWrite {
		t.Errorf("tiers_when %+v", w.TiersWhen)
	}
	if got := s.Tools["read_file"].Labels; !slices.Equal(got, []Label{LabelPrivate, LabelUntrusted}) {
		t.Errorf("labels %q: the preset's stay, and none is there twice", got)
	}
	if s.Tools["move_file"].Tier != guard.Never || s.Tools["own_tool"].Tier != guard.T0Read || s.Tools["edit_file"].Tier != guard.T1ReversibleWrite {
		t.Error("tools")
	}
	if p := c.Pos("servers.s.tools.write_file.deny[0]"); p.File != "presets/filesystem.yaml" {
		t.Errorf("the preset's rule stands at %s", p)
	}
	if p := c.Pos("servers.s.tools.write_file.deny[1].when"); p.String() != "c.yaml:10:23" {
		t.Errorf("the file's rule stands at %s", p)
	}
}

func TestUnconfirmed(t *testing.T) {
	src := strings.Replace(base, "T1_REVERSIBLE_WRITE\n", "T1_REVERSIBLE_WRITE # server's claim, unconfirmed\n      u: {tier: T0_READ} # server's claim, unconfirmed\n      v: {tier: T0_READ}\n", 1)
	c, err := Parse("c.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Unconfirmed(); !slices.Equal(got, []string{"s/t", "s/u"}) {
		t.Errorf("got %q", got)
	}
}

// TestOnlyTheOwnerMayWrite: a file that others could have written does not load.
func TestOnlyTheOwnerMayWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, []byte(base), 0o600); err != nil {
		t.Fatal(err)
	}
	refused := func(when, path string) {
		t.Helper()
		_, err := Load(path)
		var p *PermissionError
		if !errors.As(err, &p) || !strings.Contains(err.Error(), "chmod") {
			t.Errorf("%s: %v", when, err)
		}
	}
	chmod := func(p string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Load(path); err != nil {
		t.Fatal(err)
	}
	chmod(path, 0o620)
	refused("written by the group", path)
	chmod(path, 0o602)
	refused("written by all", path)
	chmod(path, 0o644)
	if _, err := Load(path); err != nil {
		t.Errorf("read by all: %v", err)
	}
	chmod(dir, 0o770)
	refused("in a folder of the group", path)
	chmod(dir, 0o700)
	if _, err := LoadLock(filepath.Join(dir, "none")); err != nil {
		t.Errorf("no lock: %v", err)
	}
	// A link is followed, and its target is checked.
	other := filepath.Join(dir, "other")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(other, "config.yaml")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(link); err != nil {
		t.Errorf("through a link: %v", err)
	}
	chmod(path, 0o666)
	refused("through a link", link)
	chmod(path, 0o600)
	chmod(other, 0o777)
	refused("the link's own folder", link)
	if _, err := Load(dir); err == nil {
		t.Error("a folder loads")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(base))
	f.Add([]byte("version: 1\nservers: {s: {preset: filesystem, command: x, tools: {write_file: {sensitive: [{when: a}], effect: opaque}}}}\n"))
	f.Add([]byte("a: &x [*x]\n? b\n: c\n<<: d\n"))
	f.Add([]byte("x: |\n  y\n\t- z\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("c.yaml", data)
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v, error %v", c, err)
		}
		var e *Error
		if err != nil && (!errors.As(err, &e) || len(e.Diagnostics) == 0) {
			t.Fatalf("error %v", err)
		}
		if err != nil {
			return
		}
		// Nothing loads that has a tool without a tier, or one open to nobody
		// known.
		for _, s := range c.Servers {
			for _, x := range s.Tools {
				if !x.Tier.Valid() {
					t.Fatalf("a tool without a tier: %+v", x)
				}
			}
		}
	})
}
