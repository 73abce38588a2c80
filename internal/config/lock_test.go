package config

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

func TestDefinitionHash(t *testing.T) {
	base := `{"name":"t","inputSchema":{"type":"object","maximum":9007199254740993}}`
	hash := func(s string) string {
		t.Helper()
		d, err := DefinitionHash([]byte(s))
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		return d.String()
	}
	if hash(base) != hash(" { \"inputSchema\" : {\"maximum\":9007199254740993,\n\"type\":\"\\u006fbject\"}, \"name\":\"t\" }") {
		t.Error("the form counts")
	}
	for _, other := range []string{
		strings.Replace(base, "993", "992", 1), strings.Replace(base, "object", "object ", 1), strings.Replace(base, `"name":"t"`, `"name":"t","x":null`, 1),
		strings.Replace(base, "9007199254740993", `"9007199254740993"`, 1),
	} {
		if hash(other) == hash(base) {
			t.Errorf("%s has the hash of %s", other, base)
		}
	}
	for _, bad := range []string{``, `[]`, `null`, `{} {}`, `{"a":1,"a":1}`, `{"a":{"b":1,"b":2}}`, "{\"a\":\"\xff\"}", `{"a":`, strings.Repeat(`{"a":`, 200) + `1` + strings.Repeat(`}`, 200)} {
		if d, err := DefinitionHash([]byte(bad)); err == nil {
			t.Errorf("%.40s has the hash %s", bad, d)
		}
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tools.lock")
	l, err := LoadLock(path)
	if err != nil {
		t.Fatal(err)
	}
	def := []byte(`{"name": "t", "description": "<b> & \u2028 ` + "ü" + `", "x": 1.0}`)
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for _, p := range []guard.Pin{{Server: "z", Tool: "t"}, {Server: "a", Tool: "t"}} {
		p.Definition, p.AcceptedAt, p.AcceptedBy = def, at, "me"
		if err := l.Put(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Save(path); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	again, err := LoadLock(path)
	if err != nil {
		t.Fatal(err)
	}
	pins := again.Pins()
	want, _ := DefinitionHash(def)
	if len(pins) != 2 || pins[0].Server != "a" || pins[0].SHA256 != want || pins[0].AcceptedBy != "me" || !pins[0].AcceptedAt.Equal(at) {
		t.Errorf("%+v", pins)
	}
	first, _ := os.ReadFile(path)
	if err := again.Save(path); err != nil {
		t.Fatal(err)
	}
	if second, _ := os.ReadFile(path); string(first) != string(second) {
		t.Error("saving what was loaded changes the file")
	}
	again.Remove("a", "")
	if _, ok := again.Pin("a", "t"); ok {
		t.Error("removed and still there")
	}

	// A definition that was edited by hand no longer matches its hash.
	for name, change := range map[string]func(string) string{
		"definition": func(s string) string { return strings.Replace(s, `"x": 1.0`, `"x": 2.0`, 1) },
		"tool":       func(s string) string { return strings.Replace(s, `"tool": "t"`, `"tool": "u"`, 1) },
		"key":        func(s string) string { return strings.Replace(s, `"server"`, `"srv"`, 1) },
		"version":    func(s string) string { return strings.Replace(s, `"version": 1`, `"version": 2`, 1) },
		"no hash":    func(s string) string { return strings.Replace(s, `"sha256": "`+want.String()+`",`, "", 1) },
		"twice":      func(s string) string { return strings.Replace(s, `"server": "z"`, `"server": "a"`, 1) },
		"cut":        func(s string) string { return s[:len(s)/2] },
		"longer":     func(s string) string { return s + "{}" },
		"empty":      func(string) string { return "" },
		"folded":     func(s string) string { return strings.Replace(s, `"server"`, `"Server"`, 1) },
		"member":     func(s string) string { return strings.Replace(s, `"tools"`, `"version": 1, "tools"`, 1) },
		"surrogate":  func(s string) string { return strings.Replace(s, `"me"`, `"\ud800"`, 1) },
	} {
		broken := change(string(first))
		if broken == string(first) {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := ParseLock([]byte(broken)); err == nil {
			t.Errorf("%s: loads", name)
		}
	}
	if err := l.Put(guard.Pin{Server: "a", Tool: "u", Definition: def}); err == nil {
		t.Error("the definition of another tool was accepted")
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadLock(path); err == nil {
		t.Error("a lock that all may write loads")
	}
}

// TestPromise8_OnlyNamedEnvironment: a server gets the variables that its policy
// names and nothing else.
func TestPromise8_OnlyNamedEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "environment.json")
	e, err := LoadEnvironment(path)
	if err != nil {
		t.Fatal(err)
	}
	world := map[string]string{"PATH": "/bin", "LANG": "C", "ANTHROPIC_API_KEY": "x", "BAD": "a\x00b"}
	missing := e.Record("s", []string{"PATH", "LANG", "NONE", "BAD"}, func(n string) (string, bool) { v, ok := world[n]; return v, ok })
	if !slices.Equal(missing, []string{"NONE", "BAD"}) {
		t.Errorf("missing %q", missing)
	}
	if err := e.Save(path); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if e, err = LoadEnvironment(path); err != nil {
		t.Fatal(err)
	}
	s := &Server{Name: "s", Env: []string{"PATH", "HOME"}}
	got, missing := s.Environ(e, map[string]string{"TOKEN": "t"})
	if !slices.Equal(got, []string{"PATH=/bin", "TOKEN=t"}) || !slices.Equal(missing, []string{"HOME"}) {
		t.Errorf("got %q, missing %q", got, missing)
	}
	if got, _ := (&Server{Name: "other", Env: []string{"PATH"}}).Environ(e, nil); len(got) != 0 {
		t.Errorf("another server's environment: %q", got)
	}
}

func TestResolveSecrets(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Server{Name: "s", Secrets: map[string]SecretRef{
		"F": {"file", file}, "E": {"env", "NAME"}, "C": {"cmd", "printf 'from-%s\\n' cmd"},
	}}
	got, err := s.ResolveSecrets(t.Context(), func(n string) (string, bool) { return "from-env", n == "NAME" })
	if err != nil || got["F"] != "from-file" || got["E"] != "from-env" || got["C"] != "from-cmd" {
		t.Errorf("%v, %v", got, err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx context.Context
		ref SecretRef
	}{
		"readable by others": {t.Context(), SecretRef{"file", file}},
		"not there":          {t.Context(), SecretRef{"file", file + "x"}},
		"a folder":           {t.Context(), SecretRef{"file", dir}},
		"not set":            {t.Context(), SecretRef{"env", "MCPGUARD_TEST_NOT_SET"}},
		"failing":            {t.Context(), SecretRef{"cmd", "echo hunter2; echo hunter2 >&2; exit 3"}},
		"empty":              {t.Context(), SecretRef{"cmd", "true"}},
		"endless":            {t.Context(), SecretRef{"cmd", "head -c 200000 /dev/zero | tr '\\0' a"}},
		"cancelled":          {cancelled, SecretRef{"cmd", "echo hunter2"}},
		"nothing":            {t.Context(), SecretRef{}},
	} {
		s.Secrets = map[string]SecretRef{"X": c.ref}
		got, err := s.ResolveSecrets(c.ctx, nil)
		if err == nil || got != nil {
			t.Errorf("%s: %v", name, got)
		} else if strings.Contains(err.Error(), "hunter2") && c.ref.Scheme == "cmd" {
			t.Errorf("%s: the error shows output: %v", name, err)
		}
	}
}

func TestDetectPackage(t *testing.T) {
	dir := t.TempDir()
	pkg := filepath.Join(dir, "node_modules/@modelcontextprotocol/server-filesystem")
	if err := os.MkdirAll(filepath.Join(pkg, "dist"), 0o700); err != nil {
		t.Fatal(err)
	}
	script, bin := filepath.Join(pkg, "dist/index.js"), filepath.Join(dir, "mcp-server-filesystem")
	for name, text := range map[string]string{
		filepath.Join(pkg, "package.json"):      `{"name":"@modelcontextprotocol/server-filesystem","version":"2026.8.31"}`,
		filepath.Join(pkg, "dist/package.json"): `{"type":"module"}`,
		script:                                  "",
	} {
		if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(script, bin); err != nil {
		t.Fatal(err)
	}
	yes := Package{"@modelcontextprotocol/server-filesystem", "2026.8.31"}
	for _, c := range []struct {
		command string
		args    []string
		want    Package
	}{
		{"node", []string{script, "/w"}, yes},
		{"/usr/bin/node", []string{bin}, yes},
		{bin, nil, yes},
		{"npx", []string{"-y", "@modelcontextprotocol/server-filesystem@2026.8.31", "/w"}, yes},
		{"npx", []string{"-y", "@modelcontextprotocol/server-filesystem", "/w"}, Package{}},
		{"npx", []string{"-y", "@modelcontextprotocol/server-filesystem@latest"}, Package{}},
		{"npx", []string{"-y", "@modelcontextprotocol/server-filesystem@^2026.8.31"}, Package{}},
		{"npx", []string{"-y", "evil", "@modelcontextprotocol/server-filesystem@2026.8.31"}, Package{}},
		{"node", []string{"--require=/tmp/evil.js", script}, Package{}},
		{"node", []string{"dist/index.js"}, Package{}},
		{"node", []string{filepath.Join(dir, "none.js")}, Package{}},
		{"/bin/none", nil, Package{}},
		{"", nil, Package{}},
	} {
		got, ok := DetectPackage(&Server{Command: c.command, Args: c.args})
		if got != c.want || ok != (c.want != Package{}) {
			t.Errorf("%s %q: %+v %v, want %+v", c.command, c.args, got, ok, c.want)
		}
	}
}

// TestAmbiguousFilesAreRefused: what two parsers may read differently is
// refused, with its position.
func TestAmbiguousFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	lock := func(path string) error { _, err := LoadLock(path); return err }
	environment := func(path string) error { _, err := LoadEnvironment(path); return err }
	for _, c := range []struct {
		load       func(string) error
		text, want string
	}{
		{lock, "{\n  \"version\": 1,\n  \"tools\": [], \"tools\": []\n}", ":3:16: the file is damaged: a member name that appears twice"},
		{lock, "{\"version\": 1,\n \"Tools\": []}", ":2:2: the file is damaged: "},
		{lock, "{\"version\": 1, \"tools\": []}\n{}", ":2:1: the file is damaged: something after the value"},
		{lock, "{\"version\": 1, \"tools\": [{\"definition\": {\"a\": 1, \"a\": 2}}]}", ":1:50: the file is damaged: a member name that appears twice"},
		{environment, "{\"version\": 1, \"servers\": {\"a\": {\"X\": \"1\",\n \"X\": \"2\"}}}", ":2:2: the file is damaged: a member name that appears twice"},
		{environment, "{\"version\": 1, \"SERVERS\": {}}", ":1:16: the file is damaged: "},
		{environment, "{\"version\": 1, \"servers\": {}} x", ":1:31: the file is damaged: something after the value"},
	} {
		path := filepath.Join(dir, "file.json")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.load(path); err == nil || !strings.Contains(err.Error(), path+c.want) {
			t.Errorf("%s:\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

// TestServerProgramIsStoredWithDefinitions: the program of a server is stored
// with its definitions and removed with them, and every difference is described.
func TestServerProgramIsStoredWithDefinitions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tools.lock")
	was := Program{Path: "/opt/crm", SHA256: digest.Sum([]byte("a")), Package: "crm", Version: "1.0.0", Reported: "crm 1"}
	l := &Lock{}
	l.PutProgram("crm", was)
	l.PutProgram("other", Program{Reported: "x"})
	if err := l.Save(path); err != nil {
		t.Fatal(err)
	}
	again, err := LoadLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := again.Program("crm"); !ok || got != was {
		t.Errorf("got %+v", got)
	}
	again.Remove("crm", "")
	if _, ok := again.Program("crm"); ok {
		t.Error("removed and still there")
	}
	if list := was.Differences(was); len(list) != 0 {
		t.Errorf("the same differs: %q", list)
	}
	for _, c := range []struct {
		change func(*Program)
		want   string
	}{
		{func(p *Program) { p.SHA256 = digest.Sum([]byte("b")) }, "its program file /opt/crm has other content than when its tools were accepted"},
		{func(p *Program) { p.Path = "/opt/crm2" }, "its program file is /opt/crm2 now; it was /opt/crm when its tools were accepted"},
		{func(p *Program) { p.Version = "1.1.0" }, "crm is version 1.1.0 now; its tools were accepted of 1.0.0"},
		{func(p *Program) { p.Package = "mrc" }, "it is the package mrc now; its tools were accepted of crm"},
		{func(p *Program) { p.Reported = "crm 2" }, "it says that it is crm 2; its tools were accepted of crm 1"},
		{func(p *Program) { *p = Program{} }, ""},
	} {
		now := was
		c.change(&now)
		if got := strings.Join(was.Differences(now), "; "); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if _, err := ParseLock([]byte(`{"version": 1, "servers": [{"server": "a", "Path": "/x"}], "tools": []}`)); err == nil {
		t.Error("a member in another case loads")
	}
	if _, err := ParseLock([]byte(`{"version": 1, "servers": [{"server": "a"}, {"server": "a"}], "tools": []}`)); err == nil {
		t.Error("a server twice loads")
	}
}
