package daemon

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/hook"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
	"github.com/mcpguard/mcpguard/internal/onboard"
)

// TestReplayedIDIsAnotherCall: a call counts as the one that the hook allowed
// only if server, tool and arguments match and its session was handed over by
// one of the guard's own programs.
func TestReplayedIDIsAnotherCall(t *testing.T) {
	const run, id = guard.RunID("run_1"), "toolu_1"
	arrived := func(ours bool, server, tool, args string) guard.ToolCall {
		canonical, err := jsonvalue.Canonical([]byte(args))
		if err != nil {
			t.Fatal(err)
		}
		return guard.ToolCall{Session: guard.Session{ID: "sess_1", RunID: run, Server: server}, Tool: tool, CorrelationID: id, ArgsCanonical: canonical}
	}
	for _, c := range []struct {
		what               string
		ours               bool
		server, tool, args string
		id                 string
		want               bool
	}{
		{"the call", true, "files", "write_file", `{"path": "a", "n": 1.0}`, id, true},
		{"other arguments", true, "files", "write_file", `{"path": "b", "n": 1.0}`, id, false},
		{"another tool", true, "files", "read_file", `{"path": "a", "n": 1.0}`, id, false},
		{"the end of a tool's name", true, "files", "file", `{"path": "a", "n": 1.0}`, id, false},
		{"another server", true, "other", "write_file", `{"path": "a", "n": 1.0}`, id, false},
		{"a session of another program", false, "files", "write_file", `{"path": "a", "n": 1.0}`, id, false},
		{"another id", true, "files", "write_file", `{"path": "a", "n": 1.0}`, "toolu_2", false},
	} {
		n := newClientTools()
		e := hook.Event{Tool: "mcp__files__write_file", ToolUseID: id, Input: []byte(`{"n":1,"path":"a"}`)}
		n.remember(useKey{run, id}, newUse(guard.Context{ClientSession: "talk"}, e, nameKey{word: "files"}, []string{"files"}))
		call := arrived(c.ours, c.server, c.tool, c.args)
		call.CorrelationID = c.id
		got := n.context(&session{Session: call.Session, ours: c.ours})(call)
		if (got.ClientSession == "talk") != c.want {
			t.Errorf("%s: its context is %+v", c.what, got)
		}
		if alarm := n.wentPast(useKey{run, id}, true); alarm == c.want {
			t.Errorf("%s: the alarm is %v", c.what, alarm)
		}
	}
}

// TestEntryOfTheGuard: an entry starts the guard only if its command is the
// file of one of the guard's own programs, for this guard, and nothing in its
// environment replaces that program.
func TestEntryOfTheGuard(t *testing.T) {
	home, folder, path := t.TempDir(), t.TempDir(), t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{filepath.Join(path, "mcpguardd"), filepath.Join(folder, "mcpguardd")} {
		if err := os.Symlink(exe, link); err != nil {
			t.Fatal(err)
		}
	}
	fake := filepath.Join(folder, "tools", "mcpguardd")
	if err := os.MkdirAll(filepath.Dir(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(fake, []byte("#!/bin/sh\nexec cat\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := &daemon{cfg: Config{Paths: ipc.Paths{Config: home, State: home}}, programs: ipc.OwnPrograms()}
	environ := map[string]string{ipc.EnvHome: home, "PATH": path}
	env := func(name string) (string, bool) { v, ok := environ[name]; return v, ok }
	for _, c := range []struct {
		command string
		env     []onboard.Variable
		want    bool
	}{
		{exe, nil, true},
		{"mcpguardd", nil, true},
		{"./mcpguardd", nil, true},
		{"./tools/mcpguardd", nil, false},
		{fake, nil, false},
		{"mcpguardd", []onboard.Variable{{Name: "PATH", Value: filepath.Dir(fake)}}, false},
		{"${HOME}/mcpguardd", nil, false},
		{"", nil, false},
		{exe, []onboard.Variable{{Name: ipc.EnvHome, Value: home}}, true},
		{exe, []onboard.Variable{{Name: ipc.EnvHome, Value: folder}}, false},
		{exe, []onboard.Variable{{Name: ipc.EnvHome, Value: "relative"}}, false},
		{exe, []onboard.Variable{{Name: "LD_PRELOAD", Value: "/x.so"}}, false},
		{exe, []onboard.Variable{{Name: ipc.EnvHome, Value: "${ELSEWHERE:-" + home + "}"}}, false},
	} {
		if got := d.startsGuard(&onboard.Entry{Command: c.command, Env: c.env}, folder, env); got != c.want {
			t.Errorf("%q with %v: %v", c.command, c.env, got)
		}
	}
}
