package hook

import (
	"errors"
	"testing"
)

func TestAgainst(t *testing.T) {
	const own = `{"hooks": {"PreToolUse": [{"matcher": "*", "hooks": [{"type": "command", "command": "/g/mcpguard hook pre --timeout 9 || exit 2"}]}], "PostToolUse": [{"hooks": [{"type": "command", "command": "x"}]}]}}`
	for name, c := range map[string]struct {
		settings, line string
		cmdline        []string
		free           bool
	}{
		"nothing":             {`{}`, "ls", nil, true},
		"its own hooks":       {own, "ls", nil, true},
		"another program":     {`{"permissions": {"deny": ["Bash(curl:*)"], "ask": ["Bash(git push:*)", "mcp__x__y", "WebSearch"]}}`, "git status", nil, true},
		"allow alone":         {`{"permissions": {"allow": ["Bash(ls:*)"]}}`, "ls", nil, true},
		"deny":                {`{"permissions": {"deny": ["Bash(git push:*)"]}}`, "git push", nil, false},
		"ask":                 {`{"permissions": {"ask": ["Bash(git push *)"]}}`, "git status && git push -f", nil, false},
		"options between":     {`{"permissions": {"ask": ["Bash(git push *)"]}}`, "git -C x push", nil, false},
		"quoted":              {`{"permissions": {"deny": ["Bash(rm:*)"]}}`, `r""m x`, nil, false},
		"every command":       {`{"permissions": {"ask": ["Bash"]}}`, "ls", nil, false},
		"every, by a pattern": {`{"permissions": {"deny": ["Bash(*)"]}}`, "ls", nil, false},
		"a file's rule":       {`{"permissions": {"deny": ["Read(./.env)"]}}`, "ls", nil, false},
		"all tools":           {`{"permissions": {"deny": ["*"]}}`, "ls", nil, false},
		"an address":          {`{"permissions": {"deny": ["WebFetch(domain:x.example)"]}}`, "ls", nil, false},
		"no rule's form":      {`{"permissions": {"deny": ["Bash(git"]}}`, "ls", nil, false},
		"no list":             {`{"permissions": {"deny": "Bash"}}`, "ls", nil, false},
		"twice":               {`{"permissions": {"deny": ["Bash"]}, "permissions": {}}`, "ls", nil, false},
		"another case":        {`{"Permissions": {"deny": ["Bash"]}}`, "ls", nil, false},
		"another hook":        {`{"hooks": {"PreToolUse": [{"matcher": "Write", "hooks": [{"type": "command", "command": "x"}]}]}}`, "ls", nil, false},
		"behind its own":      {`{"hooks": {"PreToolUse": [{"hooks": [{"type": "command", "command": "/g/mcpguard hook pre; x"}]}]}}`, "ls", nil, false},
		"a prompt hook":       {`{"hooks": {"PreToolUse": [{"hooks": [{"type": "prompt", "prompt": "x"}]}]}}`, "ls", nil, false},
		"hooks off":           {`{"disableAllHooks": true}`, "ls", nil, false},
		"a plugin":            {`{"enabledPlugins": {"x@y": true}}`, "ls", nil, false},
		"its plugin":          {`{"enabledPlugins": {"mcpguard@y": true, "x@y": false}}`, "ls", nil, true},
		"given":               {`{}`, "git push", []string{"claude", "--disallowedTools", "Edit(x),Bash(git push:*)"}, false},
		"given, apart":        {`{}`, "git push", []string{"claude", "--disallowedTools", "WebSearch", "Bash(git push:*)"}, false},
		"other sources":       {`{}`, "ls", []string{"claude", "--setting-sources", "user"}, false},
		"a plugin's folder":   {`{}`, "ls", []string{"claude", "--plugin-dir=x"}, false},
	} {
		why := Against([]Settings{{Name: "none"}, {Name: "s.json", Raw: []byte(c.settings)}}, c.cmdline, c.line, "/g/mcpguard")
		if (why == "") != c.free {
			t.Errorf("%s: %q", name, why)
		}
	}
	if Against([]Settings{{Name: "s.json", Err: errors.New("no")}}, nil, "ls", "/g/mcpguard") == "" {
		t.Error("settings that cannot be read stand against nothing")
	}
}
