package effect

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/idna"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Message sends something to recipients. Its outcome is not predicted: the preview
// shows who would get what.
const Message = "message"

// Hazards of messages.
const (
	HazardRecipient  = "recipient"        // one that cannot be parsed as what it looks like
	HazardDomain     = "recipient_domain" // one whose domain may look like another
	HazardManyPeople = "many_recipients"
	HazardHidden     = "hidden_recipients"
	HazardAttachment = "attachment_unseen"
	HazardHeader     = "header_break"
)

// manyRecipients is the number of recipients from which a message goes to many.
const manyRecipients = 20

// maxRecipients bounds the recipients of one call, maxAttachments its files.
const (
	maxRecipients  = 10_000
	maxAttachments = 100
)

type messageKind struct{ notPredicted }

func (messageKind) about() About {
	return About{
		Name: Message, check: checkMessageParams,
		params: []param{
			{"to", expr.Dyn, true}, // one text or a list; commas separate addresses in one text
			{"cc", expr.Dyn, true},
			{"bcc", expr.Dyn, true},
			{"subject", expr.String, true},
			{"body", expr.String, true},
			{"attachments", expr.Dyn, true}, // names, paths, or objects with a name and a size or content
			{"channel", expr.String, true},  // email, sms, slack …: how it goes
		},
		touches: &touching{noun: "recipient", first: "first message to", many: "first message to", names: addressesOf},
	}
}

// checkMessageParams requires at least one recipient parameter.
func checkMessageParams(s Spec) error {
	for _, name := range []string{"to", "cc", "bcc"} {
		if _, ok := s.Params[name]; ok {
			return nil
		}
	}
	return errors.New(`effect message needs "to", "cc" or "bcc"`)
}

func addressesOf(_ string, c guard.Change) []string {
	if c.Message == nil {
		return nil
	}
	var out []string
	for _, r := range slices.Concat(c.Message.To, c.Message.Cc, c.Message.Bcc) {
		out = append(out, r.Address)
	}
	return out
}

func (messageKind) resolve(_ context.Context, _ *Binding, in Input) (resolved, error) {
	return resolved{targets: []guard.Target{runTarget(Message, in)}}, nil
}

// plan shows the parts of the message.
func (messageKind) plan(ctx context.Context, b *Binding, in Input, at resolved) (guard.Preview, error) {
	var f guard.MessageFacts
	if err := b.texts(in, map[string]*string{"subject": &f.Subject, "body": &f.Body, "channel": &f.Channel}); err != nil {
		return guard.Preview{}, err
	}
	for _, list := range []struct {
		name string
		to   *[]guard.Recipient
	}{{"to", &f.To}, {"cc", &f.Cc}, {"bcc", &f.Bcc}} {
		var err error
		if *list.to, err = b.recipients(in, list.name); err != nil {
			return guard.Preview{}, err
		}
	}
	all := slices.Concat(f.To, f.Cc, f.Bcc)
	switch {
	case len(all) == 0:
		return guard.Preview{}, refusePlan("name a recipient", "the message has no recipient")
	case len(all) > maxRecipients:
		return guard.Preview{}, refusePlan("send to fewer at once", "the message has %d recipients; at most %d are taken", len(all), maxRecipients)
	}
	f.Count, f.Domains = countRecipients(all)
	var err error
	if f.Attachments, err = b.attachments(ctx, in); err != nil {
		return guard.Preview{}, err
	}
	text := messageText(f)
	p := guard.Preview{
		Effects:     []guard.Effect{{Kind: Message, Resource: at.targets[0], Diff: digest.Sum([]byte(text))}},
		Change:      guard.Change{Type: guard.ChangeMessage, Text: text, Facts: guard.Facts{Message: &f}},
		SideEffects: []guard.SideEffect{{Text: reachText(f)}, notReversible},
		Hazards:     slices.Concat(messageHazards(f, all), secretHazards("sends", []byte(f.Subject+"\n"+f.Body)), textHazards([]byte(text))),
		Summary:     "send to " + whoText(f),
	}
	b.undisclosedArgs(in, &p)
	return p, nil
}

// recipients reads a recipient parameter: one text or object, or a list of them.
func (b *Binding) recipients(in Input, name string) ([]guard.Recipient, error) {
	if !b.has(name) {
		return nil, nil
	}
	v, err := b.value(in, name)
	if err != nil {
		return nil, err
	}
	texts, err := recipientTexts(v, 0)
	if err != nil {
		return nil, err
	}
	var out []guard.Recipient
	for _, t := range texts {
		for _, r := range recipients(t) {
			if severalIn(r) {
				// fail closed: a server may send to others than those who are counted and held to rules
				return nil, refusePlan("give each recipient by itself, as a plain address", "%.100s cannot be read as one recipient", oneLine(r.Text))
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// lookupName returns a domain in ASCII and lower case. Text that is not a domain is
// unchanged.
func lookupName(domain string) string {
	domain = strings.TrimSuffix(strings.ToLower(domain), ".")
	if ascii, err := idna.Lookup.ToASCII(domain); err == nil {
		return ascii
	}
	return domain
}

// shownName returns a domain in its own script, or "" if that is the same.
func shownName(ascii string) string {
	if !strings.Contains(ascii, "xn--") {
		return ""
	}
	if s, err := idna.Display.ToUnicode(ascii); err == nil && s != ascii {
		return s
	}
	return ""
}

// phoneNumber reads a number as people write it.
func phoneNumber(s string) (string, bool) {
	var digits strings.Builder
	for i, r := range s {
		switch {
		case r >= '0' && r <= '9', r == '+' && i == 0:
			digits.WriteRune(r)
		case strings.ContainsRune(" -().", r):
		default:
			return "", false
		}
	}
	n := len(strings.TrimPrefix(digits.String(), "+"))
	return digits.String(), n >= 5 && n <= 15 && (s[0] == '+' || n >= 7)
}

// countRecipients counts distinct recipients, in total and per domain.
func countRecipients(all []guard.Recipient) (int, []guard.DomainCount) {
	seen := map[string]bool{}
	byDomain := map[string]int{}
	for _, r := range all {
		if key := r.Kind + "\x00" + r.Address; !seen[key] {
			seen[key] = true
			if r.Kind == guard.RecipientEmail {
				byDomain[r.Domain]++
			}
		}
	}
	var out []guard.DomainCount
	for d, n := range byDomain {
		out = append(out, guard.DomainCount{Domain: d, Shown: shownName(d), Count: n})
	}
	slices.SortFunc(out, func(a, b guard.DomainCount) int { return strings.Compare(a.Domain, b.Domain) })
	return len(seen), out
}

// attachments reads the attachments of the call.
func (b *Binding) attachments(ctx context.Context, in Input) ([]guard.Attachment, error) {
	v, err := b.value(in, "attachments")
	if v == nil || err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	if len(list) > maxAttachments {
		return nil, refusePlan("send fewer files at once", "the message has %d attachments; at most %d are taken", len(list), maxAttachments)
	}
	out := make([]guard.Attachment, 0, len(list))
	for _, x := range list {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out = append(out, attachment(ctx, x, in.Roots))
	}
	return out, nil
}

// attachment reads one attachment. A file in the workspace is read; anything else
// is only named.
func attachment(ctx context.Context, x any, roots []string) guard.Attachment {
	a := guard.Attachment{Size: -1}
	path := ""
	switch x := x.(type) {
	case string:
		a.Name, path = x, x
	case map[string]any:
		text := func(keys ...string) string {
			for _, k := range keys {
				if s, ok := x[k].(string); ok && s != "" {
					return s
				}
			}
			return ""
		}
		path = text("path", "file", "file_path", "filePath")
		a.Name = text("name", "filename", "fileName", "title", "path", "file", "url")
		if data := text("content", "data", "base64"); data != "" {
			raw, err := base64.StdEncoding.DecodeString(data)
			if err != nil {
				raw = []byte(data)
			}
			a.Size, a.SHA256 = int64(len(raw)), digest.Sum(raw)
		}
	}
	if path != "" && len(roots) > 0 {
		if t, err := Path(path, roots); err == nil {
			if s, err := State(ctx, t, true); err == nil && s.Exists && s.Kind == stateFile {
				a.File, a.Size, a.SHA256 = t.Path, s.Size, s.SHA256
			}
		}
	}
	if a.Name == "" {
		a.Name = "without a name"
	}
	return a
}

// messageText describes who would get what. The body comes last so that it cannot
// fake a line above.
func messageText(f guard.MessageFacts) string {
	var out strings.Builder
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&out, "%s: %s\n", name, oneLine(value))
		}
	}
	row("channel", f.Channel)
	for _, list := range []struct {
		name string
		of   []guard.Recipient
	}{{"to", f.To}, {"cc", f.Cc}, {"bcc", f.Bcc}} {
		for _, r := range list.of {
			value := r.Address
			if r.Name != "" {
				value += " (shown as " + r.Name + ")"
			}
			row(list.name, value)
		}
	}
	for _, d := range f.Domains {
		value := fmt.Sprintf("%s (%d)", d.Domain, d.Count)
		if d.Shown != "" {
			value += ", which reads " + d.Shown
		}
		row("domain", value)
	}
	for _, a := range f.Attachments {
		value := a.Name
		switch {
		case a.File != "":
			value += fmt.Sprintf(" (%d bytes, the file %s)", a.Size, a.File)
		case a.Size >= 0:
			value += fmt.Sprintf(" (%d bytes)", a.Size)
		default:
			value += " (not seen by the guard)"
		}
		row("attachment", value)
	}
	row("subject", f.Subject)
	out.WriteString("\n" + f.Body)
	if f.Body != "" && !strings.HasSuffix(f.Body, "\n") {
		out.WriteByte('\n')
	}
	return out.String()
}

// reachText says how many people in how many domains a message reaches.
func reachText(f guard.MessageFacts) string {
	s := "reaches " + plural(f.Count, "recipient", "recipients")
	if len(f.Domains) == 0 {
		return s
	}
	names := make([]string, 0, len(f.Domains))
	for i, d := range f.Domains {
		if i == 5 {
			names = append(names, fmt.Sprintf("and %d more", len(f.Domains)-i))
			break
		}
		names = append(names, oneLine(d.Domain))
	}
	return s + " in " + plural(len(f.Domains), "domain", "domains") + ": " + strings.Join(names, ", ")
}

func whoText(f guard.MessageFacts) string {
	first := slices.Concat(f.To, f.Cc, f.Bcc)[0]
	who := firstLine(oneLine(first.Address))
	if f.Count > 1 {
		who += fmt.Sprintf(" and %d more", f.Count-1)
	}
	if f.Channel != "" {
		who += " by " + firstLine(oneLine(f.Channel))
	}
	return who
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func messageHazards(f guard.MessageFacts, all []guard.Recipient) []guard.Hazard {
	var out []guard.Hazard
	add := func(kind, format string, args ...any) { out = append(out, hazard(kind, format, args...)) }
	for _, r := range all {
		if len(out) >= 10 {
			break
		}
		if r.Kind == guard.RecipientLabel && strings.Contains(r.Text, "@") && !strings.HasPrefix(r.Text, "@") {
			add(HazardRecipient, "%s cannot be read as an e-mail address", oneLine(r.Text))
		} else if r.Kind == guard.RecipientLabel && strings.ContainsAny(r.Text, ",;\r\n") {
			add(HazardRecipient, "%s counts as one recipient and may stand for several", oneLine(r.Text))
		}
		if r.Name != "" && strings.Contains(r.Name, "@") && !strings.Contains(strings.ToLower(r.Name), strings.ToLower(r.Address)) {
			add(HazardRecipient, "%s is shown as another address: %s", oneLine(r.Address), oneLine(r.Name))
		}
	}
	for _, d := range f.Domains {
		if len(out) >= 20 {
			break
		}
		if d.Shown != "" {
			add(HazardDomain, "the domain %s has letters beyond ASCII; it reads %s", oneLine(d.Domain), oneLine(d.Shown))
			if scripts := mixedScripts(d.Shown); scripts != "" {
				add(HazardDomain, "the domain %s mixes scripts, as a name that imitates another does: %s", oneLine(d.Domain), scripts)
			}
		}
	}
	if strings.ContainsAny(f.Subject, "\r\n") {
		add(HazardHeader, "the subject has a line break; a careless server takes what follows for further recipients")
	}
	if f.Count >= manyRecipients {
		add(HazardManyPeople, "reaches %d recipients", f.Count)
	}
	if n := len(f.Bcc); n > 0 {
		add(HazardHidden, "%s that the others do not see", plural(n, "recipient", "recipients"))
	}
	for _, a := range f.Attachments {
		if a.Size < 0 {
			add(HazardAttachment, "the guard does not see what is attached as %s", oneLine(a.Name))
			break
		}
	}
	return out
}

// mixedScripts names the scripts of a label that mixes Latin, Greek, Cyrillic and
// Armenian letters, which share many shapes; empty if there is no such label.
func mixedScripts(domain string) string {
	for _, label := range strings.Split(domain, ".") {
		var found []string
		for _, script := range []struct {
			name  string
			table *unicode.RangeTable
		}{{"Latin", unicode.Latin}, {"Greek", unicode.Greek}, {"Cyrillic", unicode.Cyrillic}, {"Armenian", unicode.Armenian}} {
			if strings.ContainsFunc(label, func(r rune) bool { return unicode.Is(script.table, r) }) {
				found = append(found, script.name)
			}
		}
		if len(found) > 1 {
			return strings.Join(found, ", ")
		}
	}
	return ""
}
