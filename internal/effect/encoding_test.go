package effect

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// wide encodes a text in UTF-16 with its byte order mark.
func wide(order binary.AppendByteOrder, text string) string {
	var out []byte
	for _, u := range utf16.Encode([]rune("\ufeff" + text)) {
		out = order.AppendUint16(out, u)
	}
	return string(out)
}

func sides(p guard.Preview) string {
	var out []string
	for _, s := range p.SideEffects {
		out = append(out, s.Text)
	}
	return strings.Join(out, "; ")
}

// TestEncodings: a change of a file's encoding is reported, and only then; UTF-16
// is shown as text.
func TestEncodings(t *testing.T) {
	const mark = "\ufeff"
	le, be := wide(binary.LittleEndian, "größe\n"), wide(binary.BigEndian, "größe\n")
	for name, c := range map[string]struct {
		kind, dialect string
		before, after string // after is the content or, for an edit, unused
		args          m
		hazards       string
		text          string // part of the change
	}{
		"a mark stays":                {FileWrite, "", mark + "one\n", mark + "two\n", nil, "", "+" + mark + "two\n"},
		"a mark stays in an edit":     {FileEdit, DialectWorkspace, mark + "one\ntwo\n", "", m{"edits": []m{{"old_text": "one", "new_text": "1"}}}, "", "+" + mark + "1\n"},
		"a mark stays in Claude Code": {FileWrite, DialectClaude, mark + "one\n", "two\n", nil, "", "+" + mark + "two\n"},
		"a mark goes":                 {FileWrite, "", mark + "one\n", "two\n", nil, "byte_order_mark", "-" + mark + "one\n"},
		"a mark alone goes":           {FileWrite, "", mark + "one\n", "one\n", nil, "byte_order_mark", "-" + mark + "one\n"},
		"a mark comes":                {FileWrite, "", "one\n", mark + "two\n", nil, "byte_order_mark", "+" + mark + "two\n"},
		"a new file with a mark":      {FileWrite, "", "", mark + "two\n", nil, "byte_order_mark", "+" + mark + "two\n"},
		"a mark further on":           {FileWrite, "", "one\n", "a" + mark + "b\n", nil, "invisible", "+a" + mark + "b\n"},
		"emptied":                     {FileWrite, "", mark + "one\n", "", nil, "emptied", "-" + mark + "one\n"},
		"UTF-16 becomes UTF-8":        {FileWrite, "", le, "länge\n", nil, "encoding", "-größe\n+länge\n"},
		"its text stays":              {FileWrite, "", be, "größe\n", nil, "encoding", "the text of f.txt stays, its encoding changes\n"},
		"UTF-16 is deleted":           {FileDelete, "", be, "", m{}, "", "-größe\n"},
	} {
		t.Run(name, func(t *testing.T) {
			root := workspace(t)
			if c.before != "" {
				write(t, root, "f.txt", c.before)
			}
			args := m{"path": filepath.Join(root, "f.txt"), "content": c.after}
			if c.args != nil {
				args = c.args
				args["path"] = filepath.Join(root, "f.txt")
			}
			p := mustPlan(t, compile(t, spec(c.kind, c.dialect)), input(t, args, root))
			if hazards(p) != c.hazards || !strings.Contains(p.Change.Text, c.text) {
				t.Errorf("hazards %q, want %q; change\n%s\nwant\n%s", hazards(p), c.hazards, p.Change.Text, c.text)
			}
			if strings.HasPrefix(p.Summary, "no change") {
				t.Errorf("summary %q", p.Summary)
			}
			if isWide := strings.HasPrefix(c.before, "\xff\xfe") || strings.HasPrefix(c.before, "\xfe\xff"); strings.Contains(sides(p), "shown decoded: it is UTF-16") != isWide {
				t.Errorf("side effects %q", sides(p))
			}
		})
	}
}

// TestUTF16IsNotConverted: a tool that would read the file as UTF-8 is refused, and
// nothing tells an agent to write the file in another encoding.
func TestUTF16IsNotConverted(t *testing.T) {
	root := workspace(t)
	write(t, root, "f.json", wide(binary.LittleEndian, "{\"a\": 1}\n"))
	path := filepath.Join(root, "f.json")
	for name, c := range map[string]struct {
		kind, dialect string
		args          m
	}{
		"edit":                {FileEdit, "", m{"edits": []m{{"old_text": "a", "new_text": "b"}}}},
		"edit, built in":      {FileEdit, DialectWorkspace, m{"edits": []m{{"old_text": "a", "new_text": "b"}}}},
		"edit, filesystem":    {FileEdit, DialectFilesystem, m{"edits": []m{{"oldText": "a", "newText": "b"}}}},
		"edit, Claude Code":   {FileEdit, DialectClaude, m{"edits": []m{{"old_string": "a", "new_string": "b"}}}},
		"write, Claude Code":  {FileWrite, DialectClaude, m{"content": "{}"}},
		"append":              {FileAppend, DialectWorkspace, m{"content": "x"}},
		"patch":               {DocumentPatch, DialectWorkspace, m{"patch": []m{{"op": "remove", "path": "/a"}}}},
		"append, unknown one": {FileAppend, "", m{"content": "x"}},
	} {
		c.args["path"] = path
		_, err := plan(t, compile(t, spec(c.kind, c.dialect)), input(t, c.args, root))
		refused(t, err, guard.RulePreviewFailed)
		r, ok := err.(*Refusal)
		if !ok || !strings.Contains(r.Reason, "UTF-16") || !strings.HasPrefix(r.Repair, "ask the user") {
			t.Errorf("%s: %v", name, err)
		}
		for _, word := range []string{"convert", "write the whole file", "UTF-8"} {
			if ok && strings.Contains(r.Repair, word) {
				t.Errorf("%s: the repair is %q", name, r.Repair)
			}
		}
	}
}

// TestOverwrittenUTF16CannotBeUndone: the stored text is not the bytes that were
// in the file.
func TestOverwrittenUTF16CannotBeUndone(t *testing.T) {
	root := workspace(t)
	path := write(t, root, "f.txt", wide(binary.LittleEndian, "one\n"))
	a := executed(t, compile(t, spec(FileWrite, DialectWorkspace)), input(t, m{"path": path, "content": "two\n"}, root), func() { write(t, root, "f.txt", "two\n") })
	_, err := InverseOf(context.Background(), a)
	refused(t, err, guard.RulePreviewFailed)
}

// TestReplacingAFileReportsWhatIsLost: replacing a read-only file, and what the
// old file had besides its content, are reported.
func TestReplacingAFileReportsWhatIsLost(t *testing.T) {
	root := workspace(t)
	path := write(t, root, "f", "one\n")
	tagged := true
	if err := unix.Setxattr(path, "user.origin", []byte("x"), 0); err != nil {
		t.Logf("no extended attributes here: %v", err)
		tagged = false
	}
	for _, c := range []struct {
		kind, dialect string
		mode          os.FileMode
		content       string
		want          []string
	}{
		{FileWrite, DialectWorkspace, 0o444, "two\n", []string{HazardReadOnly, HazardAttributes}},
		{FileWrite, DialectFilesystem, 0o444, "two\n", []string{HazardReadOnly, HazardAttributes}},
		{FileWrite, DialectFilesystem, 0o444, "one\n", []string{HazardReadOnly, HazardAttributes}},
		{FileWrite, DialectClaude, 0o444, "two\n", []string{HazardReadOnly, HazardAttributes}},
		{FileWrite, DialectGeneric, 0o444, "two\n", nil}, // it writes into the file
		{FileWrite, DialectWorkspace, 0o644, "two\n", []string{HazardAttributes}},
		{FileWrite, DialectWorkspace, 0o444, "one\n", nil}, // nothing is written
		{FileDelete, DialectWorkspace, 0o444, "", []string{HazardReadOnly}},
		{FileDelete, DialectWorkspace, 0o644, "", nil},
	} {
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		want := c.want
		if !tagged {
			want = slices.DeleteFunc(slices.Clone(want), func(h string) bool { return h == HazardAttributes })
		}
		p := mustPlan(t, compile(t, spec(c.kind, c.dialect)), input(t, m{"path": path, "content": c.content}, root))
		if got := hazards(p); got != strings.Join(want, " ") {
			t.Errorf("%s, %q, %v, %q: hazards %q, want %v", c.kind, c.dialect, c.mode, c.content, got, want)
		}
		for _, h := range p.Hazards {
			if h.Kind == HazardAttributes && h.Text != "extended attributes of the file are lost: user.origin" {
				t.Errorf("said %q", h.Text)
			}
		}
	}
}
