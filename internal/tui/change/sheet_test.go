package change

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
)

func TestReadSheet(t *testing.T) {
	for _, c := range []struct {
		name, text string
		facts      []fact
		title      string
		rest       string
		ok         bool
	}{
		{"rows and text", "method  GET\nhost    x.org\nbody\na\nb", []fact{{"method", "GET"}, {"host", "x.org"}}, "body", "a\nb", true},
		{"the widest name", "as sent https://x.org\nhost    x.org\n", []fact{{"as sent", "https://x.org"}, {"host", "x.org"}}, "", "", true},
		{"rows behind the title are text", "a  1\nbody\nb  2\nbody\n", []fact{{"a", "1"}}, "body", "b  2\nbody\n", true},
		{"text alone", "body\nx", nil, "body", "x", true},
		{"a title without a text", "a  1\nbody", nil, "", "", false},
		{"prose", "This is a text.\n", nil, "", "", false},
		{"a blank line", "a  1\n\nb  2\n", nil, "", "", false},
		{"values in two columns", "a  1\nlonger  2\n", nil, "", "", false},
		{"nothing", "", nil, "", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			sh, ok := readSheet(c.text, "body")
			if ok != c.ok || ok && (sh.title != c.title || sh.text != c.rest || fmt.Sprint(sh.facts) != fmt.Sprint(c.facts)) {
				t.Errorf("got %+v, %v", sh, ok)
			}
		})
	}
}

// FuzzSheet reads any text as a description: what comes out of it is all that
// was in it, in order.
func FuzzSheet(f *testing.F) {
	f.Add("method  GET\nhost    x.org\nbody\na\nb")
	f.Add("as sent x\n")
	f.Add("body\n")
	f.Fuzz(func(t *testing.T, s string) {
		sh, ok := readSheet(s, "body", "command")
		if !ok {
			return
		}
		var b strings.Builder
		for _, x := range sh.facts {
			b.WriteString(x.name + x.value)
		}
		b.WriteString(sh.title + sh.text)
		bare := func(s string) string { return strings.NewReplacer(" ", "", "\n", "").Replace(s) }
		if got := b.String(); bare(got) != bare(s) {
			t.Errorf("%q became %q", s, got)
		}
		if len(sh.facts) > 0 && strings.Contains(sh.facts[0].name, "\n") {
			t.Errorf("a name of two lines: %+v", sh.facts[0])
		}
	})
}

// TestDescriptionsLoseNothing looks for each word of a description on the screen.
func TestDescriptionsLoseNothing(t *testing.T) {
	for _, kind := range []string{"exec", "message", "http", "sql"} {
		for _, c := range cases() {
			if c.d.Diff.Type != kind {
				continue
			}
			v := New(c.d, Options{})
			v.SetSize(200, 200)
			seen := strings.Join(v.Render(), "\n")
			text := c.d.Diff.Text
			if t, ok := c.d.Diff.Command(); ok { // what follows are diffs, which are shown as such
				text = t.Head + t.Run
			}
			for _, w := range strings.FieldsFunc(text, func(r rune) bool {
				return r != '/' && r != '.' && r != '@' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
			}) {
				if len(w) > 3 && !strings.Contains(seen, w) && !strings.Contains(c.d.Diff.Text, `\`+w) && w != "argv" {
					t.Errorf("%s: %q is not on the screen:\n%s", c.name, w, seen)
				}
			}
		}
	}
}

// TestRecipientsByDomain counts how far a message goes.
func TestRecipientsByDomain(t *testing.T) {
	for _, c := range []struct{ to, want string }{
		{`"a@x.org"`, "to: a@x.org"},
		{`["a@x.org"]`, "to: a@x.org"},
		{`["a@x.org","B <b@X.org>"]`, "to: 2 recipients in 1 domain"},
		{`["a@x.org","b@y.org","me"]`, "to: 3 recipients in 3 domains"},
		{`"a@x.org, b@y.org"`, "to: 2 recipients in 2 domains"},
		{`"Doe, Jane <j@x.org>"`, "to: Doe, Jane <j@x.org>"},
		{`[]`, "to: []"},
	} {
		v := New(client.Detail{Diff: client.NewDiff("message", `{"to":`+c.to+`}`)}, Options{})
		v.SetSize(80, 20)
		if got := strings.TrimSpace(v.Render()[0]); got != c.want {
			t.Errorf("%s: got %q, want %q", c.to, got, c.want)
		}
	}
}
