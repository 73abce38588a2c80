package effect

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// TestUndisclosedArgumentsAreShown: the arguments besides the parts of the message are
// shown, or marked if they are long.
func TestUndisclosedArgumentsAreShown(t *testing.T) {
	for name, c := range map[string]struct {
		to, body string
		args     m
		want     string // side effects besides the message's own
		hazard   string
	}{
		"nothing":          {"args.to", "args.text", m{"to": "a@x.example", "text": "b"}, "", ""},
		"by index":         {"args['to']", `args["text"]`, m{"to": "a@x.example", "text": "b"}, "", ""},
		"two short ones":   {"args.to", "args.text", m{"to": "a@x.example", "text": "b", "public": true, "thread": "17\n1"}, `sent along: public = true; sent along: thread = "17\n1"`, ""},
		"another text":     {"args.to", "has(args.text) ? args.text : ''", m{"to": "a@x.example", "payload": strings.Repeat("x", 200)}, "", "the argument payload (202 bytes) is not part of what is shown"},
		"a name in a name": {"args.to", "args.text", m{"to": "a@x.example", "text": "b", "tex": 1}, "sent along: tex = 1", ""},
		"only counted":     {"args.to", "string(size(args))", m{"to": "a@x.example", "text": "b"}, `sent along: text = "b"`, ""},
		"only asked for":   {"args.to", "has(args.text) ? 'yes' : 'no'", m{"to": "a@x.example", "text": "b"}, `sent along: text = "b"`, ""},
		"named in a text":  {"args.to", "'see args.text'", m{"to": "a@x.example", "text": "b"}, `sent along: text = "b"`, ""},
		"named in a note":  {"args.to", "'x' // args.text", m{"to": "a@x.example", "text": "b"}, `sent along: text = "b"`, ""},
		"part of an object": {"args.mail.to", "args.mail.text", m{"mail": m{"to": "a@x.example", "text": "b", "public": true, "raw": strings.Repeat("x", 200)}},
			"sent along: mail.public = true", "the argument mail.raw (202 bytes) is not part of what is shown"},
		"a computed name": {"args.to", "args[args.name]", m{"to": "a@x.example", "name": "text", "text": "b"}, `sent along: text = "b"`, ""},
	} {
		b := compile(t, Spec{Kind: Message, Params: map[string]string{"to": c.to, "body": c.body}})
		p := mustPlan(t, b, input(t, c.args))
		var said []string
		for _, s := range p.SideEffects {
			if strings.HasPrefix(s.Text, "sent along") {
				said = append(said, s.Text)
			}
		}
		if got := strings.Join(said, "; "); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		marked := fmt.Sprint(kept(p.Hazards, HazardUndisclosed))
		if want := "[" + c.hazard + "]"; marked != want {
			t.Errorf("%s: hazards %s, want %s", name, marked, want)
		}
	}
}

// kept returns the texts of the hazards of one kind.
func kept(list []guard.Hazard, kind string) (out []string) {
	for _, h := range list {
		if h.Kind == kind {
			out = append(out, h.Text)
		}
	}
	return out
}
