package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/effect"
)

// Access says whether something passes. The zero value means the default.
type Access string

// The values of Access.
const (
	AccessAllow Access = "allow"
	AccessDeny  Access = "deny"
)

func (a *Access) decodeNode(d *decoder, n *node, _ string) {
	if w, ok := d.oneOf(n, "'allow' or 'deny'", "allow", "deny"); ok {
		*a = Access(w)
	}
}

// Label says what a tool is a source or sink of. A label only describes: this
// version enforces nothing by it.
type Label string

// The known labels.
const (
	LabelUntrusted Label = "untrusted" // its result holds text written by strangers
	LabelPrivate   Label = "private"   // its result is not for everyone
	LabelOutbound  Label = "outbound"  // a call carries data to others
)

func (l *Label) decodeNode(d *decoder, n *node, _ string) {
	if w, ok := d.oneOf(n, "a label", string(LabelUntrusted), string(LabelPrivate), string(LabelOutbound)); ok {
		*l = Label(w)
	}
}

// Duration is written as 90s, 15m, 2h or 30d.
type Duration time.Duration

func (x *Duration) decodeNode(d *decoder, n *node, _ string) {
	v, err := ParseDuration(n.text)
	if n.kind != kindString || err != nil {
		d.mismatch(n, "a duration such as 30s, 15m or 2h")
		return
	}
	*x = Duration(v)
}

// ParseDuration reads a positive duration; d stands for 24 hours.
func ParseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n <= 0 || n > 36500 {
			return 0, fmt.Errorf("%q is not a duration", s)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	v, err := time.ParseDuration(s)
	if err != nil || v <= 0 {
		return 0, fmt.Errorf("%q is not a duration", s)
	}
	return v, nil
}

// HoldTime is a duration or the word wait.
type HoldTime struct {
	Limit time.Duration
	Wait  bool
}

func (h *HoldTime) decodeNode(d *decoder, n *node, _ string) {
	if n.kind == kindString && n.text == "wait" {
		*h = HoldTime{Wait: true}
		return
	}
	v, err := ParseDuration(n.text)
	if n.kind != kindString || err != nil || v < time.Second || v > 24*time.Hour {
		d.mismatch(n, "a duration from 1s to 24h, or 'wait',")
		return
	}
	*h = HoldTime{Limit: v}
}

// Size is a number of bytes, written as 4096, 64KiB, 1MiB or 10MB.
type Size int64

var sizeUnits = []struct {
	unit string
	n    int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}}

func (s *Size) decodeNode(d *decoder, n *node, _ string) {
	text, factor := n.text, int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(text, u.unit); ok {
			text, factor = strings.TrimSpace(rest), u.n
			break
		}
	}
	v, err := strconv.ParseInt(text, 10, 32)
	if (n.kind != kindString && n.kind != kindNumber) || err != nil || v <= 0 || v*factor > 1<<30 {
		d.mismatch(n, "a size such as 64KiB or 1MiB, up to 1GiB,")
		return
	}
	*s = Size(v * factor)
}

// Rate is a number of calls per time, written as 5/s, 30/m or 100/h. The zero value
// means no rate.
type Rate struct {
	Count int
	Per   time.Duration
}

func (r Rate) String() string {
	switch r.Per {
	case time.Second:
		return fmt.Sprintf("%d/s", r.Count)
	case time.Minute:
		return fmt.Sprintf("%d/m", r.Count)
	case time.Hour:
		return fmt.Sprintf("%d/h", r.Count)
	}
	return "none"
}

func (r *Rate) decodeNode(d *decoder, n *node, _ string) {
	count, unit, _ := strings.Cut(n.text, "/")
	c, err := strconv.Atoi(count)
	per, ok := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	if n.kind != kindString || err != nil || !ok || c <= 0 || c > 1e6 {
		d.mismatch(n, "a rate such as 5/s, 30/m or 100/h")
		return
	}
	*r = Rate{Count: c, Per: per}
}

// Unsigned is true if a file says `signed: no`.
type Unsigned bool

func (u *Unsigned) decodeNode(d *decoder, n *node, _ string) {
	switch {
	case n.kind == kindString && n.text == "no", n.kind == kindBool && strings.EqualFold(n.text, "false"):
		*u = true
	case n.kind == kindString && n.text == "yes", n.kind == kindBool:
		d.report(n.pos, "signed decisions are not enforced in this version, so 'signed: yes' does not load", "write 'signed: no' to accept decisions without a signature")
	default:
		d.mismatch(n, "'no'")
	}
}

// SecretRef says where the daemon finds a secret. It never holds the secret itself.
type SecretRef struct {
	Scheme string // file, env or cmd
	Value  string // path, name or command line
}

func (r *SecretRef) decodeNode(d *decoder, n *node, _ string) {
	scheme, value, ok := strings.Cut(n.text, ":")
	if n.kind != kindString || !ok || value == "" || (scheme != "file" && scheme != "env" && scheme != "cmd") {
		// The text is not quoted, as it may be the secret itself.
		d.report(n.pos, "a secret is named by where it is found, never written into the file", `write "file:PATH", "env:NAME" or "cmd:COMMAND"`)
		return
	}
	if scheme == "env" && !envName.MatchString(value) {
		d.report(n.pos, "env: needs the name of an environment variable", "")
		return
	}
	*r = SecretRef{Scheme: scheme, Value: value}
}

// Effect maps a tool's arguments to what a call changes.
type Effect struct {
	Kind   string            // "" if none is given
	Params map[string]string // parameter → expression
	Record *Record           `json:",omitempty"` // of the kinds json.*
}

func (e *Effect) decodeNode(d *decoder, n *node, path string) {
	switch {
	case n.kind == kindString:
		if about, ok := effect.Lookup(n.text); ok && about.Bare {
			*e = Effect{Kind: about.Name}
			return
		}
		d.report(n.pos, fmt.Sprintf("%q is not an effect", clip(n.text)), didYouMean(n.text, effect.Kinds()))
	case n.kind != kindMap || len(n.keys) != 1:
		d.report(n.pos, "an effect is 'opaque', or one kind with its parameters", "such as {file.write: {path: args.path, content: args.content}}")
	default:
		e.decodeKind(d, n.keys[0], n.items[0], path)
	}
}

func (e *Effect) decodeKind(d *decoder, k key, params *node, path string) {
	about, known := effect.Lookup(k.name)
	switch {
	case !known:
		d.report(k.pos, fmt.Sprintf("%q is not a kind of effect", clip(k.name)), didYouMean(k.name, effect.Kinds()))
		return
	case params.kind == kindNull && about.Bare:
	case params.kind != kindMap:
		d.mismatch(params, "a mapping of parameters to expressions")
		return
	case about.Record != "":
		e.decodeRecord(d, about, params, path)
		return
	}
	e.Kind, e.Params = k.name, map[string]string{}
	for i, p := range params.keys {
		v := params.items[i]
		if v.kind != kindString {
			d.mismatch(v, "an expression, such as args."+p.name+",")
			continue
		}
		e.Params[p.name] = v.text
		d.locations[path+"."+k.name+"."+p.name] = location{v.pos, v.inner}
	}
}

// Sensitive says which calls read sensitive data.
type Sensitive struct {
	Always bool
	When   []Rule
}

// Set reports whether anything is configured.
func (s Sensitive) Set() bool { return s.Always || len(s.When) > 0 }

func (s *Sensitive) decodeNode(d *decoder, n *node, path string) {
	switch n.kind {
	case kindBool:
		s.Always = strings.EqualFold(n.text, "true")
	case kindList:
		decodeInto(d, n, &s.When, path)
	default:
		d.mismatch(n, "true, or a list of conditions")
	}
}

func unenforcedLimit(name string, known []string) (string, string) {
	return fmt.Sprintf("%q is not a limit that this version enforces, and a limit that is not enforced does not load", clip(name)), didYouMean(name, known)
}
