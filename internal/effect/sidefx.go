package effect

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/redact"
)

// Hazards of secrets in what is written or sent.
const (
	HazardSecret      = "secret_added"
	HazardNotSearched = "secrets_not_searched"
)

// notReversible marks what cannot be undone.
var notReversible = guard.SideEffect{Text: "NOT reversible"}

// jumpFactor is the ratio from which a change in size is reported, jumpFloor the
// number of bytes.
const (
	jumpFactor = 10
	jumpFloor  = 1 << 10
)

// addSideEffects adds what a change to a file implies besides the change itself.
func addSideEffects(p *guard.Preview, at resolvedPath) {
	for _, e := range p.Effects {
		if e.Before.Kind == stateFile && e.After.Kind == stateFile && e.Before.Computed && e.After.Computed {
			if s := sizeJump(e.Before.Size, e.After.Size); s != "" {
				p.SideEffects = append(p.SideEffects, guard.SideEffect{Text: s})
			}
		}
	}
	if s := versioned(at); s != "" {
		p.SideEffects = append(p.SideEffects, guard.SideEffect{Text: s})
	}
}

// sizeJump says how much a file grows or shrinks, if that is a lot.
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

// fraction returns 1/n as text.
func fraction(n int64) string { return fmt.Sprintf("1/%d", n) }

// maxSecretScan bounds the added text searched for secrets, in bytes.
const maxSecretScan = 256 << 10

// detector is built once, because compiling its patterns is expensive.
var detector = sync.OnceValue(func() *redact.Redactor { return redact.New(redact.Config{}) })

// secretHazards looks for secrets in new text. The text is shown unredacted, so
// that a payload cannot hide as a secret. does says what the call does with it.
func secretHazards(does string, added []byte) []guard.Hazard {
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
		if kind := redact.Describe(f.Kind); !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	var out []guard.Hazard
	if len(kinds) > 0 {
		out = append(out, hazard(HazardSecret, "%s what looks like %s", does, named(kinds)))
	}
	if long {
		out = append(out, hazard(HazardNotSearched, "only the first %d bytes were searched for secrets", maxSecretScan))
	}
	return out
}

// addedText returns the text of the added lines only.
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
