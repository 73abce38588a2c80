package tui

import (
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/safetext/hostile"
)

var update = flag.Bool("update", false, "write the golden frames")

// full returns a daemon with something in every view.
func full() *fakeDaemon {
	f := newFake()
	f.put(sample(1, t1, "edit_file", "src/tax.go"))
	del := sample(2, t2, "delete_file", "config/prod.yaml")
	del.SideEffects = []string{"NOT reversible", "file is outside version control"}
	del.Hazards = []client.Hazard{clientHazard()}
	del.Claim = "cleaning up, nobody uses this"
	f.put(del)
	run := sample(3, t3, "run", "make deploy")
	run.RunID, run.RequestedBy.Folder = "run_01jq000000000000000000q9fz", "/home/mira/src/shop-tax"
	run.Environment = "prod"
	f.put(run)
	mail := sample(4, t4, "send_mail", "billing@example.com")
	mail.RunID, mail.RequestedBy.Folder = run.RunID, run.RequestedBy.Folder
	mail.SideEffects = []string{"will email 3 recipients in 2 domains, one of which was never written to before by anybody in this tenant"}
	f.put(mail)
	for i, s := range []string{client.Executed, client.Denied, client.Expired, client.Stale, client.Unknown} {
		d := sample(20+i, t1, "write_file", fmt.Sprintf("docs/%s.md", s))
		d.Status, d.Why = s, "it is "+s
		d.RequestedAt = start.Add(-time.Duration(i+1) * time.Hour)
		if s == client.Executed {
			d.Decisions = []client.Decision{{Decision: client.Allow, Reason: "reviewed", Digest: d.Digest, User: "1000", Name: "mira", PID: 99, Terminal: "/dev/pts/4", At: start}}
			d.Receipt = &client.Receipt{Outcome: "ok", ReadBack: "verified", StartedAt: start, EndedAt: start.Add(12 * time.Millisecond), After: []client.State{{Exists: true, Kind: "file", Size: 12, Computed: true}}}
		}
		f.put(d)
	}
	f.servers = []client.Server{
		{Name: "files", Preset: "filesystem", Command: "node /opt/mcp/server-filesystem/dist/index.js", Health: client.HealthRunning, PIDs: []int{4712}, Sessions: []string{"sess_1"},
			Stderr:  []string{"Secure MCP Filesystem Server running on stdio"},
			Tools:   []client.ServerTool{{Name: "read_file", Tier: "T0_READ", Accepted: true}, {Name: "edit_file", Tier: t1, Accepted: true}, {Name: "delete_file", Tier: t2, Accepted: true}, {Name: "move_all", Tier: "NEVER"}},
			Waiting: []client.DefinitionDiff{{Tool: "edit_file", Change: "changed", SHA256: "ab", Diff: "--- accepted\n+++ offered\n@@ -1,3 +1,3 @@\n {\n-  \"description\": \"edit\"\n+  \"description\": \"edit, without asking\"\n }\n"}}},
		{Name: "crm", Command: "/opt/crm/crm-mcp", Health: client.HealthFailed, Problem: "it ended with status 1 before it answered"},
	}
	f.sessions = []client.Session{{ID: "sess_1", RunID: run.RunID, Server: "files", Origin: run.RequestedBy, OpenedAt: start, Pending: 2, Notices: []string{"one definition waits for acceptance"}}}
	f.switches = []client.Switch{{Scope: "crm", Reason: "looking into it", By: "mira", At: start}}
	f.running = []client.RunningCommand{
		{ID: "call_1", RunID: run.RunID, Tenant: "acme", Command: "go test ./... && echo done", Folder: "/home/mira/src/shop", StartedAt: start.Add(-75 * time.Second)},
		{ID: "call_2", RunID: run.RunID, Tenant: "acme", Command: "npm run build", Folder: "/home/mira/src/shop-tax", StartedAt: start.Add(-4 * time.Second)},
	}
	f.alerts = []client.Alert{{ID: "alert_1", Kind: "policy_widened", Text: "the policy now allows more than before", Detail: "files/edit_file: environments dev → dev, staging", Status: "raised", At: start}}
	for i, e := range []map[string]any{
		{"event": "daemon_started"}, {"event": "policy_loaded", "reason": "sha256:ab"},
		{"event": "tool_call_requested", "tool": map[string]string{"server": "files", "name": "edit_file"}, "verdict": "ask", "rule": "tier_default", "reason": "writes wait for an approval"},
		{"event": "approval_decided", "tool": map[string]string{"server": "files", "name": "edit_file"}, "verdict": "deny", "status": "denied", "rule": "reviewer", "reason": "use the branch", "gates": map[string]string{"approval_id": sample(21, t1, "", "").ID}},
		{"event": "tool_call_completed", "tool": map[string]string{"server": "files", "name": "read_file"}, "status": "ok"},
	} {
		e["timestamp"] = start.Add(time.Duration(i) * time.Second)
		b, _ := json.Marshal(e)
		f.records = append(f.records, client.Record{Index: int64(i), Event: b})
	}
	f.stats = client.Stats{Since: start.Add(-24 * time.Hour), Until: start, Pending: 4, Calls: 312, Denials: 9,
		ByTier: map[string]int{t1: 40, t2: 12, t3: 3}, ByStatus: map[string]int{client.Executed: 41, client.Denied: 9, client.Expired: 5},
		ByServer: map[string]int{"files": 50, "crm": 5}, ByRule: map[string]int{"reviewer": 7, "kill_switch": 2},
		Waiting: client.Waiting{Decided: 50, MedianMS: 21000, P90MS: 95000, MaxMS: 600000}}
	for i := range 24 {
		f.stats.Over = append(f.stats.Over, client.Bin{From: f.stats.Since.Add(time.Duration(i) * time.Hour), Calls: (i * 7) % 23, Denials: i % 4 / 3})
	}
	return f
}

// scene leads a console to a view.
type scene struct {
	name string
	keys []string
	text string
	of   func() *fakeDaemon // full where nil
}

func (s scene) daemon() *fakeDaemon {
	if s.of == nil {
		return full()
	}
	return s.of()
}

// kinds are the types of changes, and the ways to look at one.
var kinds = []scene{
	{name: "values", keys: []string{"down"}, of: gallery},
	{name: "deleted", keys: []string{"down", "down"}, of: gallery},
	{name: "marked", keys: []string{"down", "down", "down"}, of: gallery},
	{name: "command", keys: []string{"down", "down", "down", "down"}, of: gallery},
	{name: "contained", of: commandsRun},
	{name: "printed", keys: []string{"G", "f"}, of: commandsRun},
	{name: "wanted", keys: []string{"down"}, of: commandsRun},
	{name: "letter", keys: []string{"down", "down", "down", "down", "down"}, of: gallery},
	{name: "cut", keys: []string{"w"}, of: gallery},
	{name: "rawtext", keys: []string{"r"}, of: gallery},
	{name: "document", keys: []string{"down", "o"}, of: gallery},
	{name: "found", keys: []string{"/", "V", "A", "T", "enter"}, of: gallery},
}

// scenes lead a console to each view.
var scenes = []scene{
	{name: "queue"},
	{name: "hazard", keys: []string{"down"}},
	{name: "reason", keys: []string{"a"}, text: "fine, as discussed"},
	{name: "deny", keys: []string{"d"}},
	{name: "confirm", keys: []string{"down", "a", "down", "enter"}},
	{name: "unread", keys: []string{"down", "down", "a"}},
	{name: "target", keys: []string{"G", "down", "down", "down", "G", "a", "down", "enter"}},
	{name: "refused", keys: []string{"down", "x"}},
	{name: "zoom", keys: []string{"z"}},
	{name: "info", keys: []string{"down", "i"}},
	{name: "history", keys: []string{"2"}},
	{name: "story", keys: []string{"2", "down", "down", "down", "down", "down", "down", "down", "down", "enter"}},
	{name: "audit", keys: []string{"3"}},
	{name: "servers", keys: []string{"4"}},
	{name: "switches", keys: []string{"5", "down", "p"}},
	{name: "figures", keys: []string{"6"}},
	{name: "alerts", keys: []string{"7"}},
	{name: "running", keys: []string{"8"}},
	{name: "help", keys: []string{"?"}},
}

func (d *desk) play(keys []string, text string) {
	d.wait(2 * time.Second)
	for _, k := range keys {
		d.press(k)
	}
	d.write(text)
}

func TestGoldenFrames(t *testing.T) {
	sizes := [][2]int{{60, 16}, {80, 24}, {140, 45}}
	for _, sc := range append(slices.Clone(scenes), kinds...) {
		for _, size := range sizes {
			t.Run(fmt.Sprintf("%s/%dx%d", sc.name, size[0], size[1]), func(t *testing.T) {
				d := newDesk(t, sc.daemon(), branches)
				d.size(size[0], size[1])
				d.play(sc.keys, sc.text)
				d.golden(fmt.Sprintf("%s-%dx%d", sc.name, size[0], size[1]), d.screen())
			})
		}
	}
	for _, name := range []string{"empty", "lost", "tiny"} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			if name != "empty" {
				f = full()
			}
			d := newDesk(t, f, branches)
			switch name {
			case "lost":
				d.events(client.Event{Kind: client.EventLost, Error: "connection refused"})
				d.wait(7 * time.Second)
			case "tiny":
				d.size(40, 12)
			}
			d.golden(name, d.screen())
		})
	}
}

func branches(c *Config) {
	c.Worktree = func(folder string) string {
		return map[string]string{"/home/mira/src/shop": "main", "/home/mira/src/shop-tax": "feature/tax"}[folder]
	}
}

// TestGoldenColours keeps the frames of each theme and level of colour, with
// their sequences spelled out.
func TestGoldenColours(t *testing.T) {
	for _, sc := range scenes[:3] {
		for _, light := range []bool{false, true} {
			for _, p := range []colorprofile.Profile{colorprofile.TrueColor, colorprofile.ANSI256, colorprofile.ANSI, colorprofile.ASCII} {
				name := fmt.Sprintf("%s-%s-%s", sc.name, map[bool]string{false: "dark", true: "light"}[light], strings.ToLower(p.String()))
				t.Run(name, func(t *testing.T) {
					d := newDesk(t, full(), branches, func(c *Config) { c.Profile, c.Light = p, light })
					d.play(sc.keys, sc.text)
					d.golden(name, strings.ReplaceAll(d.last.Content, "\x1b", "␛"))
				})
			}
		}
	}
}

// TestGoldenEverywhere keeps a digest of each view at each size, in each theme
// and at each level of colour: what changes is seen, and the frames spelled out
// beside it say how.
func TestGoldenEverywhere(t *testing.T) {
	var out strings.Builder
	for _, sc := range append(slices.Clone(scenes), kinds...) {
		for _, size := range [][2]int{{50, 14}, {60, 16}, {80, 24}, {100, 30}, {140, 45}, {200, 60}} {
			for _, light := range []bool{false, true} {
				for _, p := range []colorprofile.Profile{colorprofile.TrueColor, colorprofile.ANSI256, colorprofile.ANSI, colorprofile.ASCII} {
					d := newDesk(t, sc.daemon(), branches, func(c *Config) { c.Profile, c.Light = p, light })
					d.size(size[0], size[1])
					d.play(sc.keys, sc.text)
					d.sound()
					theme := map[bool]string{false: "dark", true: "light"}[light]
					fmt.Fprintf(&out, "%-8s %3dx%d %-5s %-9s %.16x\n", sc.name, size[0], size[1], theme, p, sha256.Sum256([]byte(d.last.Content)))
				}
			}
		}
	}
	compare(t, "everywhere", out.String())
}

func TestGoldenASCII(t *testing.T) {
	d := newDesk(t, full(), branches, func(c *Config) { c.ASCII = true })
	d.play([]string{"down"}, "")
	for i, b := range []byte(d.last.Content) {
		if b >= 0x80 {
			t.Fatalf("byte %#x at %d in the C locale:\n%s", b, i, d.last.Content)
		}
	}
	d.golden("ascii", d.screen())
}

// sound holds a frame against the screen: as many rows, none too wide, nothing
// raw.
func (d *desk) sound() {
	d.t.Helper()
	rows := strings.Split(d.last.Content, "\n")
	if len(rows) != d.m.h {
		d.t.Errorf("the frame has %d rows, the screen %d", len(rows), d.m.h)
	}
	for i, r := range rows {
		if w := ansi.StringWidth(r); w > d.m.w {
			d.t.Errorf("row %d has %d cells, the screen %d: %q", i, w, d.m.w, r)
		}
	}
	if err := hostile.Check([]byte(d.last.Content), true); err != nil {
		d.t.Error(err)
	}
}

func (d *desk) golden(name, got string) {
	d.t.Helper()
	d.sound()
	compare(d.t, name, got)
}

func compare(t testing.TB, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "frames", name+".golden")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got+"\n" != string(want) {
		t.Errorf("%s differs (run with -update to accept):\n%s\nwant:\n%s", path, got, want)
	}
}
