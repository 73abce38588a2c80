package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/guard"
)

const written = `# mine
version: 1 # the first
roots: [/w]

servers:
  # the files
  files:
    command: /bin/files # a program
    tools:
      read: {tier: T0_READ} # fine
      write:
        # think
        tier: T1_REVERSIBLE_WRITE
        effect: opaque

# the end
audit: {reads: relaxed}
`

func editor(t *testing.T, src string) *Editor {
	t.Helper()
	e, err := NewEditor(filepath.Join(t.TempDir(), "config.yaml"), []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// onlyAdds fails unless every line of before is still there, in order.
func onlyAdds(t *testing.T, before, after string) {
	t.Helper()
	rest := after
	for line := range strings.Lines(before) {
		i := strings.Index(rest, line)
		if i < 0 {
			t.Errorf("the line %q is gone in\n%s", line, after)
			return
		}
		rest = rest[i+len(line):]
	}
}

func TestAddServer(t *testing.T) {
	entry := ServerEntry{
		Command: "node", Args: []string{"/opt/x.js", "--flag=a b", "-1", "yes", "a: b", "ünï\"q\" <x>"}, Env: []string{"PATH"},
		Secrets: map[string]string{"TOKEN": "file:~/.secrets/x"}, Workspaces: []string{"client", "/srv"},
		Tools: []ToolEntry{
			{Name: "get", Tier: guard.T0Read, Claimed: true},
			{Name: "put-thing", Tier: guard.T2IrreversibleWrite, Opaque: true},
			{Name: "drop", Tier: guard.Never},
		},
	}
	for name, src := range map[string]string{
		"after others": written,
		"first":        "version: 1\nroots: [/w]\n",
		"empty":        "version: 1\nroots: [/w]\nservers:\naudit: {reads: strict}\n",
		"braces":       "version: 1\nroots: [/w]\nservers: {} # none yet\n",
		"end of file":  "version: 1\nroots: [/w]\nservers:\n    a:\n        command: |\n            x\n        tools: {t: {tier: T0_READ}}",
	} {
		t.Run(name, func(t *testing.T) {
			e := editor(t, src)
			if err := e.AddServer("crm", entry); err != nil {
				t.Fatal(err)
			}
			if name == "after others" {
				onlyAdds(t, src, string(e.Bytes()))
			}
			if err := e.Save(); err != nil {
				t.Fatalf("%v\n%s", err, e.Bytes())
			}
			c, err := Load(e.path)
			if err != nil {
				t.Fatal(err)
			}
			s := c.Servers["crm"]
			if s == nil || strings.Join(s.Args, "|") != strings.Join(entry.Args, "|") || s.Command != "node" || s.Secrets["TOKEN"].Value != "~/.secrets/x" {
				t.Errorf("%+v", s)
			}
			if len(s.Tools) != 3 || s.Tools["put-thing"].Effect.Kind != "opaque" || s.Tools["drop"].Tier != guard.Never {
				t.Errorf("%+v", s.Tools)
			}
			if got := c.Unconfirmed(); len(got) != 1 || got[0] != "crm/get" {
				t.Errorf("unconfirmed %q", got)
			}
			if st, err := os.Stat(e.path); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", st.Mode(), err)
			}
			if err := e.AddServer("crm", entry); !errors.Is(err, ErrExists) {
				t.Errorf("twice: %v", err)
			}
		})
	}
	e := editor(t, "version: 1\nroots: [/w]\nservers: {a: {command: x}}\n")
	if err := e.AddServer("b", entry); err == nil || !strings.Contains(err.Error(), "in braces") {
		t.Errorf("got %v", err)
	}
}

func TestSetTool(t *testing.T) {
	e := editor(t, written)
	for _, x := range []ToolEntry{
		{Name: "read", Tier: guard.T1ReversibleWrite},
		{Name: "write", Tier: guard.T2IrreversibleWrite, Claimed: true},
		{Name: "new", Tier: guard.T0Read, Claimed: true},
	} {
		if err := e.SetTool("files", x); err != nil {
			t.Fatal(err)
		}
	}
	want := strings.NewReplacer(
		"read: {tier: T0_READ} # fine", "read: {tier: T1_REVERSIBLE_WRITE} # fine",
		"tier: T1_REVERSIBLE_WRITE\n", "tier: T2_IRREVERSIBLE_WRITE # "+claim+"\n",
		"effect: opaque\n", "effect: opaque\n      new:\n        tier: T0_READ # "+claim+"\n",
	).Replace(written)
	if got := string(e.Bytes()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// Confirming removes the mark and keeps the rest.
	if err := e.SetTool("files", ToolEntry{Name: "new", Tier: guard.T0Read}); err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(e.Bytes()), claim) != 1 {
		t.Errorf("got\n%s", e.Bytes())
	}
	if err := e.SetTool("none", ToolEntry{Name: "x", Tier: guard.T0Read}); err == nil {
		t.Error("a server that is not there")
	}
	// A mark next to another comment is removed too.
	e = editor(t, strings.Replace(written, "# fine", "# fine; "+claim, 1))
	if err := e.SetTool("files", ToolEntry{Name: "read", Tier: guard.T0Read}); err != nil || string(e.Bytes()) != written {
		t.Errorf("%v, got\n%s", err, e.Bytes())
	}
	for src, tool := range map[string]string{
		"version: 1\nroots: [/w]\nservers:\n  s:\n    preset: filesystem\n    command: x\n":                                                             "write_file",
		"version: 1\nroots: [/w]\nservers:\n  s:\n    preset: filesystem\n    command: x\n    tools:\n":                                                 "write_file",
		"version: 1\nroots: [/w]\nservers:\n  s:\n    preset: filesystem\n    command: x\n    tools:\n      write_file:\n":                              "write_file",
		"version: 1\nroots: [/w]\nservers:\n  s:\n    preset: filesystem\n    command: x\n    tools: {}\n    env: [A]\n":                                "write_file",
		"version: 1\nroots: [/w]\nservers:\n  s:\n    preset: filesystem\n    command: x\n    tools:\n      write_file: {limits: {rate: 1/s}}\n":        "write_file",
		"version: 1\nroots: [/w]\nservers:\n  s:\n    preset: filesystem\n    command: x\n    tools:\n      write_file:\n        limits: {rate: 1/s}\n": "write_file",
	} {
		e := editor(t, src)
		if err := e.SetTool("s", ToolEntry{Name: tool, Tier: guard.T2IrreversibleWrite, Claimed: true}); err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		c, err := Parse("c.yaml", e.Bytes())
		if err != nil || c.Servers["s"].Tools[tool].Tier != guard.T2IrreversibleWrite || !c.Servers["s"].Tools[tool].Unconfirmed {
			t.Errorf("%v\n%s", err, e.Bytes())
		}
	}
}

func TestAddRoot(t *testing.T) {
	for src, want := range map[string]string{
		"version: 1\n":                               "roots: [\"/a b\"]",
		"version: 1\nroots: [/w]\n":                  "roots: [/w, \"/a b\"]",
		"version: 1\nroots:\n  - /w # mine\n":        "  - /w # mine\n  - \"/a b\"",
		"version: 1\nroots: ['/w', \"/x\"] # both\n": "roots: ['/w', \"/x\", \"/a b\"] # both",
		"version: 1\nroots: ['/a b']\n":              "",
		"version: 1\nprofiles: {}\n":                 "",
	} {
		e := editor(t, src)
		changed, err := e.AddRoot("/a b")
		if err != nil || changed != (want != "") || !strings.Contains(string(e.Bytes()), want) {
			t.Errorf("%q: %v %v\n%s", src, changed, err, e.Bytes())
		}
	}
}

// TestSaveRefusesWhatDoesNotLoad: a broken result never reaches the file.
func TestSaveRefusesWhatDoesNotLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	e, err := OpenEditor(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.AddServer("s", ServerEntry{Command: "x", Tools: []ToolEntry{{Name: "t", Tier: guard.T2IrreversibleWrite}}}); err != nil {
		t.Fatal(err)
	}
	var invalid *Error
	if err := e.Save(); !errors.As(err, &invalid) {
		t.Errorf("saved: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file was written")
	}
}

// TestEditsKeepTheByteOrderMark: the byte order mark is not part of the text,
// and an edit keeps it. A text in UTF-16 is refused as such.
func TestEditsKeepTheByteOrderMark(t *testing.T) {
	const text = "\ufeffversion: 1\nroots: [/w]\nservers: {}\n"
	if _, err := Parse("c.yaml", []byte(text)); err != nil {
		t.Error(err)
	}
	_, err := Parse("c.yaml", []byte("\ufeffversion: 1\nroots: [/w]\nservrs: {}\n"))
	if err == nil || !strings.HasPrefix(err.Error(), "c.yaml:3:1: ") {
		t.Errorf("got %v", err)
	}
	e, err := NewEditor("c.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.AddServer("s", ServerEntry{Command: "/bin/x"}); err != nil {
		t.Fatal(err)
	}
	if got, want := string(e.Bytes()), "\ufeffversion: 1\nroots: [/w]\nservers:\n  s:\n    command: /bin/x\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := Parse("c.yaml", []byte("\xff\xfev\x00e\x00")); err == nil || !strings.Contains(err.Error(), "UTF-16; save it as UTF-8") {
		t.Errorf("got %v", err)
	}
}
