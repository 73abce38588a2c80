package main

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// pause measures how long it takes from the moment in which a person's program
// sends a pause that is to hold at once to the moment in which the last call in
// flight has its answer, and to that in which the last server has ended. Its
// servers never answer by themselves. It counts what gets through afterwards.
func (b *bench) pause(ctx context.Context) error {
	const sessions, each = 20, 5
	fmt.Printf("A pause with --now, %d servers with %d reads in flight each\n", sessions, each)
	var answered, ended times
	for range b.scale {
		var all []*wire
		for range sessions {
			w, err := b.strict.session("echo")
			if err != nil {
				return err
			}
			defer w.close()
			for range each {
				if _, err := w.send(callOf("stall", "pause")); err != nil {
					return err
				}
			}
			// What comes behind them says that they are on their way.
			if _, err := w.request(callOf("echo", "pause")); err != nil {
				return err
			}
			all = append(all, w)
		}
		began := time.Now()
		if _, err := b.strict.api.StopNow(ctx, "echo", "measured"); err != nil {
			return err
		}
		for _, w := range all {
			for range each {
				answer, err := w.answer()
				if err != nil || !bytes.Contains(answer, []byte("kill_switch")) {
					return fmt.Errorf("a paused read was answered %s, %w", answer, err)
				}
			}
		}
		answered = append(answered, time.Since(began))
		for {
			list, err := b.strict.api.Sessions(ctx)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				break
			}
		}
		ended = append(ended, time.Since(began))
		passed := 0
		for range 20 {
			if w, err := b.strict.session("echo"); err == nil {
				passed++
				w.close()
			}
		}
		if passed > 0 {
			return fmt.Errorf("%d sessions began while the server was paused", passed)
		}
		if _, err := b.strict.api.ClearSwitch(ctx, "echo"); err != nil {
			return err
		}
	}
	row("last call in flight answered", answered)
	row("last server ended", ended)
	verdict("last call in flight answered", float64(answered.median().Microseconds())/1000, " ms", true, 100)
	return nil
}
