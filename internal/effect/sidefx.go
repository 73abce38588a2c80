package effect

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/redact"
)

// The hazards of secrets in what is written or sent.
const (
	HazardSecret      = "secret_added"
	HazardNotSearched = "secrets_not_searched"
)

// notReversible is said of what cannot be taken back.
var notReversible = guard.SideEffect{Text: "NOT reversible"}

// jumpFactor is from which ratio on a change of size is named, jumpFloor from
// how many bytes.
const (
	jumpFactor = 10
	jumpFloor  = 1 << 10
)

// besides adds what follows from a change of files beside the change itself.
func (b *Binding) besides(p *guard.Preview, places []place) {
	if b.kind == FileDelete {
		p.SideEffects = append(p.SideEffects, notReversible)
	}
	for _, e := range p.Effects {
		if e.Before.Kind == stateFile && e.After.Kind == stateFile && e.Before.Computed && e.After.Computed {
			if s := sizeJump(e.Before.Size, e.After.Size); s != "" {
				p.SideEffects = append(p.SideEffects, guard.SideEffect{Text: s})
			}
		}
	}
	if b.kind == DirCreate || len(places) == 0 {
		return
	}
	if s := versioned(places[0]); s != "" {
		p.SideEffects = append(p.SideEffects, guard.SideEffect{Text: s})
	}
}

// sizeJump says how much a file grows or shrinks, where that is much.
func sizeJump(before, after int64) string {
	if before == 0 || max(before, after) < jumpFloor {
		return ""
	}
	switch {
	case after > jumpFactor*before:
		return fmt.Sprintf("the file grows to %d times its size (%d to %d bytes)", after/before, before, after)
	case after > 0 && before > jumpFactor*after:
		return fmt.Sprintf("the file shrinks to %s of its size (%d to %d bytes)", fraction(before/after), before, after)
	}
	return ""
}

// fraction spells one part of n.
func fraction(n int64) string { return fmt.Sprintf("1/%d", n) }

// maxSecretScan bounds the added text that is searched for secrets, in bytes.
const maxSecretScan = 256 << 10

// detector is made once: what it looks for is compiled into one machine.
var detector = sync.OnceValue(func() *redact.Redactor { return redact.New(redact.Config{}) })

// secretHazards looks for secrets in the text that is new. It is shown as it
// is: a payload must not be able to hide as a secret.
func secretHazards(what string, added []byte) []guard.Hazard {
	if len(added) == 0 {
		return nil
	}
	long := len(added) > maxSecretScan
	if long {
		added = added[:maxSecretScan]
	}
	_, found := detector().Text(added)
	var kinds []string
	for _, f := range found {
		if !slices.Contains(kinds, f.Kind) {
			kinds = append(kinds, f.Kind)
		}
	}
	var out []guard.Hazard
	if len(kinds) > 0 {
		out = append(out, hazard(HazardSecret, "%s looks like a secret: %s", what, named(kinds)))
	}
	if long {
		out = append(out, hazard(HazardNotSearched, "only the first %d bytes were searched for secrets", maxSecretScan))
	}
	return out
}

// addedText is the text of the added lines alone.
func addedText(r diff.Result) []byte {
	var added bytes.Buffer
	for _, h := range r.Hunks {
		for _, l := range h.Lines {
			if l.Kind == diff.Insert {
				added.Write(l.Text)
				added.WriteByte('\n')
			}
		}
	}
	return added.Bytes()
}

// The kinds of what a call touches beside files.
const (
	touchHost      = "host"
	touchRecipient = "recipient"
	touchTable     = "table"
)

// maxTouched bounds what is remembered of one call.
const maxTouched = 200

// Touched names the hosts, recipients and tables of a change, each as a kind and
// a name with a blank between. A table is one of a server's database.
func Touched(server string, c guard.Change) []string {
	var out []string
	add := func(kind, name string) {
		if s := kind + " " + name; name != "" && len(out) < maxTouched && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	switch {
	case c.HTTP != nil:
		add(touchHost, c.HTTP.Host)
	case c.Message != nil:
		for _, r := range slices.Concat(c.Message.To, c.Message.Cc, c.Message.Bcc) {
			add(touchRecipient, r.Address)
		}
	case c.SQL != nil:
		for _, s := range c.SQL.Statements {
			for _, name := range slices.Concat(s.Changes, s.Reads) {
				add(touchTable, strings.Join([]string{server, c.SQL.Database, name}, "\x1f"))
			}
		}
	}
	return out
}

// FirstTimes says which of what a call touches is new to its tenant.
func FirstTimes(fresh []string) []guard.SideEffect {
	names := map[string][]string{}
	for _, s := range fresh {
		kind, name, _ := strings.Cut(s, " ")
		names[kind] = append(names[kind], shortText(name[strings.LastIndexByte(name, '\x1f')+1:]))
	}
	var out []guard.SideEffect
	for _, k := range []struct{ kind, one, many string }{
		{touchHost, "first request to the host", "first request to the hosts"},
		{touchRecipient, "first message to", "first message to"},
		{touchTable, "first use of the table", "first use of the tables"},
	} {
		switch list := names[k.kind]; len(list) {
		case 0:
		case 1:
			out = append(out, guard.SideEffect{Text: k.one + " " + list[0]})
		default:
			out = append(out, guard.SideEffect{Text: k.many + " " + named(list)})
		}
	}
	return out
}
