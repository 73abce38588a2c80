package hook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// Seconds that the settings give a hook. A client lets an allow-listed tool run
// when a question's time is over, so its hook answers before.
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

// Waiting is what the client shows while a question is open.
const Waiting = "mcpguard: look at approve"

// entries are what Install adds, in its order. Whatever goes wrong with a
// question, even that the program is gone, ends with status 2, which denies: any
// other failure would let the tool run. onFailure says the same of what the
// shell cannot catch, such as the end of the hook's time; versions that do not
// know it ignore it.
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

// quote makes one word of a program's path for the shell that runs hooks.
func quote(path string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+", r)
	}
	if path != "" && strings.IndexFunc(path, func(r rune) bool { return !plain(r) }) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// Install returns the settings with the guard's hooks. All other bytes stay as
// they are; hooks of the guard that are there already are replaced. Empty
// settings are those of a file that is not there. program is the absolute path
// of mcpguard.
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
	for _, e := range entries(quote(program)) {
		if out, err = add(out, e.event, e.group); err != nil {
			return nil, err
		}
	}
	return out, nil
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

// Installed reports whether the settings name a hook of the guard. Settings that
// cannot be read in exactly one way are an error: what they name is not known.
func Installed(settings []byte) (found bool, err error) {
	err = each(settings, func(string, jsonrpc.Span, jsonrpc.Span, []bool) { found = true })
	return found, err
}

var errSettings = errors.New("its hooks are not written as Claude Code writes them; nothing can be added or taken out by itself")

// object checks settings and returns their top.
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

// notJSON says in words, and with the place, why settings are not edited.
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

// add puts one group at the end of an event's list.
func add(raw []byte, event string, g group) ([]byte, error) {
	root, err := object(raw)
	if err != nil {
		return nil, err
	}
	hooks, ok := jsonrpc.Member(raw, root, "hooks")
	if !ok {
		return put(raw, root, 1, "hooks", map[string][]group{event: {g}})
	}
	if jsonrpc.TypeOf(raw, hooks) != jsonrpc.ObjectType {
		return nil, errSettings
	}
	list, ok := jsonrpc.Member(raw, hooks, event)
	if !ok {
		return put(raw, hooks, 2, event, []group{g})
	}
	if jsonrpc.TypeOf(raw, list) != jsonrpc.ArrayType {
		return nil, errSettings
	}
	return put(raw, list, 3, "", g)
}

// put adds a value at the end of a container at some depth, laid out like the
// rest of the text. An array's value has no key.
func put(raw []byte, at jsonrpc.Span, depth int, key string, value any) ([]byte, error) {
	unit, eol := indentation(raw), "\n"
	if bytes.Contains(raw, []byte("\r\n")) {
		eol = "\r\n"
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	newline := ""
	if unit != "" {
		newline = eol + strings.Repeat(unit, depth)
		enc.SetIndent(strings.Repeat(unit, depth), unit)
	}
	if err := enc.Encode(value); err != nil {
		return nil, fmt.Errorf("writing the settings: %w", err)
	}
	item := strings.ReplaceAll(strings.TrimRight(text.String(), "\n"), "\n", eol) // none stands in a string
	if key != "" {
		colon := ":"
		if unit != "" {
			colon = ": "
		}
		item = string(jsonrpc.QuoteString(key)) + colon + item
	}
	end := at.End - 1 // the closing bracket
	last := len(bytes.TrimRight(raw[:end], " \t\r\n"))
	comma, closing := ",", string(raw[last:end])
	if last == at.Start+1 { // empty
		comma, closing = "", strings.TrimSuffix(newline, unit)
	}
	out := append([]byte{}, raw[:last]...)
	out = append(out, comma+newline+item+closing...)
	return append(out, raw[end:]...), nil
}

// indentation is the blanks of one level, "" for a text on one line.
func indentation(raw []byte) string {
	body := bytes.TrimSpace(raw)
	for line := range bytes.Lines(body) {
		if rest := bytes.TrimLeft(line, " \t"); len(rest) < len(line) && len(bytes.TrimSpace(rest)) > 0 {
			return string(line[:len(line)-len(rest)])
		}
	}
	if bytes.Contains(body, []byte("\n")) {
		return "  "
	}
	return ""
}

// each calls f for every group that holds a hook of the guard: its event, where
// the list and the group are, and which of the group's hooks are the guard's.
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
		if program = strings.Trim(program, "'\""); ok && (strings.HasSuffix(program, "mcpguard") || strings.HasSuffix(program, "mcpguardd")) { // the second before there was the first
			return true
		}
	}
	return false
}

// Remove returns the settings without the guard's hooks, and without what is
// empty then.
func Remove(settings []byte) ([]byte, error) {
	raw := settings
	for { // one group at a time: each cut moves what follows
		var event string
		var ours []bool
		var index int
		found := false
		err := each(raw, func(name string, list, group jsonrpc.Span, mark []bool) {
			if found {
				return
			}
			found, event, ours, index = true, name, mark, 0
			for g := range jsonrpc.Elements(raw, list) {
				if g == group {
					break
				}
				index++
			}
		})
		if err != nil || !found {
			return raw, err
		}
		if raw = cut(raw, event, index, ours); raw == nil {
			return nil, errSettings
		}
	}
}

// cut takes the marked hooks out of one group, and what is empty then; nil where
// that cannot be done.
func cut(raw []byte, event string, index int, ours []bool) []byte {
	root, _ := jsonrpc.Root(raw)
	hooks, _ := jsonrpc.Member(raw, root, "hooks")
	list, _ := jsonrpc.Member(raw, hooks, event)
	groups, at := 0, jsonrpc.Span{}
	for g := range jsonrpc.Elements(raw, list) {
		if groups == index {
			at = g
		}
		groups++
	}
	whole := true
	for _, o := range ours {
		whole = whole && o
	}
	switch {
	case !whole:
		inner, _ := jsonrpc.Member(raw, at, "hooks")
		return jsonrpc.DeleteElements(raw, inner, func(i int, _ jsonrpc.Span) bool { return ours[i] })
	case groups > 1:
		return jsonrpc.DeleteElements(raw, list, func(i int, _ jsonrpc.Span) bool { return i == index })
	}
	members := 0
	for range jsonrpc.Members(raw, hooks) {
		members++
	}
	if members > 1 {
		return jsonrpc.DeleteMember(raw, hooks, event)
	}
	return jsonrpc.DeleteMember(raw, root, "hooks")
}
