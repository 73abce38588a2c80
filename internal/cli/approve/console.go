package approve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/term"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/tui"
)

// Files of the console, beside the configuration.
const (
	keysFile    = "keys.yaml"
	reasonsFile = "approve.reasons.json"
)

// console is `approve` without a command: the console on a terminal; sentences
// and prompts with --plain or on a limited terminal; otherwise a short summary
// of what is pending.
func (a *app) console(ctx context.Context, plain bool) error {
	if !a.terminal || a.in == nil || !term.IsTerminal(a.in.Fd()) {
		return a.home(ctx)
	}
	c := a.connect()
	alarm := a.vouch(ctx, c)
	if errors.Is(alarm, client.ErrUnreachable) || errors.Is(alarm, client.ErrVersion) || ctx.Err() != nil {
		return alarm
	}
	// The console polls the daemon; a stopped daemon must stay stopped.
	c.Autostart = nil
	environ := os.Environ()
	cfg := tui.Config{
		API: c, Now: a.now, Zone: a.zone, ASCII: a.safe.ASCII, Environ: environ,
		Profile: colorprofile.ASCII, Worktree: tui.Branch, Vouch: a.voucher(c),
		ReasonsFile: filepath.Join(a.paths.Config, reasonsFile),
	}
	if a.colours {
		cfg.Profile = colorprofile.Env(environ)
	}
	keys, err := tui.LoadKeys(filepath.Join(a.paths.Config, keysFile))
	if err != nil {
		cfg.Notices = append(cfg.Notices, fmt.Sprintf("the usual keys are in force: %v", err))
	} else {
		cfg.Keys = keys
	}
	if alarm != nil {
		cfg.Notices = append(cfg.Notices, alarm.Error())
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP) // the terminal was closed
	defer stop()
	ended := make(chan struct{})
	defer close(ended)
	go leave(ctx, ended)
	if plain || dumb(os.Getenv("TERM")) {
		cfg.In, cfg.Out = a.in, a.out
		err = tui.RunPlain(ctx, cfg)
	} else {
		cfg.In, cfg.Out, cfg.Watched = a.in, a.out, true
		err = tui.Run(ctx, cfg)
	}
	if err == nil && isAlarm(alarm) {
		a.warn(alarm)
		return &codeError{code: exitError} // already printed
	}
	return err
}

// dumb reports whether a terminal cannot be painted.
func dumb(name string) bool { return name == "" || name == "dumb" || strings.HasPrefix(name, "dumb-") }

// voucher compares the daemon's log with the one last seen, one request at a
// time. It prints nothing, because the console owns the terminal.
func (a *app) voucher(c *client.Client) func(context.Context) error {
	var mu sync.Mutex
	quiet := *a
	quiet.err = io.Discard
	return func(ctx context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		err := quiet.vouch(ctx, c)
		if isAlarm(err) {
			return fmt.Errorf("nothing can be approved: %w", err)
		}
		return err
	}
}
