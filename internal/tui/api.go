package tui

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/charmbracelet/colorprofile"

	"github.com/mcpguard/mcpguard/internal/client"
)

// API is the daemon as the console uses it; *client.Client implements it. Its
// methods are called from several goroutines at once. It must not start a
// daemon by itself: the console polls, and a stopped daemon must stay stopped.
type API interface {
	// Approvals and decisions.
	List(ctx context.Context, f client.Filter) (client.Page, error)
	GetBrief(ctx context.Context, ref string) (client.Detail, error)
	Decide(ctx context.Context, id string, w client.DecisionRequest) (client.Detail, error)
	Undo(ctx context.Context, id string) (client.Detail, error)

	// Switches pause calls and resume them.
	Switches(ctx context.Context) ([]client.Switch, error)
	SetSwitch(ctx context.Context, scope, reason string) ([]client.Switch, error)
	ClearSwitch(ctx context.Context, scope string) ([]client.Switch, error)

	// The daemon and what it serves.
	Status(ctx context.Context) (client.Status, error)
	Sessions(ctx context.Context) ([]client.Session, error)
	Servers(ctx context.Context) ([]client.Server, error)

	// Commands that are running in a sandbox.
	Commands(ctx context.Context) ([]client.RunningCommand, error)
	StopCommand(ctx context.Context, id string) ([]client.RunningCommand, error)

	// History and alerts.
	Stats(ctx context.Context, since time.Time) (client.Stats, error)
	Audit(ctx context.Context, f client.AuditFilter) (client.Records, error)
	Alerts(ctx context.Context, all bool) ([]client.Alert, error)
	Acknowledge(ctx context.Context, id string) (client.Alert, error)

	// Watch is the stream of changes.
	Watch(ctx context.Context) iter.Seq2[client.Event, error]
}

// Config configures a console. Every field but API may be zero.
type Config struct {
	API API
	// Now is the clock, with its monotonic part; nil means time.Now.
	Now func() time.Time
	// Keys is the key map; nil means DefaultKeys().
	Keys *KeyMap
	// Profile is the level of colour: colorprofile.ASCII if NO_COLOR is set.
	// Unknown means true colour.
	Profile colorprofile.Profile
	// Light assumes a light background until the terminal has answered.
	Light bool
	// ASCII restricts drawing to ASCII, for the C locale.
	ASCII bool
	// Environ is the terminal's environment, for notifications.
	Environ []string
	// Zone is the time zone of displayed times; nil means time.Local.
	Zone *time.Location
	// Vouch, if set, checks that the daemon's log continues the one seen
	// before. It is called before each approval, and an error forbids the
	// approval.
	Vouch func(ctx context.Context) error
	// ReasonsFile is where reasons are kept between runs; empty means nowhere.
	ReasonsFile string
	// Worktree returns the branch that a folder is on, or "". It may be nil.
	Worktree func(folder string) string
	// Notices are shown at the start, for example that the log is not the one
	// seen before.
	Notices []string

	// Watched starts a second process of this program that restores the
	// terminal if this one is killed. The program's Main has to call Watchdog
	// for it.
	Watched bool

	In  io.Reader // nil: standard input
	Out io.Writer // nil: standard output

	screens []screenRow // nil: screenTable; Keys are made for these
}
