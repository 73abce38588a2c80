package expr

import (
	"errors"
	"path"
	"reflect"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/guard"
)

func sample(t testing.TB) *Vars {
	t.Helper()
	args, err := DecodeArgs([]byte(`{"path":"src/a.go","n":9007199254740993,"f":1.5,"list":["a","b"],
		"edits":[{"oldText":"x","newText":"y","line":3}],"nothing":null,"yes":true}`))
	if err != nil {
		t.Fatal(err)
	}
	targets := []guard.Target{
		{Kind: "file", Key: "/w/src/a.go", Path: "src/a.go", Root: "/w", Write: true},
		{Kind: "file", Key: "/w/.git/config", Path: ".git/config", Root: "/w", Write: true},
	}
	return &Vars{
		Args: args, Target: &targets[0], Targets: targets, Tool: "write_file", Server: "files", Calls: 4,
		Session: &guard.Session{Tenant: "acme", Environment: "dev", Workflow: "audit", RunID: "run_1",
			Origin: guard.Origin{Client: "claude-code", Version: "2.1", Folder: "/w"}},
		Effect:  &guard.Effect{Kind: "file.write", Before: guard.State{Exists: true, Size: 7, Mode: 0o755}},
		Preview: &guard.Preview{Change: guard.Change{Added: 3, Removed: 1}},
	}
}

func env(t testing.TB) *Env {
	t.Helper()
	e, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestBool(t *testing.T) {
	v := sample(t)
	for src, want := range map[string]bool{
		`target.path.startsWith('src/')`:                 true,
		`under(target.path, 'src')`:                      true,
		`under(target.path, 'sr')`:                       false,
		`targets.exists(t, under(t.path, '.git'))`:       true,
		`targets.all(t, t.write)`:                        true,
		`glob(target.path, '**/*.go')`:                   true,
		`glob(target.path, '*.go')`:                      false,
		`args.n == 9007199254740993`:                     true,
		`args.n == 9007199254740992`:                     false,
		`args.f > 1`:                                     true,
		`args.yes`:                                       true,
		`has(args.gone)`:                                 false,
		`has(args.nothing)`:                              true,
		`args.edits.exists(e, e.line == 3)`:              true,
		`tenant == 'acme' && environment == 'dev'`:       true,
		`workflow == 'audit' && server == 'files'`:       true,
		`tool == 'write_file' && run.calls >= 4`:         true,
		`run.id == 'run_1'`:                              true,
		`client.name == 'claude-code'`:                   true,
		`client.folder == '/w'`:                          true,
		`effect.existed && effect.size_before == 7`:      true,
		`effect.executable && effect.added == 3`:         true,
		`target.path.lowerAscii().endsWith('.go')`:       true,
		`args.path.matches('^src/[a-z]+\\.go$')`:         true,
		`'b' in args.list && size(args.list) == 2`:       true,
		`target.absolute == '/w/src/a.go'`:               true,
		`args.gone == 1 || true`:                         true, // CEL: an error on one side of || is absorbed
		`target.root + '/' + args.path == '/w/src/a.go'`: true,
	} {
		p, err := env(t).Compile(src, Bool)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		if got, err := p.Bool(v); err != nil || got != want {
			t.Errorf("%s = %v, %v; want %v", src, got, err, want)
		}
	}
}

// TestPromise1_UnknownIsAnError: whatever an expression cannot know is an error,
// which callers turn into a denial.
func TestPromise1_UnknownIsAnError(t *testing.T) {
	full, none := sample(t), &Vars{}
	cases := []struct {
		src  string
		vars *Vars
	}{
		{`args.gone == 'x'`, full},
		{`args.path`, full}, // a string where a condition is needed
		{`args.nothing.deeper == 1`, full},
		{`args.n > 'a'`, full},
		{`args.list[7] == 'a'`, full},
		{`glob(target.path, '[')`, full},
		{`args.n + 9223372036854775807 > 0`, full},
		{`args.path == 'x'`, none},
		{`target.path == 'x'`, none},
		{`targets.exists(t, t.write)`, none},
		{`effect.added == 0`, none},
		{`tenant == ''`, none},
		{`environment == ''`, none},
		{`workflow == ''`, none},
		{`run.calls == 0`, none},
		{`client.name == ''`, none},
		{`tool == ''`, none},
		{`server == ''`, none},
		{`tenant == ''`, nil},
		{`under(target.path, '.git')`, &Vars{Target: &guard.Target{Kind: "opaque"}}},
		{`glob(target.path, '**')`, &Vars{Target: &guard.Target{Kind: "opaque"}}},
	}
	for _, c := range cases {
		p, err := env(t).Compile(c.src, Bool)
		if err != nil {
			t.Errorf("%s: %v", c.src, err)
			continue
		}
		if got, err := p.Bool(c.vars); err == nil || got {
			t.Errorf("%s = %v, %v; want an error", c.src, got, err)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	for _, c := range []struct {
		src       string
		want      Type
		line, col int
		message   string
	}{
		{`target.pth == 'x'`, Bool, 1, 7, "undefined field 'pth'"},
		{`tagret.path == 'x'`, Bool, 1, 1, "undeclared reference"},
		{"tool == 'a' &&\n  tenat == 'b'", Bool, 2, 3, "undeclared reference"},
		{`'ö' == tool &&& true`, Bool, 1, 15, "Syntax error"},
		{`1 + 1`, Bool, 1, 1, "yields int; true or false is needed"},
		{`tool`, Bool, 1, 1, "yields string"},
		{`1`, String, 1, 1, "a string is needed"},
		{`[1]`, StringList, 1, 1, "a string or a list of strings"},
		{`  `, Bool, 1, 1, "empty"},
		{strings.Repeat("a", maxSource+1), Bool, 1, 1, "at most 4096"},
		{`args.a.all(a, args.b.all(b, args.c.all(c, args.d.all(d, a == b && c == d))))`, Bool, 1, 1, "cost too much"},
		{strings.Repeat("(", 300) + "true" + strings.Repeat(")", 300), Bool, 1, 1, ""},
		{`mcpguard.Target{path: 'x'}.path == 'x' && `, Bool, 1, 1, ""},
	} {
		_, err := env(t).Compile(c.src, c.want)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%.60s: %v, want *Error", c.src, err)
			continue
		}
		if !strings.Contains(e.Message, c.message) {
			t.Errorf("%.60s: %q, want %q", c.src, e.Message, c.message)
		}
		if c.message != "" && (e.Line != c.line || e.Column != c.col) {
			t.Errorf("%.60s: at %d:%d, want %d:%d", c.src, e.Line, e.Column, c.line, c.col)
		}
	}
}

func TestStringsAndAny(t *testing.T) {
	v, e := sample(t), env(t)
	for src, want := range map[string][]string{
		`args.path`:                 {"src/a.go"},
		`args.list`:                 {"a", "b"},
		`[args.path, 'x']`:          {"src/a.go", "x"},
		`[]`:                        {},
		`args.list.map(x, x + '!')`: {"a!", "b!"},
	} {
		p, err := e.Compile(src, StringList)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		if got, err := p.Strings(v); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s = %q, %v; want %q", src, got, err, want)
		}
	}
	for _, src := range []string{`args.n`, `args.edits`, `args.nothing`, `args`} {
		p, err := e.Compile(src, Dyn)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Strings(v); err == nil {
			t.Errorf("%s = %q; want an error", src, got)
		}
	}
	p, err := e.Compile(`args`, Dyn)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.Any(v); err != nil || !reflect.DeepEqual(got, any(v.Args.Plain)) {
		t.Errorf("args = %v, %v", got, err)
	}
	p, err = e.Compile(`'a' + tool`, String)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.String(v); err != nil || got != "awrite_file" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestUses(t *testing.T) {
	p, err := env(t).Compile(`under(target.path, 'x') && args.a == effect.kind && args.l.all(t, t == 'q')`, Bool)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"target": true, "effect": true, "args": true, "targets": false, "tool": false, "under()": true, "glob()": false} {
		if p.Uses(name) != want {
			t.Errorf("Uses(%q) = %v", name, !want)
		}
	}
}

// TestCostlyEvaluationStops: an expression that is cheap on ordinary arguments
// is stopped on hostile ones.
func TestCostlyEvaluationStops(t *testing.T) {
	p, err := env(t).Compile(`args.a.all(x, args.a.all(y, x == y))`, Bool)
	if err != nil {
		t.Fatal(err)
	}
	list := make([]any, 100_000)
	for i := range list {
		list[i] = "same"
	}
	if got, err := p.Bool(&Vars{Args: Args{Plain: map[string]any{"a": list}}}); err == nil {
		t.Errorf("got %v; want an error", got)
	}
	p, err = env(t).Compile(`args.s.contains('-----BEGIN PRIVATE KEY')`, Bool)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.Bool(&Vars{Args: Args{Plain: map[string]any{"s": strings.Repeat("x", 16<<20)}}}); err != nil || got {
		t.Errorf("a search through 16 MiB: %v, %v", got, err)
	}
}

func TestUnder(t *testing.T) {
	for _, c := range []struct {
		p, dir string
		want   bool
	}{
		{".git", ".git", true}, {".git/hooks/x", ".git", true}, {".github/x", ".git", false},
		{"a/../.git/x", ".git", true}, {".git/../a", ".git", false}, {"./.git/", ".git", true}, {".git", ".git/", true},
		{"a", ".", true}, {"../a", ".", false}, {"..", ".", false}, {"/a", ".", false}, {"..a", ".", true},
		{"/a", "/", true}, {"a", "/", false}, {"/srv/shop2", "/srv/shop", false},
	} {
		if got := Under(c.p, c.dir); got != c.want {
			t.Errorf("Under(%q, %q) = %v", c.p, c.dir, got)
		}
	}
}

func TestPathQuestions(t *testing.T) {
	for p, want := range map[string][3]bool{
		".env":                    {true, false, false},
		"a/.ENV.production":       {true, false, false},
		"a/.env.d/x":              {true, false, false},
		"environment.go":          {false, false, false},
		"keys/server.pem":         {true, false, false},
		"home/.ssh/config":        {true, true, false},
		"ssh/config":              {false, false, false},
		".aws/credentials":        {true, false, false},
		"id_ed25519":              {true, false, false},
		"id_ed25519.pub":          {false, false, false},
		".npmrc":                  {true, true, false},
		".git-credentials":        {true, false, false},
		".git":                    {false, false, true},
		"sub/.GIT/hooks/x":        {false, false, true},
		"a/../.git/config":        {false, false, true},
		".github/workflows/a.yml": {false, true, false},
		"sub/.mcp.json":           {false, true, false},
		".gitignore":              {false, false, false},
		"git/x":                   {false, false, false},
		"src/tokenizer.go":        {false, false, false},
	} {
		if got := [3]bool{SecretPath(p), AutomationPath(p), GitPath(p)}; got != want {
			t.Errorf("%s: secret, automation, git = %v; want %v", p, got, want)
		}
	}
}

func TestDecodeArgsRefuses(t *testing.T) {
	for _, raw := range []string{``, `null`, `[]`, `1`, `{} {}`, `{"a":9223372036854775808}`, `{"a":1e999}`, `{"a":[{"b":-9223372036854775809}]}`,
		`{"a":` + strings.Repeat("1", 65) + `.0}`} {
		if m, err := DecodeArgs([]byte(raw)); err == nil {
			t.Errorf("%s decodes to %v", raw, m)
		}
	}
}

// FuzzSecretPath: the quick look at a path never passes what the pattern matches.
func FuzzSecretPath(f *testing.F) {
	for _, s := range []string{"a/.env.local", ".ENV", "x/ID_RSA_sk", "a.Pem", "a/b.tfstate", "deep/_netrc", "credentials", "a/Credentials.YAML", "secrets.json", "service_account-1.json",
		"a/.aws/config", "gcloud/x", "Secrets/a", "a.b.keystore", "\u017fecrets/a", "x.\u212aey", ".key", "a/.git-credentials", ".docker/", "/", ".", "a\n.pem", "main.go", "src/sec/ser.txt"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if got, want := SecretPath(p), secretPaths.MatchString(path.Clean(p)); got != want {
			t.Errorf("%q: %v, want %v", p, got, want)
		}
	})
}

func BenchmarkSecretPath(b *testing.B) {
	const p = "/home/ada/project/src/components/settings.go"
	b.Run("pattern", func(b *testing.B) {
		for b.Loop() {
			secretPaths.MatchString(path.Clean(p))
		}
	})
	b.Run("quick", func(b *testing.B) {
		for b.Loop() {
			SecretPath(p)
		}
	})
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{`target.path == 'a'`, `args.a.all(x, x > 1)`, `under(args.p, "x")`, `"\u00ff" + tool`, `args['a'][0]`} {
		f.Add(s)
	}
	v := sample(f)
	f.Fuzz(func(t *testing.T, src string) {
		p, err := env(t).Compile(src, Dyn)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || e.Offset < 0 || e.Offset > len(src) {
				t.Fatalf("%q: %#v", src, err)
			}
			return
		}
		_, _ = p.Any(v)
		_, _ = p.Any(nil)
	})
}

func BenchmarkRule(b *testing.B) {
	p, err := env(b).Compile(`under(target.path, '.git') || target.path.lowerAscii().endsWith('.env')`, Bool)
	if err != nil {
		b.Fatal(err)
	}
	v := sample(b)
	for b.Loop() {
		if _, err := p.Bool(v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := build(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	e := env(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Compile(`under(target.path, '.git') || target.path.lowerAscii().endsWith('.env')`, Bool); err != nil {
			b.Fatal(err)
		}
	}
}
