package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/guard"
)

func TestRemoveServer(t *testing.T) {
	const head = "# mine\nversion: 1 # the first\nroots: [/w]\n\n"
	const one = "  one: # the one\n    command: /bin/one\n    args:\n      - a\n      - |\n        text\n\n        more\n    # its last comment\n"
	const two = "  \"two\":\n    command: /bin/two\n    tools: {read: {tier: T0_READ}}\n"
	for name, c := range map[string]struct{ before, remove, after string }{
		"the first":           {head + "servers:\n  # above\n" + one + "\n  # of two\n" + two + "# end\naudit: {reads: relaxed}\n", "one", head + "servers:\n  # above\n\n  # of two\n" + two + "# end\naudit: {reads: relaxed}\n"},
		"the last":            {head + "servers:\n" + one + two + "\n# end\n", "two", head + "servers:\n" + one + "\n# end\n"},
		"the only one":        {head + "servers:\n" + one + "audit: {reads: relaxed}\n", "one", head + "servers:\naudit: {reads: relaxed}\n"},
		"at the end":          {head + "servers:\n" + two, "two", head + "servers:\n"},
		"with a brace behind": {head + "servers:\n  one: {command: /bin/one,\n    args: [a]}\n" + two, "one", head + "servers:\n" + two},
	} {
		e := editor(t, c.before)
		if err := e.RemoveServer(c.remove); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := string(e.Bytes()); got != c.after {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, c.after)
		}
		if err := e.Save(); err != nil {
			t.Errorf("%s: what is left does not load: %v", name, err)
		}
	}
}

func TestRemoveServerUndoesAddServer(t *testing.T) {
	for _, src := range []string{written, "version: 1\nroots: [/w]\nservers:\n  a: {command: /bin/a}\n"} {
		e := editor(t, src)
		entry := ServerEntry{Command: "node", Args: []string{"-x"}, Tools: []ToolEntry{{Name: "get", Tier: guard.T0Read, Claimed: true}}}
		if err := e.AddServer("new", entry); err != nil {
			t.Fatal(err)
		}
		if err := e.RemoveServer("new"); err != nil {
			t.Fatal(err)
		}
		if got := string(e.Bytes()); got != src {
			t.Errorf("got\n%s\nwant\n%s", got, src)
		}
	}
}

func TestRemoveServerRefuses(t *testing.T) {
	for name, c := range map[string]struct{ src, remove, want string }{
		"another name":  {written, "fils", `config.yaml:5:1: there is no server "fils" – did you mean "files"?`},
		"nothing near":  {written, "completely-other", `config.yaml:5:1: there is no server "completely-other" – known: files`},
		"no servers":    {"version: 1\n", "files", `config.yaml: there is no server "files"`},
		"within braces": {"version: 1\nroots: [/w]\nservers: {files: {command: /bin/x}}\n", "files", `config.yaml:3:11: the server "files" stands within braces – take it out by hand`},
	} {
		e, err := NewEditor("config.yaml", []byte(c.src))
		if err != nil {
			t.Fatal(err)
		}
		err = e.RemoveServer(c.remove)
		if got := string(e.Bytes()); got != c.src {
			t.Errorf("%s: it was changed:\n%s", name, got)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
		var diagnosed *Error
		if !errors.As(err, &diagnosed) {
			t.Errorf("%s: %T is no *Error", name, err)
		}
	}
}
