package effect

import (
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
)

func TestRecipients(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a@example.com", "email a@example.com example.com"},
		{"Ann <A.B+x@Example.COM>", "email A.B+x@example.com example.com Ann"},
		{"a@x.example, Bob <b@y.example>", "email a@x.example x.example | email b@y.example y.example Bob"},
		{`"Doe, J" <j@x.example>`, "email j@x.example x.example Doe, J"},
		{"a@bücher.example", "email a@xn--bcher-kva.example xn--bcher-kva.example"},
		{"a@xn--bcher-kva.example", "email a@xn--bcher-kva.example xn--bcher-kva.example"},
		{"a@pаypal.example", "email a@xn--pypal-4ve.example xn--pypal-4ve.example"}, // a Cyrillic a
		{"a@example.com.", "label a@example.com."},
		{"not an @ address", "label not an @ address"},
		{"+49 (30) 12345-67", "phone +49301234567"},
		{"0301234567", "phone 0301234567"},
		{"12345", "label 12345"},
		{"+1", "label +1"},
		{"#general", "channel #general"},
		{"@ann", "label @ann"},
		{"U02ABC", "label U02ABC"},
		{"team: a@x.example;", "email a@x.example x.example"},
		{"team: @;", "label team: @;"},
		{"a@x.example; Bob <b@y.example>;", "email a@x.example x.example | email b@y.example y.example Bob"},
		{"a@x.example; bob", "label a@x.example; bob"},
		{"+49 151 12345, +1 202 555 0100", "phone +4915112345 | phone +12025550100"},
		{"#ops, #dev", "channel #ops | channel #dev"},
		{"#ops a", "label #ops a"},
		{"bob, alice", "label bob, alice"},
		{"o'brien@x.example", "email o'brien@x.example x.example"},
		// Not every parser knows quoting.
		{`"evil@evil.example, x"@x.example`, `label "evil@evil.example, x"@x.example`},
		{"<@U02ABC>", "label <@U02ABC>"},
		{"=?utf-8?q?Ann?= <a@x.example>", "email a@x.example x.example Ann"},
	} {
		var parts []string
		for _, r := range recipients(c.text) {
			parts = append(parts, strings.TrimSpace(strings.Join([]string{r.Kind, r.Address, r.Domain, r.Name}, " ")))
			parts[len(parts)-1] = strings.Join(strings.Fields(parts[len(parts)-1]), " ")
		}
		if got := strings.Join(parts, " | "); got != c.want {
			t.Errorf("%q: %s, want %s", c.text, got, c.want)
		}
	}
}

// TestRecipientsAreBounded: reading a text ends soon, however long it is.
func TestRecipientsAreBounded(t *testing.T) {
	for name, unit := range map[string]string{"addresses": "a@b.c,", "commas": ",", "numbers": "+49 151 12345,", "names": "\"x\" <", "semicolons": "a@b;", "comments": "(", "words": "a@b c "} {
		start := time.Now()
		list := recipients(strings.Repeat(unit, 4<<20/len(unit)))
		list = append(list, recipients(strings.Repeat(unit, maxRecipientText/len(unit)))...)
		if took := time.Since(start); len(list) < 2 || took > 10*time.Second {
			t.Errorf("%s: %d recipients in %v", name, len(list), took)
		}
	}
}

func messageBinding(t *testing.T) *Binding {
	return compile(t, Spec{Kind: Message, Params: map[string]string{
		"to": "args.to", "cc": "has(args.cc) ? args.cc : []", "bcc": "has(args.bcc) ? args.bcc : []", "subject": "args.subject", "body": "args.body",
		"attachments": "has(args.files) ? args.files : []", "channel": "'email'",
	}})
}

func TestMessage(t *testing.T) {
	root := workspace(t)
	write(t, root, "report.pdf", "12345")
	b := messageBinding(t)
	p := mustPlan(t, b, input(t, m{
		"to": "Ann <ann@x.example>, bob@X.example", "cc": []any{m{"email": "eve@bücher.example", "name": "Eve"}, "ann@x.example"}, "bcc": []any{"#ops"},
		"subject": "Hi\nbcc: evil@x.example", "body": "to: nobody\n\nBye",
		"files": []any{"report.pdf", m{"filename": "a.txt", "content": "aGVsbG8="}, "/etc/passwd"},
	}, root))
	want := `channel: email
to: ann@x.example (shown as Ann)
to: bob@x.example
cc: eve@xn--bcher-kva.example (shown as Eve)
cc: ann@x.example
bcc: #ops
domain: x.example (2)
domain: xn--bcher-kva.example (1), which reads bücher.example
attachment: report.pdf (5 bytes, the file report.pdf)
attachment: a.txt (5 bytes)
attachment: /etc/passwd (not seen by the guard)
subject: "Hi\nbcc: evil@x.example"

to: nobody

Bye
`
	if p.Change.Text != want {
		t.Errorf("text\n%s\nwant\n%s", p.Change.Text, want)
	}
	f := p.Change.Message
	if p.Change.Type != guard.ChangeMessage || f.Count != 4 || len(f.Domains) != 2 || f.Body != "to: nobody\n\nBye" || f.Attachments[0].SHA256.IsZero() {
		t.Errorf("facts %+v", f)
	}
	if p.Summary != "send to ann@x.example and 3 more by email" || p.SideEffects[0].Text != "reaches 4 recipients in 2 domains: x.example, xn--bcher-kva.example" {
		t.Errorf("%q %v", p.Summary, p.SideEffects)
	}
	if got := hazards(p); got != HazardDomain+" "+HazardHeader+" "+HazardHidden+" "+HazardAttachment {
		t.Errorf("hazards %s", got)
	}
}

func TestMessageHazards(t *testing.T) {
	b := messageBinding(t)
	many := make([]any, 30)
	for i := range many {
		many[i] = strings.Repeat("a", i+1) + "@x.example"
	}
	for name, c := range map[string]struct {
		to   any
		want string
	}{
		"mixed scripts":     {"a@pаypal.example", HazardDomain + " " + HazardDomain},
		"another address":   {`"ceo@bank.example" <x@evil.example>`, HazardRecipient},
		"its own address":   {`"x@evil.example" <x@evil.example>`, ""},
		"not an address":    {"19:abc@thread.tacv2", HazardRecipient},
		"a mention":         {"<@U123>", HazardRecipient},
		"two names":         {"bob, alice", HazardRecipient},
		"a user of a chat":  {"@ann", ""},
		"many":              {many, HazardManyPeople},
		"one of many times": {[]any{"a@x.example", "a@X.example"}, ""},
	} {
		p := mustPlan(t, b, input(t, m{"to": c.to, "subject": "s", "body": "b"}))
		var got []string
		for _, h := range p.Hazards {
			if h.Kind == HazardDomain || h.Kind == HazardRecipient || h.Kind == HazardManyPeople {
				got = append(got, h.Kind)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", name, p.Hazards, c.want)
		}
	}
}

func TestMessageRefusals(t *testing.T) {
	b := messageBinding(t)
	for name, to := range map[string]any{
		"nobody": []any{}, "blank": " ", "a list of blanks": []any{"", nil, []any{}}, "a number": []any{7}, "no address": []any{m{"name": "Ann"}}, "null": nil,
		// A server that parses these differently sends to others than those shown.
		"two without a comma":  "a@x.example b@x.example",
		"one within another":   `"evil@evil.example, x"@x.example`,
		"a line of its own":    "a@x.example\r\nBcc: evil@evil.example",
		"an address with more": "mailto:evil@evil.example?cc=a@x.example",
		"a mention with more":  "@ann evil@evil.example",
		"a room with more":     "#ops evil@evil.example",
		"two members":          []any{m{"email": "a@x.example", "id": "b@x.example"}},
		"a hidden member":      []any{m{"email": "a@x.example", "headers": m{"Bcc": "evil@evil.example"}}},
		"too deep":             []any{[]any{[]any{[]any{[]any{"a@x.example"}}}}},
	} {
		if p, err := plan(t, b, input(t, m{"to": to, "subject": "s", "body": "b"})); err == nil {
			t.Errorf("%s: planned as %s", name, p.Change.Text)
		}
	}
}

// TestRecipientShapes checks the shapes in which tools are given recipients.
func TestRecipientShapes(t *testing.T) {
	b := messageBinding(t)
	for name, to := range map[string]any{
		"a text":                   "a@x.example, b@x.example",
		"a list":                   []any{"a@x.example", "b@x.example"},
		"a list of lists":          []any{[]any{"a@x.example"}, []any{"b@x.example", ""}},
		"objects":                  []any{m{"email": "a@x.example", "type": "to"}, m{"address": "b@x.example", "name": "Bob"}},
		"an object with a list":    m{"email": []any{"a@x.example", "b@x.example"}},
		"objects of another API":   []any{m{"emailAddress": m{"address": "a@x.example", "name": "Ann"}}, m{"emailAddress": m{"address": "b@x.example"}}},
		"an object of nothing but": m{"to": []any{m{"recipient": "a@x.example"}, "b@x.example"}},
	} {
		p := mustPlan(t, b, input(t, m{"to": to, "subject": "s", "body": "b"}))
		if f := p.Change.Message; f.Count != 2 || len(f.Domains) != 1 || f.To[0].Address != "a@x.example" || f.To[1].Address != "b@x.example" {
			t.Errorf("%s: %+v", name, f)
		}
	}
	p := mustPlan(t, b, input(t, m{"to": "a@x.example", "subject": "s\r\nBcc: evil@evil.example", "body": "b"}))
	if !hasHazard(p, HazardHeader) {
		t.Errorf("a line break in the subject: %v", p.Hazards)
	}
}

// FuzzRecipients: every text has a recipient, whose address does not change when it
// is parsed again.
func FuzzRecipients(f *testing.F) {
	for _, s := range []string{"a@b.example", "Ann <a@b.example>, c@d.example", "#x", "+49 30 1234567", "@", "a@b@c", "\"a\"@b", "<>", "a@[127.0.0.1]", "ä@ö.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list := recipients(text)
		if len(list) == 0 {
			t.Fatalf("%q has no recipient", text)
		}
		for _, r := range list {
			if r.Kind != guard.RecipientEmail {
				continue
			}
			if !strings.HasSuffix(r.Address, "@"+r.Domain) || lookupName(r.Domain) != r.Domain {
				t.Fatalf("%q: %+v", text, r)
			}
		}
		n, domains := countRecipients(list)
		total := 0
		for _, d := range domains {
			total += d.Count
		}
		if n < 1 || n > len(list) || total > n {
			t.Fatalf("%q: %d recipients, %d in domains", text, n, total)
		}
	})
}
