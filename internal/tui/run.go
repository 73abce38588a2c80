package tui

import (
	"context"
	"errors"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"
)

// Run opens the console on the terminal and returns when the reviewer leaves
// it, or ctx ends, which is how signals reach it. The terminal is as it was before, after a panic too.
func Run(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream and every request
	m := New(ctx, cfg)
	options := []tea.ProgramOption{
		// The library's own handler of signals hangs for ever when its context ends
		// with the same signal; ctx brings the signals.
		tea.WithoutSignalHandler(),
		tea.WithColorProfile(m.cfg.Profile), // asking the library starts other programs
	}
	if cfg.In != nil {
		options = append(options, tea.WithInput(cfg.In))
	}
	if cfg.Out != nil {
		options = append(options, tea.WithOutput(cfg.Out))
	}
	if cfg.Environ != nil {
		options = append(options, tea.WithEnvironment(cfg.Environ))
	}
	options = append(options, tea.WithFPS(int(time.Second/busyRate)))
	program := tea.NewProgram(m, options...)
	m.pace.program = program
	left := make(chan struct{})
	defer close(left)
	go func() { // ends with Run
		select {
		case <-ctx.Done():
			program.Quit() // leaves the terminal as it was; does nothing once it has ended
		case <-left:
		}
	}()
	_, err := program.Run()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, tea.ErrInterrupted):
		return nil
	case errors.Is(err, tea.ErrProgramPanic):
		return fmt.Errorf("the console failed; nothing was decided by that: %w", err)
	}
	return fmt.Errorf("running the console: %w", err)
}
