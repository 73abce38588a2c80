// Package theme defines the console's colours and attributes for light and
// dark backgrounds and for every level of colour, including none.
//
// A style paints only a safetext.Line, so untrusted text cannot reach the
// terminal unescaped. The package does not do layout, does not query the
// terminal, and never conveys meaning by colour alone: without colours, bold,
// reverse and underline are used instead.
package theme

import (
	"image/color"
	"strings"
	"sync"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/colorprofile"

	"github.com/mcpguard/mcpguard/internal/safetext"
)

// Theme is the set of styles for one terminal. It is a value, made by New and
// safe for concurrent use.
type Theme struct {
	Dark    bool
	Profile colorprofile.Profile

	// The change.
	Add, Remove, Context           Style // whole lines
	AddWord, RemoveWord            Style // what differs inside a changed line
	LineNumber                     Style
	AddNumber, RemoveNumber        Style // line numbers of changed lines
	HunkHeader, FileHeader, Fold   Style
	Match, CurrentMatch            Style // of a search
	Hazard                         Style // wins over every other style
	SideEffect, Claim              Style
	Keyword, Name, String, Number  Style // syntax; only foregrounds
	Comment                        Style
	Path, OldValue, NewValue, Note Style // structural changes

	// The frame around it.
	Text, Dim, Strong, Title   Style
	Accent                     Style
	Key, KeyText               Style // in the key line: the key, what it does
	KeyOff                     Style // a key that does not work now
	Good, Warn, Bad            Style
	Selected                   Style // the row under the cursor; combine with On
	Border                     Style // separators
	Prompt, Input, Placeholder Style
	Fresh                      Style // new arrivals
	Chart, ChartBad            Style

	tiers [6]Style
}

// Style is a set of attributes and colours, shared by all its copies and safe
// for concurrent use. The zero Style paints plain text.
type Style struct{ ink *ink }

// ink holds the contents of a style. A Style is a single pointer because every
// piece of every row carries one.
type ink struct {
	style       lipgloss.Style
	open, close string

	mu sync.Mutex
	on map[*ink]Style // cached results of On, by the style below
}

// Render returns the line, painted. An empty line stays empty.
func (s Style) Render(l safetext.Line) string {
	if s.IsZero() || l.Width() == 0 {
		return l.String()
	}
	return s.ink.open + l.String() + s.ink.close
}

// Paint writes the line, painted, as Render returns it.
func (s Style) Paint(b *strings.Builder, l safetext.Line) {
	if s.IsZero() || l.Width() == 0 {
		b.WriteString(l.String())
		return
	}
	b.WriteString(s.ink.open)
	b.WriteString(l.String())
	b.WriteString(s.ink.close)
}

// IsZero reports whether the style paints plain text.
func (s Style) IsZero() bool { return s.ink == nil || s.ink.open == "" }

// On returns the style laid over another one: attributes that it does not set
// come from below.
func (s Style) On(below Style) Style {
	if s.ink == nil {
		return below
	}
	if below.ink == nil {
		return s
	}
	s.ink.mu.Lock()
	defer s.ink.mu.Unlock()
	out, ok := s.ink.on[below.ink]
	if !ok {
		if s.ink.on == nil {
			s.ink.on = map[*ink]Style{}
		}
		out = made(s.ink.style.Inherit(below.ink.style))
		s.ink.on[below.ink] = out
	}
	return out
}

// made computes the escape sequences once, so that painting only joins
// strings.
func made(st lipgloss.Style) Style {
	const mark = "x"
	open, end, _ := strings.Cut(st.Render(mark), mark)
	return Style{&ink{style: st, open: open, close: end}}
}

// Badge returns the style of a tier's badge. tier is the API's spelling or its
// first two letters; an unknown tier gets the style of the highest one.
func (t *Theme) Badge(tier string) Style {
	if len(tier) >= 2 && tier[0] == 'T' && tier[1] >= '0' && tier[1] <= '4' {
		return t.tiers[tier[1]-'0']
	}
	return t.tiers[5]
}

// hue is one colour at each level: true colour, 256 and 16. An empty level has
// no colour.
type hue struct{ full, indexed, basic string }

// painter makes styles for one profile.
type painter struct{ profile colorprofile.Profile }

func (p painter) colour(h hue) color.Color {
	var s string
	switch p.profile {
	case colorprofile.TrueColor:
		s = h.full
	case colorprofile.ANSI256:
		s = h.indexed
	case colorprofile.ANSI:
		s = h.basic
	}
	if s == "" {
		return nil
	}
	return lipgloss.Color(s)
}

// look is the definition of a style. plain replaces the attributes if the
// terminal has no colours.
type look struct {
	fg, bg hue
	attr   attr
	plain  attr
	// basic replaces the attributes if there are 16 colours.
	basic attr
}

type attr uint8

const (
	bold attr = 1 << iota
	faint
	italic
	underline
	reverse
)

func (p painter) style(l look) Style {
	st := lipgloss.NewStyle()
	a := l.attr
	switch {
	case p.profile <= colorprofile.ASCII:
		a = l.plain
	case p.profile == colorprofile.ANSI && l.basic != 0:
		a = l.basic
	}
	if c := p.colour(l.fg); c != nil {
		st = st.Foreground(c)
	}
	if c := p.colour(l.bg); c != nil {
		st = st.Background(c)
	}
	if a&bold != 0 {
		st = st.Bold(true)
	}
	if a&faint != 0 {
		st = st.Faint(true)
	}
	if a&italic != 0 {
		st = st.Italic(true)
	}
	if a&underline != 0 {
		st = st.Underline(true)
	}
	if a&reverse != 0 {
		st = st.Reverse(true)
	}
	return made(st)
}

// New returns the theme for a background and a level of colour. Pass
// colorprofile.ASCII if NO_COLOR is set.
func New(dark bool, p colorprofile.Profile) Theme {
	t := Theme{Dark: dark, Profile: p}
	c := light
	if dark {
		c = night
	}
	t.fill(painter{p}, c)
	return t
}
