package hook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/document"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// Timeouts of hooks in the settings, in seconds. The client lets an
// allow-listed tool run when the timeout of a question expires, so the hook
// must answer before.
const (
	AskSeconds    = 3600
	AnswerSeconds = AskSeconds - 10
	ReportSeconds = 15
)

// group is one entry of an event in the settings.
type group struct {
	Matcher string    `json:"matcher,omitempty"`
	Hooks   []command `json:"hooks"`
}

type command struct {
	Type      string `json:"type"`
	Command   string `json:"command"`
	Timeout   int    `json:"timeout"`
	OnFailure string `json:"onFailure,omitempty"`
	Status    string `json:"statusMessage,omitempty"`
}

// Waiting is what the client displays while a question is open.
const Waiting = "mcpguard: look at approve"

// entries returns what Install adds, in order. Any failure of a question, even
// a missing program, ends with status 2, which denies; any other status would
// let the tool run. onFailure covers what the shell cannot catch, such as the
// timeout of the hook; versions that do not know it ignore it.
func entries(program string) []struct {
	event string
	group group
} {
	ask := group{"*", []command{{
		Type: "command", Command: fmt.Sprintf("%s hook pre --timeout %d || exit 2", program, AnswerSeconds),
		Timeout: AskSeconds, OnFailure: "block", Status: Waiting,
	}}}
	report := []command{{Type: "command", Command: program + " hook post", Timeout: ReportSeconds}}
	out := []struct {
		event string
		group group
	}{{PreToolUse, ask}}
	for _, event := range []string{PostToolUse, PostToolUseFailure} {
		out = append(out, struct {
			event string
			group group
		}{event, group{"*", report}})
	}
	for _, event := range []string{UserPromptSubmit, Stop, SubagentStop, SessionEnd} {
		out = append(out, struct {
			event string
			group group
		}{event, group{"", report}})
	}
	return out
}

// quote quotes a program's path as one word for the shell that runs hooks.
func quote(path string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+", r)
	}
	if path != "" && strings.IndexFunc(path, func(r rune) bool { return !plain(r) }) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// Install returns the settings with the guard's hooks added; existing hooks of
// the guard are replaced. All other bytes stay unchanged. Empty settings stand
// for a missing file. program is the absolute path of mcpguard.
func Install(settings []byte, program string) ([]byte, error) {
	if Current(settings, program) {
		return settings, nil
	}
	out, err := Remove(settings)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(out)) == 0 {
		out = []byte("{\n}\n")
	}
	p, err := added(out, program)
	if err != nil {
		return nil, err
	}
	return edited(out, p)
}

// Current reports whether the settings hold exactly what Install would add.
func Current(settings []byte, program string) bool {
	want := map[string]string{}
	for _, e := range entries(quote(program)) {
		b, err := json.Marshal(e.group)
		if err != nil {
			return false
		}
		want[e.event] = string(b)
	}
	good := true
	err := each(settings, func(event string, _, at jsonrpc.Span, _ []bool) {
		var g group
		if json.Unmarshal(at.Of(settings), &g) != nil {
			good = false
			return
		}
		b, err := json.Marshal(g)
		good = good && err == nil && want[event] == string(b)
		delete(want, event)
	})
	return err == nil && good && len(want) == 0
}

// Installed reports whether the settings contain a hook of the guard.
// Ambiguous settings are an error.
func Installed(settings []byte) (found bool, err error) {
	err = each(settings, func(string, jsonrpc.Span, jsonrpc.Span, []bool) { found = true })
	return found, err
}

var errSettings = errors.New("its hooks are not written as Claude Code writes them; nothing can be added or taken out by itself")

// object checks settings and returns their top-level object.
func object(raw []byte) (jsonrpc.Span, error) {
	if _, err := jsonvalue.Decode(raw); err != nil {
		return jsonrpc.Span{}, notJSON(raw, err)
	}
	root, ok := jsonrpc.Root(raw)
	if !ok || jsonrpc.TypeOf(raw, root) != jsonrpc.ObjectType {
		return jsonrpc.Span{}, errors.New("the settings are not a JSON object, as Claude Code's are")
	}
	return root, nil
}

// notJSON says why settings are not edited, with line and column.
func notJSON(raw []byte, cause error) error {
	var syntax *jsonvalue.SyntaxError
	if !errors.As(cause, &syntax) {
		return fmt.Errorf("the settings are not edited: %w", cause)
	}
	at := min(syntax.Offset, len(raw))
	line, start := 1+bytes.Count(raw[:at], []byte("\n")), bytes.LastIndexByte(raw[:at], '\n')+1
	what, before := syntax.Reason, bytes.TrimRight(raw[:at], " \t\r\n")
	switch {
	case bytes.HasPrefix(raw, []byte("\xef\xbb\xbf")):
		what = "a byte order mark, which is not JSON; take it out"
	case at == len(raw):
		what = "the JSON ends too early: a bracket or a quote is not closed"
	case raw[at] == '/':
		what = "a comment, which is not JSON, and which an edit could not keep in its place; take it out"
	case (raw[at] == '}' || raw[at] == ']') && bytes.HasSuffix(before, []byte(",")):
		what = "a comma before the closing bracket, which is not JSON; take it out"
	}
	return fmt.Errorf("line %d, column %d: %s, or choose another file with --scope or --settings", line, 1+utf8.RuneCount(raw[start:at]), what)
}

// edited applies a patch to settings; bytes that it does not change stay as
// they are.
func edited(settings []byte, p jsonvalue.Patch) ([]byte, error) {
	if len(p) == 0 {
		return settings, nil
	}
	out, _, err := document.Patch("settings.json", settings, p)
	if err != nil {
		return nil, fmt.Errorf("changing the settings: %w", err)
	}
	return out, nil
}

// added returns the operations that append each entry to the list of its
// event.
func added(settings []byte, program string) (jsonvalue.Patch, error) {
	root, err := object(settings)
	if err != nil {
		return nil, err
	}
	empty, err := jsonvalue.Object()
	if err != nil {
		return nil, err
	}
	var p jsonvalue.Patch
	add := func(v jsonvalue.Value, path ...string) {
		p = append(p, jsonvalue.Op{Op: jsonvalue.OpAdd, Path: jsonvalue.FormatPointer(path...), Value: v})
	}
	hooks, ok := jsonrpc.Member(settings, root, "hooks")
	switch {
	case !ok:
		add(empty, "hooks")
	case jsonrpc.TypeOf(settings, hooks) != jsonrpc.ObjectType:
		return nil, errSettings
	}
	for _, e := range entries(quote(program)) {
		var text bytes.Buffer
		enc := json.NewEncoder(&text)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(e.group); err != nil {
			return nil, fmt.Errorf("writing the settings: %w", err)
		}
		v, err := jsonvalue.Decode(text.Bytes())
		if err != nil {
			return nil, fmt.Errorf("writing the settings: %w", err)
		}
		list, ok := jsonrpc.Member(settings, hooks, e.event)
		if ok && jsonrpc.TypeOf(settings, list) == jsonrpc.ArrayType {
			add(v, "hooks", e.event, "-")
			continue
		}
		if ok {
			return nil, errSettings
		}
		if v, err = jsonvalue.Array(v); err != nil {
			return nil, fmt.Errorf("writing the settings: %w", err)
		}
		add(v, "hooks", e.event)
	}
	return p, nil
}

// each calls f for every group that contains a hook of the guard, with the
// event, the positions of the list and the group, and which of its hooks are
// the guard's.
func each(raw []byte, f func(event string, list, group jsonrpc.Span, ours []bool)) error {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil
	}
	root, err := object(raw)
	if err != nil {
		return err
	}
	hooks, ok := jsonrpc.Member(raw, root, "hooks")
	if !ok || jsonrpc.TypeOf(raw, hooks) != jsonrpc.ObjectType {
		return nil
	}
	for event := range jsonrpc.Members(raw, hooks) {
		if jsonrpc.TypeOf(raw, event.Value) != jsonrpc.ArrayType {
			continue
		}
		for g := range jsonrpc.Elements(raw, event.Value) {
			list, ok := jsonrpc.Member(raw, g, "hooks")
			if !ok || jsonrpc.TypeOf(raw, list) != jsonrpc.ArrayType {
				continue
			}
			var ours []bool
			any := false
			for h := range jsonrpc.Elements(raw, list) {
				at, _ := jsonrpc.Member(raw, h, "command")
				text, _ := jsonrpc.String(raw, at)
				ours = append(ours, isOurs(text))
				any = any || isOurs(text)
			}
			if any {
				f(event.Name, event.Value, g, ours)
			}
		}
	}
	return nil
}

// isOurs recognises a command that Install has written.
func isOurs(command string) bool {
	for _, kind := range []string{" hook pre", " hook post"} {
		program, _, ok := strings.Cut(command, kind)
		if program = strings.Trim(program, "'\""); ok && (strings.HasSuffix(program, "mcpguard") || strings.HasSuffix(program, "mcpguardd")) { // earlier versions wrote mcpguardd
			return true
		}
	}
	return false
}

// Remove returns the settings without the guard's hooks, and without lists and
// objects that this leaves empty.
func Remove(settings []byte) ([]byte, error) {
	type found struct {
		index int
		ours  []bool
	}
	groups := map[string][]found{} // of the guard, by event
	sizes := map[string]int{}      // groups of each event that has some of the guard's
	err := each(settings, func(event string, list, group jsonrpc.Span, ours []bool) {
		n := 0
		for g := range jsonrpc.Elements(settings, list) {
			if g == group {
				groups[event] = append(groups[event], found{n, ours})
			}
			n++
		}
		sizes[event] = n
	})
	if err != nil || len(groups) == 0 {
		return settings, err
	}
	var p jsonvalue.Patch
	remove := func(path ...string) {
		p = append(p, jsonvalue.Op{Op: jsonvalue.OpRemove, Path: jsonvalue.FormatPointer(path...)})
	}
	var gone []string // events that are empty now
	for _, event := range slices.Sorted(maps.Keys(groups)) {
		whole := 0
		for _, g := range groups[event] {
			if !slices.Contains(g.ours, false) {
				whole++
			}
		}
		if whole == sizes[event] {
			gone = append(gone, event)
			continue
		}
		for _, g := range slices.Backward(groups[event]) { // from the end, so that indexes stay valid
			at := strconv.Itoa(g.index)
			if !slices.Contains(g.ours, false) {
				remove("hooks", event, at)
				continue
			}
			for i := len(g.ours) - 1; i >= 0; i-- {
				if g.ours[i] {
					remove("hooks", event, at, "hooks", strconv.Itoa(i))
				}
			}
		}
	}
	root, _ := jsonrpc.Root(settings)
	hooks, _ := jsonrpc.Member(settings, root, "hooks")
	events := 0
	for range jsonrpc.Members(settings, hooks) {
		events++
	}
	if len(gone) == events {
		p = nil
		remove("hooks")
	} else {
		for _, event := range gone {
			remove("hooks", event)
		}
	}
	return edited(settings, p)
}
