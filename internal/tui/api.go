package tui

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/charmbracelet/colorprofile"

	"github.com/mcpguard/mcpguard/internal/client"
)

// API is the daemon as the console sees it; *client.Client is one. Its methods
// are called from several goroutines at once. It must not start a daemon by
// itself: the console asks often, and one that was stopped stays so.
type API interface {
	// What is shown and decided.
	List(ctx context.Context, f client.Filter) (client.Page, error)
	GetBrief(ctx context.Context, ref string) (client.Detail, error)
	Decide(ctx context.Context, id string, w client.DecisionRequest) (client.Detail, error)
	Undo(ctx context.Context, id string) (client.Detail, error)

	// Switches pause calls and resume them.
	Switches(ctx context.Context) ([]client.Switch, error)
	SetSwitch(ctx context.Context, scope, reason string) ([]client.Switch, error)
	ClearSwitch(ctx context.Context, scope string) ([]client.Switch, error)

	// The daemon, and what it serves.
	Status(ctx context.Context) (client.Status, error)
	Sessions(ctx context.Context) ([]client.Session, error)
	Servers(ctx context.Context) ([]client.Server, error)

	// What runs in a sandbox now.
	Commands(ctx context.Context) ([]client.RunningCommand, error)
	StopCommand(ctx context.Context, id string) ([]client.RunningCommand, error)

	// What happened before, and what somebody must see of it.
	Stats(ctx context.Context, since time.Time) (client.Stats, error)
	Audit(ctx context.Context, f client.AuditFilter) (client.Records, error)
	Alerts(ctx context.Context, all bool) ([]client.Alert, error)
	Acknowledge(ctx context.Context, id string) (client.Alert, error)

	// Watch is the stream of changes.
	Watch(ctx context.Context) iter.Seq2[client.Event, error]
}

// Config is what a console is made of. The zero value of each field but API
// works.
type Config struct {
	API API
	// Now is the clock, with its monotonic part; time.Now where nil.
	Now func() time.Time
	// Keys is the key map; DefaultKeys() where zero.
	Keys *KeyMap
	// Profile is the level of colour; colorprofile.ASCII where NO_COLOR is set,
	// Unknown means true colour.
	Profile colorprofile.Profile
	// Light says that the background is light until the terminal has answered.
	Light bool
	// ASCII draws without any other character, for the C locale.
	ASCII bool
	// Environ is the terminal's environment, for notifications.
	Environ []string
	// Zone is the time zone of times shown; time.Local where nil.
	Zone *time.Location
	// Vouch, where set, says whether the daemon's log continues what was seen
	// before; called before each approval, and an error forbids it.
	Vouch func(ctx context.Context) error
	// ReasonsFile is where reasons are kept between runs; none where empty.
	ReasonsFile string
	// Worktree returns the branch that a folder is on, empty where there is none;
	// nil asks nobody.
	Worktree func(folder string) string
	// Notices are said at the start, for example about a log that is not the one
	// seen before.
	Notices []string

	// Watched has a second process of this program put the terminal back where
	// this one is killed; Main of the program has to call Watchdog for it.
	Watched bool

	In  io.Reader // nil: standard input
	Out io.Writer // nil: standard output

	screens []screenRow // nil: screenTable; Keys are made for these
}
