package approve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/term"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/shim"
	"github.com/mcpguard/mcpguard/internal/version"
)

// app is the state that the commands share. Only one goroutine uses it.
type app struct {
	in       *os.File
	out, err io.Writer
	terminal bool // out is a terminal
	colours  bool
	width    int // columns of out, if it is a terminal
	safe     safetext.Style
	zone     *time.Location
	now      func() time.Time
	paths    ipc.Paths
	// start starts the daemon.
	start       func(ctx context.Context) error
	noAutostart bool
	client      *client.Client
	// poll is how often `log --follow` asks for more.
	poll time.Duration
	// patience is how long `allow` waits for the outcome of a change.
	patience time.Duration
}

func newApp(in *os.File, out, stderr io.Writer, environ []string) (*app, error) {
	paths, err := ipc.DefaultPaths()
	if err != nil {
		return nil, fmt.Errorf("finding the guard's folders: %w", err)
	}
	a := &app{in: in, out: out, err: stderr, zone: time.Local, now: time.Now, paths: paths, poll: 500 * time.Millisecond, patience: 2 * time.Second}
	a.start = func(ctx context.Context) error { return autostart(ctx, paths) }
	env := func(name string) string {
		for _, kv := range environ {
			if v, ok := strings.CutPrefix(kv, name+"="); ok {
				return v
			}
		}
		return ""
	}
	if f, ok := out.(term.File); ok && term.IsTerminal(f.Fd()) {
		a.terminal, a.width = true, 80
		if w, _, err := term.GetSize(f.Fd()); err == nil && w > 0 {
			a.width = w
		}
		if w, err := strconv.Atoi(env("COLUMNS")); err == nil && w > 0 {
			a.width = w
		}
		// The library accepts only values such as "1" and "true" for NO_COLOR;
		// the convention is any value. It is asked only about the environment:
		// its other checks start programs.
		a.colours = env("NO_COLOR") == "" && colorprofile.Env(environ) >= colorprofile.ANSI
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := env(name); v != "" { // the first one set counts
			a.safe.ASCII = v == "C" || v == "POSIX"
			break
		}
	}
	return a, nil
}

// autostart starts the daemon if a guard was set up: a mistyped folder is an
// error and is not created.
func autostart(ctx context.Context, p ipc.Paths) error {
	if !p.Exist() {
		return p.Missing()
	}
	program, err := shim.FindDaemon()
	if err != nil {
		return err
	}
	return shim.StartDaemon(ctx, p, program)
}

// connect returns the client of the daemon; it sends nothing yet.
func (a *app) connect() *client.Client {
	if a.client == nil {
		a.client = client.New(a.paths.ApproverSocket())
		a.client.Version = version.Number
	}
	a.client.Autostart = a.start
	if a.noAutostart {
		a.client.Autostart = nil
	}
	return a.client
}

// reading runs a command that approves nothing: if the audit log does not
// continue what was seen, it says so, still runs the command, and ends with an
// error.
func (a *app) reading(ctx context.Context, do func(*client.Client) error) error {
	c := a.connect()
	alarm := a.vouch(ctx, c)
	if errors.Is(alarm, client.ErrUnreachable) || errors.Is(alarm, client.ErrVersion) || ctx.Err() != nil {
		return alarm
	}
	if alarm != nil {
		a.warn(alarm)
	}
	if err := do(c); err != nil {
		return err
	}
	if isAlarm(alarm) {
		return &codeError{code: exitError} // already printed above
	}
	return nil
}

// warn prints an error and continues.
func (a *app) warn(err error) {
	if l := (*logAlarm)(nil); errors.As(err, &l) {
		a.note(l.Error(), l.remedy())
		return
	}
	a.note(err.Error())
}
