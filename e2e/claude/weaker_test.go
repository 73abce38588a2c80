package claude

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
)

// TestPromise9_NeverWeakerThanTheClientAlone: in each mode of the client a table of calls runs once without
// the guard's hooks, once with them, and once with them and the guard's
// permission prompt, where a human denies whatever is asked. Nothing runs with
// the guard that the client alone refuses or asks about, but for tools of a
// guarded server, whose policy a human has accepted.
func TestPromise9_NeverWeakerThanTheClientAlone(t *testing.T) {
	const outside = "/etc/passwd"
	table := func(w *world) []struct {
		call     use
		accepted bool // by the policy of a guarded server
	} {
		file := func(name string) string { return filepath.Join(w.project, name) }
		type row = struct {
			call     use
			accepted bool
		}
		return []row{
			{use{"Read", map[string]any{"file_path": file("README.md")}}, false},
			{use{"Read", map[string]any{"file_path": "/etc/hostname"}}, false},
			{use{"Read", map[string]any{"file_path": outside}}, false},
			{use{"Read", map[string]any{"file_path": filepath.Join(w.home, ".netrc")}}, false},
			{use{"WebSearch", map[string]any{"query": "what stands in the project"}}, false},
			{use{"WebFetch", map[string]any{"url": "http://127.0.0.1:9/", "prompt": "read"}}, false},
			{use{"Bash", map[string]any{"command": "cat README.md", "description": "read"}}, false},
			{use{"Bash", map[string]any{"command": "cat " + outside, "description": "read"}}, false},
			{use{"Bash", map[string]any{"command": "touch made", "description": "make"}}, false},
			{use{"Edit", map[string]any{"file_path": file("README.md"), "old_string": "# Shop", "new_string": "# The Shop"}}, false},
			{use{"Write", map[string]any{"file_path": file("new.txt"), "content": "x\n"}}, false},
			{use{"Write", map[string]any{"file_path": file(".github/workflows/x.yml"), "content": "x\n"}}, false},
			{use{"mcp__work__read_file", map[string]any{"path": "README.md"}}, true},
			{use{"mcp__work__delete_file", map[string]any{"path": "README.md"}}, false},
			{use{"mcp__loose__crash", map[string]any{}}, false},
			{use{"ListMcpResourcesTool", map[string]any{}}, false},
			{use{"ReadMcpResourceTool", map[string]any{"server": "loose", "uri": "x:y"}}, false},
			{use{"ExitPlanMode", map[string]any{"plan": "change everything"}}, false},
			{use{"Write", map[string]any{"file_path": file("planned.txt"), "content": "x\n"}}, false},
		}
	}
	// run plays the table in one session and says which calls have run.
	run := func(t *testing.T, mode string, hooks bool, args ...string) (ran []bool, told []string) {
		w, settings := newHookWorld(t, "  tools:\n    Write: {approval: {mode: post}}\n    Edit: {approval: {mode: post}}\n")
		w.extra = []string{"IS_SANDBOX=1"} // without it the client refuses to bypass as root
		w.alsoLoose(map[string]string{"work": "work", "guard": "permission"})
		if err := os.WriteFile(filepath.Join(w.home, ".netrc"), []byte("machine x login y password z\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if hooks {
			args = append(args, "--settings", settings)
		}
		var steps []step
		rows := table(w)
		for _, r := range rows {
			steps = append(steps, step{calls: []use{r.call}})
		}
		a := serve(t, steps...)
		s := w.startBare(a, append(args, "--permission-mode", mode)...)
		w.denyAll(s)
		w.finishIn(s, 3*patience)
		for i, r := range rows {
			end, ok := a.end(i)
			x := ok && !end.failed
			told = append(told, end.text)
			switch r.call.tool { // what is on the disk says more than an answer
			case "Write":
				_, err := os.Stat(r.call.input["file_path"].(string))
				x = err == nil
			case "Edit":
				x = w.read("README.md") != "# Shop\n"
			}
			ran = append(ran, x)
		}
		return ran, told
	}
	names := table(&world{project: "P", home: "H"})
	for _, mode := range []string{"default", "acceptEdits", "plan", "dontAsk", "auto", "bypassPermissions"} {
		t.Run(mode, func(t *testing.T) {
			alone, _ := run(t, mode, false)
			if mode == "default" && (alone[2] || !alone[0]) {
				t.Fatalf("the client alone ran %v: the table proves nothing", alone)
			}
			ways := map[string][]string{"hooks": nil}
			if mode == "default" || mode == "auto" || os.Getenv("MCPGUARD_LONG") != "" { // where the prompt is asked most
				ways["hooks and prompt"] = []string{"--permission-prompt-tool", "mcp__guard__approve"}
			}
			for title, args := range ways {
				guarded, told := run(t, mode, true, args...)
				for i, r := range names {
					if guarded[i] && !alone[i] && !r.accepted {
						t.Errorf("%s: %s %v runs with the guard, and not without: %.200q", title, r.call.tool, r.call.input, told[i])
					}
				}
				if !guarded[0] || !guarded[12] {
					t.Errorf("%s: reads do not run: %.200q", title, told)
				}
			}
		})
	}
}

// denyAll denies whatever waits until the session has ended.
func (w *world) denyAll(s *session) {
	ctx, cancel := context.WithCancel(w.t.Context())
	stopped := make(chan struct{})
	go func() { // ends with the session
		<-s.done
		cancel()
	}()
	go func() { // likewise
		defer close(stopped)
		for range w.api.Watch(ctx) { // it goes on trying until a daemon is there
			list, err := w.api.ListAll(ctx, client.Filter{Status: []string{client.Pending}})
			if err != nil {
				continue
			}
			for _, d := range list {
				_, _ = w.api.Decide(ctx, d.ID, client.DecisionRequest{Decision: client.Deny, Digest: d.Digest, Reason: "nobody may"}) // it may have ended
			}
		}
	}()
	w.t.Cleanup(func() { <-stopped })
}

func (w *world) finishIn(s *session, limit time.Duration) {
	w.t.Helper()
	select {
	case <-s.done:
	case <-time.After(limit):
		w.t.Fatalf("Claude Code did not end within %s:\n%s", limit, s.out.String())
	}
}
