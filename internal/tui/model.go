// Package tui is the console: on one screen it shows pending approvals and
// their changes, and takes decisions.
//
// One Bubble Tea model holds the state and one function changes it; all I/O
// happens in commands. A decision carries the digest of what the last frame
// showed and nothing else: see inputguard.go. The package computes no change,
// does not decide who may approve, and writes untrusted text to the terminal
// only as a safetext.Line.
package tui

import (
	"context"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// Model is the console's state. Only the program's loop uses it.
type Model struct {
	cfg  Config
	call caller
	keys *KeyMap
	th   theme.Theme
	pen  pen
	sign marks
	now  func() time.Time
	// clocks returns the wall clock and a clock that cannot be set.
	clocks func() (time.Time, time.Duration)

	w, h    int
	screens []screen
	screen  screen // the one that is shown; nil for the queue
	help    list   // of the help, where it is open
	helping bool
	mouse   bool

	link   link
	status client.Status
	known  bool // status was read
	paused []client.Switch

	queue  queue
	item   *item // under the cursor; nil if there is none
	items  itemCache
	pane   paneState
	arm    inputGuard
	dialog *dialog // open reason line; nil while browsing
	press  keyPresses
	calm   calm
	batch  batchResult
	notice notice

	story  *storyView // open over a screen or the queue
	alerts alerts

	attention attention
	reasons   reasons
	mine      map[string]bool   // approved here, outcome not yet reported
	branches  map[string]string // by folder; present once requested
	hits      []hit             // what a click on the last frame selects
	stop      func()            // ends the program from within a frame
	crash     *crash            // why it ends, if it fails
}

// notice is one sentence for the reviewer, shown for a limited time.
type notice struct {
	said    string
	text    safetext.Line // the same, safe to show
	level   level
	until   time.Time
	refusal bool // says why a key was refused; the next key replaces it
}

type level uint8

const (
	info level = iota
	good
	warn
	bad
)

// New returns a console. ctx ends its commands.
func New(ctx context.Context, cfg Config) *Model {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.screens == nil {
		cfg.screens = screenTable()
	}
	if cfg.Keys == nil {
		cfg.Keys = newKeys(cfg.screens)
	}
	if cfg.Profile == colorprofile.Unknown {
		cfg.Profile = colorprofile.TrueColor
	}
	if cfg.Zone == nil {
		cfg.Zone = time.Local
	}
	m := &Model{
		cfg: cfg, call: caller{ctx: ctx, api: cfg.API, now: cfg.Now, vouch: cfg.Vouch},
		keys: cfg.Keys, th: theme.New(!cfg.Light, cfg.Profile),
		pen: newPen(cfg.ASCII), sign: marksFor(cfg.ASCII), now: cfg.Now,
		branches: map[string]string{}, mine: map[string]bool{}, reasons: newReasons(), w: 80, h: 24,
	}
	for _, r := range cfg.screens {
		m.screens = append(m.screens, r.open())
	}
	m.stop = func() {}
	m.queue.init()
	m.items.init()
	m.attention = newAttention(cfg.Environ)
	m.call.follow, m.call.later = m.call.stream, m.call.after
	m.clocks = clocks()
	m.link.wall, m.link.mono = m.clocks()
	for _, n := range cfg.Notices {
		m.say(warn, "%s", n)
	}
	return m
}

// Init starts the stream and queries the background colour.
func (m *Model) Init() tea.Cmd {
	return safely(tea.Batch(m.startStream(), m.call.later(tickEvery, tickMsg{}), tea.RequestBackgroundColor, m.call.loadReasons(m.cfg.ReasonsFile)))
}

// say shows a sentence for a while.
func (m *Model) say(l level, format string, args ...any) {
	d := 8 * time.Second
	if l == bad || l == warn {
		d = 20 * time.Second
	}
	m.notice = notice{said: fmt.Sprintf(format, args...), text: m.pen.say(format, args...), level: l, until: m.now().Add(d)}
}

// refuse says why a key has no effect, until the next key.
func (m *Model) refuse(format string, args ...any) {
	m.say(warn, format, args...)
	m.notice.refusal = true
}
