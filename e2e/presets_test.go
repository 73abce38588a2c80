package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mcpguard/mcpguard/configs"
	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/config"
	tiers "github.com/mcpguard/mcpguard/internal/guard"
)

// realServer is a server of an installed package, started and onboarded as a
// user would, and what is called through the guard then.
type realServer struct {
	script string
	args   func(g *guard) []string // nil: none
	env    func(g *guard) []string // NAME=VALUE, passed with --env
	drive  func(t *testing.T, g *guard, c *sdkClient)
}

// realServers are the servers behind every preset that rests on runs, by the
// name of the preset.
var realServers = map[string]realServer{
	"everything": {script: everythingServer, drive: func(t *testing.T, g *guard, c *sdkClient) {
		runs(t, g, c, "get-sum", m{"a": 2, "b": 3}, "5")
		waits(t, g, c, "gzip-file-as-resource", m{"name": "x.gz", "data": "data:text/plain,x"}, change{tier: tiers.T2IrreversibleWrite, kind: "opaque", shows: "data:text/plain,x"})
	}},
	"filesystem": {script: filesystemServer, args: func(g *guard) []string { return []string{g.work} }, drive: driveFiles},
	"memory": {script: memoryServer, env: func(g *guard) []string { return []string{"MEMORY_FILE_PATH=" + filepath.Join(g.work, "graph.jsonl")} },
		drive: driveMemory},
	"sequential-thinking": {script: "@modelcontextprotocol/server-sequential-thinking/dist/index.js", drive: func(t *testing.T, g *guard, c *sdkClient) {
		runs(t, g, c, "sequentialthinking", m{"thought": "one", "thoughtNumber": 1, "totalThoughts": 1, "nextThoughtNeeded": false}, `"thoughtHistoryLength": 1`)
	}},
	"sqlite":              {script: "mcp-server-sqlite-npx/dist/index.js", args: func(g *guard) []string { return []string{filepath.Join(g.work, "shop.db")} }, drive: driveSQLite},
	"postgres":            {script: "@modelcontextprotocol/server-postgres/dist/index.js", args: func(g *guard) []string { return []string{g.postgres()} }, drive: drivePostgres},
	"postgres-mcp-server": {script: "@henkey/postgres-mcp-server/build/index.js", args: func(g *guard) []string { return []string{"--connection-string", g.postgres()} }, drive: drivePostgresAdmin},
	"git":                 {script: "@cyanheads/git-mcp-server/dist/index.js", drive: driveGit},
	"playwright": {script: "@playwright/mcp/cli.js", args: func(g *guard) []string {
		return []string{"--headless", "--isolated", "--no-sandbox", "--executable-path", browser(g.t)}
	}, drive: driveBrowser},
	"chrome-devtools": {script: "chrome-devtools-mcp/build/src/bin/chrome-devtools-mcp.js", args: func(g *guard) []string {
		return []string{"--headless", "--isolated", "--no-usage-statistics", "--no-performance-crux", "--executablePath", browser(g.t), "--chromeArg=--no-sandbox"}
	}, drive: driveDevTools},
}

type m = map[string]any

// TestPresetsWithRealServers starts the server of every preset that says it
// rests on runs. The preset names exactly the tools that the server lists, at
// the version that is installed. Reads run; a write waits, is shown, changes
// nothing before the decision, and afterwards exactly what was shown.
func TestPresetsWithRealServers(t *testing.T) {
	t.Parallel()
	var want []string
	for _, name := range configs.Presets() {
		if p := preset(t, name); p.Basis == "run" && p.Package != "" {
			want = append(want, name)
		}
	}
	if got := slices.Sorted(maps.Keys(realServers)); !slices.Equal(got, want) {
		t.Fatalf("these presets are tested: %q; these say so: %q", got, want)
	}
	for name, server := range realServers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			script := node(t, server.script)
			g := newGuard(t, "")
			command, flags := []string{"node", script}, []string(nil)
			if server.args != nil {
				command = append(command, server.args(g)...)
			}
			var env []string
			if server.env != nil {
				env = server.env(g)
				for _, e := range env {
					variable, _, _ := strings.Cut(e, "=")
					flags = append(flags, "--env", variable)
				}
			}
			g.addWith(env, "real", slices.Concat(flags, []string{"--"}, command)...)
			sameTools(t, g, name)
			server.drive(t, g, g.sdk("agent", "real"))
		})
	}
}

// preset loads a preset as a configuration sees it.
func preset(t testing.TB, name string) *config.Server {
	t.Helper()
	c, err := config.Parse("config.yaml", []byte("version: 1\nroots: [/w]\nservers:\n  real: {preset: "+name+", command: /bin/x}\n"))
	if err != nil {
		t.Fatal(err)
	}
	return c.Servers["real"]
}

// sameTools compares what `add` has listed and written with the preset.
func sameTools(t *testing.T, g *guard, name string) {
	t.Helper()
	c, err := config.Load(g.paths.ConfigFile())
	if err != nil {
		t.Fatal(err)
	}
	s := c.Servers["real"]
	if s.Preset != name {
		t.Fatalf("add has found the preset %q, want %q", s.Preset, name)
	}
	if !s.Proven() {
		t.Errorf("%s %s is not a version that the preset names (%q)", s.Detected.Name, s.Detected.Version, s.Versions)
	}
	lock, err := config.LoadLock(g.paths.ToolsLock())
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, pin := range lock.Pins() {
		listed = append(listed, pin.Tool)
	}
	slices.Sort(listed)
	if named := slices.Sorted(maps.Keys(preset(t, name).Tools)); !slices.Equal(listed, named) {
		t.Errorf("the server lists %q\nthe preset names %q", listed, named)
	}
}

// runs calls a tool that must not wait for anybody.
func runs(t *testing.T, g *guard, c *sdkClient, tool string, args m, want string) {
	t.Helper()
	if r := c.call(tool, args); !r.ok() || !strings.Contains(r.text(), want) {
		t.Errorf("%s %v was answered %s, want %q in it", tool, args, r.raw, want)
	}
}

// denied calls a tool that the preset refuses, by a rule with these words.
func denied(t *testing.T, c *sdkClient, tool string, args m, says string) {
	t.Helper()
	if w := c.call(tool, args).word(); w.Status != "denied" || !strings.Contains(w.Reason, says) {
		t.Errorf("%s %v was answered %+v, want a refusal with %q", tool, args, w, says)
	}
}

// change is what a reviewer must see of a call.
type change struct {
	tier   tiers.Tier
	kind   string // of the diff
	shows  string // in the diff or in the arguments
	before func() // asked while the call waits
	after  string // read-back of the receipt; "" stands for unverifiable
}

// waits calls a tool that must wait, approves it, and returns its answer.
func waits(t *testing.T, g *guard, c *sdkClient, tool string, args m, want change) reply {
	t.Helper()
	call := c.startCall(tool, args, options{})
	a := g.one()
	d := g.show(a.ID)
	if a.Tier != want.tier.String() || d.Diff.Type != want.kind {
		t.Errorf("%s: tier %s, a %s diff; want %s, %s", tool, a.Tier, d.Diff.Type, want.tier, want.kind)
	}
	if !strings.Contains(d.Diff.Text+string(d.Arguments), want.shows) {
		t.Errorf("%s: the reviewer does not see %q in\n%s\n%s", tool, want.shows, d.Diff.Text, d.Arguments)
	}
	if want.before != nil {
		want.before()
	}
	g.allow(a)
	r := c.answer(call)
	if !r.ok() {
		t.Errorf("%s %v was approved and answered %s", tool, args, r.raw)
	}
	back := want.after
	if back == "" {
		back = "unverifiable"
	}
	if d := g.ended(a.ID, client.Executed); d.Receipt.ReadBack != back {
		t.Errorf("%s was read back as %q, want %q", tool, d.Receipt.ReadBack, back)
	}
	return r
}

func driveFiles(t *testing.T, g *guard, c *sdkClient) {
	file := g.write("a.txt", "old\n")
	runs(t, g, c, "read_text_file", m{"path": file}, "old")
	waits(t, g, c, "write_file", m{"path": file, "content": "new\n"}, change{tier: tiers.T1ReversibleWrite, kind: "unified", shows: "-old\n+new\n", after: "verified",
		before: func() {
			if g.read(file) != "old\n" {
				t.Error("the file changed before the decision")
			}
		}})
	if got := g.read(file); got != "new\n" {
		t.Errorf("the file holds %q", got)
	}
}

func driveMemory(t *testing.T, g *guard, c *sdkClient) {
	waits(t, g, c, "create_entities", m{"entities": []any{m{"name": "Ada", "entityType": "person", "observations": []any{"likes engines"}}}},
		change{tier: tiers.T1ReversibleWrite, kind: "json_patch", shows: "likes engines", after: "verified", before: func() {
			if g.read("graph.jsonl") != "" {
				t.Error("the graph changed before the decision")
			}
		}})
	runs(t, g, c, "open_nodes", m{"names": []any{"Ada"}}, "likes engines")
}

func driveSQLite(t *testing.T, g *guard, c *sdkClient) {
	waits(t, g, c, "create_table", m{"query": "CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT)"}, change{tier: tiers.T1ReversibleWrite, kind: "sql", shows: "CREATE TABLE contacts"})
	waits(t, g, c, "write_query", m{"query": "INSERT INTO contacts VALUES (1, 'ada@old.example'), (2, 'ben@old.example')"}, change{tier: tiers.T2IrreversibleWrite, kind: "sql", shows: "ben@old.example"})
	runs(t, g, c, "describe_table", m{"table_name": "contacts"}, `"email"`)
	emails := func(want string) {
		t.Helper()
		runs(t, g, c, "read_query", m{"query": "SELECT group_concat(email) AS e FROM contacts"}, want)
	}
	waits(t, g, c, "write_query", m{"query": "UPDATE contacts SET email = 'ada@new.example' WHERE id = 1"}, change{tier: tiers.T2IrreversibleWrite, kind: "sql", shows: "WHERE id = 1",
		before: func() { emails("ada@old.example,ben@old.example") }})
	emails("ada@new.example,ben@old.example")
	denied(t, c, "write_query", m{"query": "DELETE FROM contacts"}, "every row")
	denied(t, c, "write_query", m{"query": "ATTACH DATABASE '/tmp/other.db' AS other"}, "one INSERT")
	denied(t, c, "read_query", m{"query": "SELECT 1; DROP TABLE contacts"}, "one SELECT")
	denied(t, c, "describe_table", m{"table_name": "contacts); DROP TABLE contacts; --"}, "name of a table")
	emails("ada@new.example,ben@old.example")
}

// postgres starts PostgreSQL with a table in it, for one test, and returns how
// to connect.
func (g *guard) postgres() string {
	g.t.Helper()
	node(g.t, "@electric-sql/pglite-socket/package.json")
	cmd := exec.Command("node", filepath.Join(folder, "postgres.mjs"))
	in, err := cmd.StdinPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		_ = in.Close() // it ends with its standard input
		if err := cmd.Wait(); err != nil {
			g.t.Errorf("ending PostgreSQL: %v", err)
		}
	})
	var at struct{ Port int }
	if err := json.NewDecoder(out).Decode(&at); err != nil {
		g.t.Fatalf("starting PostgreSQL: %v", err)
	}
	return fmt.Sprintf("postgres://guard@127.0.0.1:%d/postgres?sslmode=disable", at.Port)
}

// drivePostgres shows also why a query is not a read by its name: the server's
// read-only transaction can be ended by the text itself.
func drivePostgres(t *testing.T, g *guard, c *sdkClient) {
	names := func(want string) {
		t.Helper()
		runs(t, g, c, "query", m{"sql": "SELECT string_agg(name, ',' ORDER BY id) AS n FROM contacts"}, want)
	}
	names("Ada,Ben")
	call := c.startCall("query", m{"sql": "COMMIT; UPDATE contacts SET name = 'Mallory' WHERE id = 1"}, options{})
	a := g.one()
	if a.Tier != tiers.T2IrreversibleWrite.String() || !slices.ContainsFunc(a.SideEffects, func(s string) bool { return strings.Contains(s, "end the server's read-only transaction") }) {
		t.Errorf("a text that ends the transaction has tier %s and the side effects %q", a.Tier, a.SideEffects)
	}
	names("Ada,Ben")
	g.deny(a, "only reads here")
	if w := c.answer(call).word(); w.Status != "denied" {
		t.Errorf("the agent reads %+v", w)
	}
	names("Ada,Ben")
	call = c.startCall("query", m{"sql": "COMMIT; UPDATE contacts SET name = 'Bella' WHERE id = 2"}, options{})
	g.allow(g.one())
	c.result(call) // the server answers this with a result that clients refuse
	names("Ada,Bella")
}

func drivePostgresAdmin(t *testing.T, g *guard, c *sdkClient) {
	email := func(want string) {
		t.Helper()
		runs(t, g, c, "pg_execute_query", m{"operation": "select", "query": "SELECT email FROM contacts WHERE id = 2"}, want)
	}
	runs(t, g, c, "pg_manage_schema", m{"operation": "get_info", "tableName": "contacts"}, "email")
	waits(t, g, c, "pg_execute_mutation", m{"operation": "update", "table": "contacts", "data": m{"email": "ben@new.example"}, "where": "id = 2"},
		change{tier: tiers.T2IrreversibleWrite, kind: "opaque", shows: "ben@new.example", before: func() { email("ben@example.com") }})
	email("ben@new.example")
	waits(t, g, c, "pg_execute_query", m{"operation": "select", "query": "WITH gone AS (DELETE FROM contacts WHERE id = 1 RETURNING *) SELECT * FROM gone"},
		change{tier: tiers.T2IrreversibleWrite, kind: "sql", shows: "DELETE FROM contacts"})
	denied(t, c, "pg_execute_mutation", m{"operation": "delete", "table": "contacts"}, "every row")
	denied(t, c, "pg_execute_query", m{"operation": "select", "query": "SELECT 1", "connectionString": "postgres://elsewhere.example/x"}, "leave connectionString out")
	if r := c.call("pg_manage_users", m{"operation": "list"}); r.ok() {
		t.Errorf("a tool that is never callable was answered %s", r.raw)
	}
	email("ben@new.example")
}

func driveGit(t *testing.T, g *guard, c *sdkClient) {
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Env = g.work, g.environ()
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	git("init", "-q", "-b", "main")
	git("config", "user.name", "Test")
	git("config", "user.email", "test@example.com")
	g.write("a.txt", "one\n")
	runs(t, g, c, "git_set_working_dir", m{"path": g.work}, `"success": true`)
	runs(t, g, c, "git_status", m{}, "a.txt")
	waits(t, g, c, "git_add", m{"paths": []any{"a.txt"}}, change{tier: tiers.T1ReversibleWrite, kind: "opaque", shows: "a.txt", before: func() {
		if got := git("status", "--short"); got != "?? a.txt\n" {
			t.Errorf("the index changed before the decision: %q", got)
		}
	}})
	waits(t, g, c, "git_commit", m{"path": g.work, "message": "feat: the first"}, change{tier: tiers.T1ReversibleWrite, kind: "opaque", shows: "feat: the first"})
	if got := git("log", "--format=%s", "--name-only"); got != "feat: the first\n\na.txt\n" {
		t.Errorf("the history is %q", got)
	}
	runs(t, g, c, "git_log", m{"path": g.work}, "feat: the first")
	runs(t, g, c, "git_branch", m{"path": g.work}, "main")
	denied(t, c, "git_status", m{"path": filepath.Dir(g.work)}, "")
	denied(t, c, "git_status", m{"path": "sub"}, "absolute path")
	denied(t, c, "git_push", m{"path": g.work, "force": true}, "not rewritten")
	denied(t, c, "git_remote", m{"path": g.work, "mode": "add", "name": "x", "url": "https://example.com/x.git"}, "")
	denied(t, c, "git_worktree", m{"path": g.work, "mode": "add", "worktreePath": "/tmp/elsewhere"}, "")
}

// browser returns a Chromium, and skips the test where none is installed; in CI
// that is a failure.
func browser(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatal("chromium is not installed")
	}
	t.Skip("chromium is not installed") // the package brings no browser of its own
	return ""
}

// shop is a site that notes what it is asked for.
type shop struct {
	*httptest.Server
	t     *testing.T
	mu    sync.Mutex
	asked []string
}

func newShop(t *testing.T) *shop {
	s := &shop{t: t}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		if r.URL.Path != "/favicon.ico" {
			s.mu.Lock()
			s.asked = append(s.asked, r.Method+" "+r.URL.RequestURI()+" "+r.PostForm.Encode())
			s.mu.Unlock()
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<title>Shop</title><form method="post" action="/order"><button name="buy" value="boat">Order now</button></form>`)
	}))
	t.Cleanup(s.Close)
	return s
}

// requests compares what the site was asked for up to now.
func (s *shop) requests(want ...string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.asked, want) {
		s.t.Errorf("the site was asked for %q, want %q", s.asked, want)
	}
}

const (
	listed  = "GET /list?page=2 "
	ordered = "POST /order buy=boat"
)

func driveBrowser(t *testing.T, g *guard, c *sdkClient) {
	site := newShop(t)
	waits(t, g, c, "browser_navigate", m{"url": site.URL + "/list?page=2"}, change{tier: tiers.T2IrreversibleWrite, kind: "http", shows: "127.0.0.1", before: func() { site.requests() }})
	site.requests(listed)
	runs(t, g, c, "browser_snapshot", m{}, "Order now")
	waits(t, g, c, "browser_click", m{"target": "button"}, change{tier: tiers.T2IrreversibleWrite, kind: "opaque", shows: "button", before: func() { site.requests(listed) }})
	site.requests(listed, ordered)
	denied(t, c, "browser_snapshot", m{"filename": "x.md"}, "leave filename out")
	denied(t, c, "browser_navigate", m{"url": "file:///etc/passwd"}, "")
	if r := c.call("browser_run_code_unsafe", m{"code": "async () => 1"}); r.ok() {
		t.Errorf("a tool that is never callable was answered %s", r.raw)
	}
	runs(t, g, c, "browser_close", m{}, "")
}

func driveDevTools(t *testing.T, g *guard, c *sdkClient) {
	site := newShop(t)
	waits(t, g, c, "new_page", m{"url": site.URL + "/list?page=2"}, change{tier: tiers.T2IrreversibleWrite, kind: "http", shows: "127.0.0.1", before: func() { site.requests() }})
	site.requests(listed)
	runs(t, g, c, "list_pages", m{}, site.URL)
	snapshot := c.call("take_snapshot", m{"pageId": 2})
	_, rest, _ := strings.Cut(snapshot.text(), "Shop")
	button := regexp.MustCompile(`uid=(\S+) button "Order now"`).FindStringSubmatch(rest)
	if button == nil {
		t.Fatalf("the page reads %s", snapshot.raw)
	}
	waits(t, g, c, "click", m{"pageId": 2, "uid": button[1]}, change{tier: tiers.T2IrreversibleWrite, kind: "opaque", shows: button[1], before: func() { site.requests(listed) }})
	site.requests(listed, ordered)
	denied(t, c, "take_snapshot", m{"pageId": 2, "filePath": "x.txt"}, "leave filePath out")
	denied(t, c, "new_page", m{"url": "file:///etc/passwd"}, "")
	denied(t, c, "take_heapsnapshot", m{"pageId": 2, "filePath": "/etc/x"}, "")
}
