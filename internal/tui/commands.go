package tui

import (
	"context"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
)

// caller makes the commands, which do all of the console's I/O. It holds the
// context of the program's life because a command takes none.
type caller struct {
	ctx   context.Context
	api   API
	now   func() time.Time
	vouch func(ctx context.Context) error
	// later and follow are timers and the stream; tests replace them.
	later  func(d time.Duration, msg tea.Msg) tea.Cmd
	follow func(ctx context.Context, gen int) <-chan eventsMsg
}

// ask runs one request with its own deadline.
func (c caller) ask(do func(ctx context.Context) tea.Msg) tea.Cmd {
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(c.ctx, askFor)
		defer cancel()
		return do(ctx)
	}
}

// after sends a message after d, unless the program has ended by then; tests
// replace its clock.
func (c caller) after(d time.Duration, msg tea.Msg) tea.Cmd {
	return func() tea.Msg {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return msg
		case <-c.ctx.Done():
			return nil
		}
	}
}

// ping checks whether the daemon answers.
func (c caller) ping(gen int) tea.Cmd {
	return c.ask(func(ctx context.Context) tea.Msg {
		_, err := c.api.Status(ctx)
		return pingMsg{gen, err}
	})
}

// recent is how many approvals of any status are read to find the outcomes of
// those on the screen.
const recent = 200

// firstPage is how many approvals are read before anything is shown; the rest
// follows.
const firstPage = 100

// sync reads everything that the queue and the status line show. If first is
// set, nothing is on the screen yet, and the oldest few are enough.
func (c caller) sync(gen int, first bool) tea.Cmd {
	return c.ask(func(ctx context.Context) tea.Msg {
		msg := syncedMsg{gen: gen, asked: c.now()}
		read := func(do func() error) {
			if msg.err == nil {
				msg.err = do()
			}
		}
		waiting := client.Filter{Status: []string{client.Pending}, Oldest: true}
		if first {
			waiting.Limit = firstPage
			read(func() error {
				page, err := c.api.List(ctx, waiting)
				msg.pending, msg.partial = page.Approvals, page.Next != ""
				return err
			})
		} else {
			read(func() (err error) { msg.pending, err = c.all(ctx, waiting); return err })
			read(func() error {
				page, err := c.api.List(ctx, client.Filter{Limit: recent})
				msg.recent = page.Approvals
				return err
			})
		}
		read(func() (err error) { msg.status, err = c.api.Status(ctx); return err })
		read(func() (err error) { msg.alerts, err = c.api.Alerts(ctx, false); return err })
		read(func() (err error) { msg.paused, err = c.api.Switches(ctx); return err })
		return msg
	})
}

func (c caller) all(ctx context.Context, f client.Filter) ([]client.Approval, error) {
	var all []client.Approval
	for {
		page, err := c.api.List(ctx, f)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Approvals...)
		if page.Next == "" {
			return all, nil
		}
		f.After = page.Next
	}
}

func (c caller) detail(id string) tea.Cmd {
	return c.ask(func(ctx context.Context) tea.Msg {
		asked := c.now()
		d, err := c.api.GetBrief(ctx, id)
		return detailMsg{id, d, asked, err}
	})
}

func (c caller) between(old, fresh string) tea.Cmd {
	return c.ask(func(ctx context.Context) tea.Msg {
		a, err := c.api.GetBrief(ctx, old)
		if err != nil {
			return betweenMsg{err: err}
		}
		b, err := c.api.GetBrief(ctx, fresh)
		return betweenMsg{a, b, err}
	})
}

// decide sends one decision on one digest. It sends no approval if the
// daemon's log is not a continuation of the one seen before.
func (c caller) decide(id string, w client.DecisionRequest, batch bool) tea.Cmd {
	return c.ask(func(ctx context.Context) tea.Msg {
		msg := decidedMsg{id: id, digest: w.Digest, word: w.Decision, batch: batch}
		if w.Decision != client.Deny && c.vouch != nil {
			if msg.err = c.vouch(ctx); msg.err != nil {
				return msg // fail closed: what is shown may come from a forged or old database
			}
		}
		msg.detail, msg.err = c.api.Decide(ctx, id, w)
		return msg
	})
}

func (c caller) branch(folder string, ask func(string) string) tea.Cmd {
	return func() tea.Msg { return branchMsg{folder, ask(folder)} }
}

func (c caller) status() tea.Cmd {
	return c.ask(func(ctx context.Context) tea.Msg {
		s, err := c.api.Status(ctx)
		return statusMsg{s, err}
	})
}

func (c caller) alerts() tea.Cmd {
	return c.ask(func(ctx context.Context) tea.Msg {
		list, err := c.api.Alerts(ctx, false)
		return alertsMsg{list, err}
	})
}

func (c caller) acknowledge(id string) tea.Cmd {
	return c.ask(func(ctx context.Context) tea.Msg {
		_, err := c.api.Acknowledge(ctx, id)
		return acknowledgedMsg{id, err}
	})
}

// undo proposes the inverse of an executed change. It decides nothing.
func (c caller) undo(id string) tea.Cmd {
	return c.ask(func(ctx context.Context) tea.Msg {
		d, err := c.api.Undo(ctx, id)
		return undoMsg{id, d, err}
	})
}

func (c caller) switches() tea.Cmd {
	return c.ask(func(ctx context.Context) tea.Msg {
		list, err := c.api.Switches(ctx)
		return switchesMsg{list: list, err: err}
	})
}

func (c caller) setSwitch(scope, reason string) tea.Cmd {
	return c.ask(func(ctx context.Context) tea.Msg {
		list, err := c.api.SetSwitch(ctx, scope, reason)
		return switchesMsg{list, "paused", err}
	})
}

func (c caller) clearSwitch(scope string) tea.Cmd {
	return c.ask(func(ctx context.Context) tea.Msg {
		list, err := c.api.ClearSwitch(ctx, scope)
		return switchesMsg{list, "running again", err}
	})
}

func (c caller) servers() tea.Cmd {
	return c.ask(func(ctx context.Context) tea.Msg {
		servers, err := c.api.Servers(ctx)
		if err != nil {
			return serversMsg{err: err}
		}
		sessions, err := c.api.Sessions(ctx)
		return serversMsg{servers, sessions, err}
	})
}

func (c caller) running(gen int) tea.Cmd {
	return c.ask(func(ctx context.Context) tea.Msg {
		list, err := c.api.Commands(ctx)
		return runningMsg{gen: gen, list: list, err: err}
	})
}

func (c caller) stopCommand(id string) tea.Cmd {
	return c.ask(func(ctx context.Context) tea.Msg {
		list, err := c.api.StopCommand(ctx, id)
		return runningMsg{list: list, ended: true, err: err}
	})
}

func (c caller) history(gen int, f client.Filter) tea.Cmd {
	return c.ask(func(ctx context.Context) tea.Msg {
		page, err := c.api.List(ctx, f)
		return historyMsg{gen, page, f.After != "", err}
	})
}

func (c caller) audit(gen int, f client.AuditFilter) tea.Cmd {
	return c.ask(func(ctx context.Context) tea.Msg {
		r, err := c.api.Audit(ctx, f)
		return auditMsg{gen, r, f.From > 0, err}
	})
}

// story reads one approval and the records about it.
func (c caller) story(id string) tea.Cmd {
	return c.ask(func(ctx context.Context) tea.Msg {
		d, err := c.api.GetBrief(ctx, id)
		if err != nil {
			return storyMsg{id: id, err: err}
		}
		r, err := c.api.Audit(ctx, client.AuditFilter{Approval: d.ID, Oldest: true, Limit: recent})
		return storyMsg{id, d, r, err}
	})
}

func (c caller) stats(since time.Time) tea.Cmd {
	return c.ask(func(ctx context.Context) tea.Msg {
		s, err := c.api.Stats(ctx, since)
		return statsMsg{s, err}
	})
}
