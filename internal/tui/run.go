package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/term"
)

// Run opens the console on the terminal and returns when the reviewer leaves
// it or ctx ends, which is how signals reach it. It restores the terminal,
// also after a panic.
func Run(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream and every request
	m := New(ctx, cfg)
	options := []tea.ProgramOption{
		// The library's signal handler hangs forever if its context ends with
		// the same signal; ctx delivers the signals instead.
		tea.WithoutSignalHandler(),
		tea.WithColorProfile(m.cfg.Profile), // asking the library starts other programs
	}
	if cfg.In != nil {
		options = append(options, tea.WithInput(cfg.In))
	}
	out := io.Writer(os.Stdout)
	if cfg.Out != nil {
		out = cfg.Out
	}
	o := newOutlet(out)
	options = append(options, tea.WithOutput(o.writer()))
	if cfg.Environ != nil {
		options = append(options, tea.WithEnvironment(cfg.Environ))
	}
	options = append(options, tea.WithFPS(frameRate))
	program := tea.NewProgram(m, options...)
	left := make(chan struct{})
	defer close(left)
	m.stop = cancel
	go func() { // ends with Run
		select {
		case <-ctx.Done():
		case <-left:
			return
		}
		late := time.AfterFunc(outletPatience, o.giveUp)
		defer late.Stop()
		program.Quit() // restores the terminal; has no effect after the end
		<-left
	}()
	unwatch := watched(cfg)
	_, err := program.Run()
	unwatch()
	switch {
	case m.crash != nil:
		return m.crash
	case err == nil:
		return nil
	case errors.Is(err, tea.ErrInterrupted):
		return nil
	case errors.Is(err, tea.ErrProgramPanic):
		return fmt.Errorf("the console failed; nothing was decided by that: %w", err)
	}
	return fmt.Errorf("running the console: %w", err)
}

// watched starts the watchdog after a delay, if configured. Call the returned
// function once the terminal has been restored.
func watched(cfg Config) func() {
	tty, ok := cfg.Out.(*os.File)
	if !cfg.Watched || !ok {
		return func() {}
	}
	before, err := term.GetState(tty.Fd())
	if err != nil {
		return func() {}
	}
	started := make(chan *watchdog, 1)
	ended := make(chan struct{})
	go func() { // ends with ended, or once the second process has started
		defer close(started)
		select {
		case <-time.After(watchdogAfter):
		case <-ended:
			return
		}
		if d, err := watch(tty, before); err == nil {
			started <- d
		}
	}()
	return func() {
		close(ended)
		if d := <-started; d != nil {
			d.stop()
		}
	}
}
