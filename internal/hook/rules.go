package hook

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// Against returns why the client's own settings forbid a substitute line for a
// command; "" if they do not. The client would match its rules against the
// substitute line only, so the guard checks them against the command: each
// rule that may apply, or that is not understood, counts. program is the
// guard's own.
func Against(files []Settings, cmdline []string, line, program string) string {
	for _, w := range cmdline {
		switch name, _, _ := strings.Cut(w, "="); name {
		case "--setting-sources", "--bare", "--safe-mode", "--plugin-dir", "--plugin-url", "--managed-settings":
			return "the client was started with " + name
		}
	}
	var rules []string
	for _, flag := range []string{"--disallowedTools", "--disallowed-tools"} {
		for _, given := range Given(cmdline, flag) {
			rules = append(rules, splitRules(given)...)
		}
	}
	for _, f := range files {
		if f.Err != nil {
			return f.Name + " cannot be read"
		}
		if len(f.Raw) == 0 {
			continue
		}
		var s struct {
			Permissions struct {
				Deny []string `json:"deny"`
				Ask  []string `json:"ask"`
			} `json:"permissions"`
			Hooks      map[string]json.RawMessage `json:"hooks"`
			DisableAll *bool                      `json:"disableAllHooks"`
			Plugins    map[string]json.RawMessage `json:"enabledPlugins"`
			Sources    *json.RawMessage           `json:"parentSettings"`
		}
		if jsonvalue.DecodeKnown(f.Raw, &s) != nil {
			return f.Name + " cannot be read in exactly one way"
		}
		rules = append(append(rules, s.Permissions.Deny...), s.Permissions.Ask...)
		for name, on := range s.Plugins {
			if plugin, _, _ := strings.Cut(name, "@"); plugin != "mcpguard" && string(on) != "false" {
				return f.Name + " enables the plugin " + plugin + ", which may have hooks of its own"
			}
		}
		if s.DisableAll != nil && *s.DisableAll {
			return f.Name + " switches hooks off"
		}
		for event, raw := range s.Hooks {
			if why := otherHooks(event, raw, program); why != "" {
				return f.Name + " has " + why
			}
		}
	}
	for _, r := range rules {
		if why := matches(r, line); why != "" {
			return why
		}
	}
	return ""
}

// splitRules splits the value of a flag at commas and spaces outside brackets.
func splitRules(given string) (out []string) {
	depth, from := 0, 0
	for i, r := range given {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case (r == ',' || r == ' ') && depth <= 0:
			out, from = append(out, given[from:i]), i+1
		}
	}
	out = append(out, given[from:])
	return slices.DeleteFunc(out, func(s string) bool { return strings.TrimSpace(s) == "" })
}

// otherHooks returns a hook of another program that may change the input of a
// tool, or that is not understood.
func otherHooks(event string, raw json.RawMessage, program string) string {
	if event != PreToolUse && event != "PermissionRequest" {
		return "" // they come later, or say nothing of a tool's input
	}
	var groups []struct {
		Hooks []struct {
			Type    string `json:"type"`
			Command string `json:"command"`
		} `json:"hooks"`
	}
	if json.Unmarshal(raw, &groups) != nil {
		return "hooks that are not understood"
	}
	for _, g := range groups {
		for _, h := range g.Hooks {
			if h.Type != "command" || event != PreToolUse || !strings.HasPrefix(h.Command, quote(program)+" hook pre") || strings.ContainsAny(strings.TrimSuffix(strings.TrimPrefix(h.Command, quote(program)), "|| exit 2"), "|&;<>`$\n") {
				return "another hook before tools, which may change the line"
			}
		}
	}
	return ""
}

// elsewhere lists tools whose rules do not concern commands.
var elsewhere = []string{"WebSearch", "Agent", "Task", "Skill", "Glob", "Grep", "LS", "TodoWrite", "ExitPlanMode", "EnterPlanMode", "AskUserQuestion", "ToolSearch", "SlashCommand"}

var ruleForm = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_]*|mcp__[^()*]+)(?:\((.*)\))?$`)

// matches returns why a deny or ask rule may apply to a command. It matches
// more than the client does: each word of the rule occurs somewhere in the
// line.
func matches(rule, line string) string {
	m := ruleForm.FindStringSubmatch(strings.TrimSpace(rule))
	switch {
	case m == nil:
		return fmt.Sprintf("a rule of the client is not understood: %.100q", rule)
	case strings.HasPrefix(m[1], "mcp__"), slices.Contains(elsewhere, m[1]):
		return ""
	case m[1] != "Bash":
		// Rules for files count for some commands, too.
		return fmt.Sprintf("a rule of the client may be meant for commands: %.100q", rule)
	}
	plain := strings.NewReplacer(`\`, "", `"`, "", "'", "").Replace(line)
	words := strings.FieldsFunc(m[2], func(r rune) bool { return strings.ContainsRune(" \t\n*:?\\\"'", r) })
	for _, w := range words {
		if !strings.Contains(strings.ToLower(line), strings.ToLower(w)) && !strings.Contains(strings.ToLower(plain), strings.ToLower(w)) {
			return ""
		}
	}
	return fmt.Sprintf("a rule of the client may be meant for it: %.100q", rule)
}
