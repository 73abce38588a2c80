package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/mcpguard/mcpguard/internal/clienttools"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/store"
)

// What stands in for commands is kept in the store, so that a line that shows
// its token after a restart prints what came of its command, or the truth
// about why there is nothing. The token itself is kept nowhere.

// keepLines is how long a line can be printed again.
const keepLines = 24 * time.Hour

// issueOf returns what substitutes lines for a run's commands.
func (d *daemon) issueOf(r *clientToolsRun) *clienttools.Issue {
	if r.commands == nil {
		return nil
	}
	return &clienttools.Issue{
		Line: func(use, token string) string {
			line := shellQuote(d.cfg.Sandbox) + " result " + token
			if b, _ := r.bashOf(use); b.ends != "" {
				line += " && cd " + shellQuote(b.ends)
			}
			return line
		},
		Keep: func(ctx context.Context, token digest.Digest, ready clienttools.Ready) error {
			return d.keepLine(ctx, r, token, ready)
		},
		Ended: func(token digest.Digest, o clienttools.Outcome) {
			raw, err := json.Marshal(o)
			if err != nil {
				return // it can still be told from the run
			}
			d.store.EndLineAsync(token, raw, o.Refused)
		},
		Printed: d.store.LinePrintedAsync,
		Land: func(ctx context.Context, record string) (json.RawMessage, error) {
			o, err := r.commands.land(ctx, record)
			if err != nil {
				return nil, err
			}
			return d.outcomeOf(o).Result()
		},
	}
}

// keepLine stores that a token stands for the outcome of a run.
func (d *daemon) keepLine(ctx context.Context, r *clientToolsRun, token digest.Digest, ready clienttools.Ready) error {
	o, err := d.commands.Outcome(ready.Record)
	if err == nil {
		var raw []byte
		if raw, err = json.Marshal(cut(d.outcomeOf(o), maxKeptOutput)); err == nil {
			err = d.store.PutLine(ctx, store.Line{
				Token: token, Tenant: r.Tenant, Run: r.RunID, Call: ready.Call, Client: d.refOf(r.client), Record: ready.Record, At: d.now(), Outcome: raw,
			})
		}
	}
	if err != nil {
		d.log.Error("keeping what came of a command", "call", ready.Call, "error", err)
	}
	return err
}

// Sentences about a line whose session is gone.
const (
	lineUnknown  = "mcpguard: this line shows the outcome of one command of this session, and the guard knows of none that it stands for, so it has done nothing; make the call again, with the command itself"
	lineNothing  = "mcpguard: the guard, its session for this client, or this line ended before the command was carried out, so nothing was changed; make the call again, with the command itself"
	lineFailed   = "mcpguard: what the command changes could not be carried out; read the files before you go on"
	lineNotKnown = "mcpguard: whether what the command changes has happened is not known yet; read the files before you go on, and ask the user to look at the guard"
)

// keptOutcome returns what a token stands for that no session knows any more.
func (d *daemon) keptOutcome(h *ipc.Handover, token digest.Digest) (o clienttools.Outcome, printed func()) {
	refuse := func(why string) (clienttools.Outcome, func()) { return clienttools.Outcome{Refused: why}, func() {} }
	l, err := d.store.LineOf(token)
	mine := slices.ContainsFunc(slices.Concat([]ipc.Proc{h.Client}, h.Wrappers, h.Ancestors), func(p ipc.Proc) bool { return d.refOf(p) == l.Client })
	if errors.Is(err, store.ErrNotFound) || err == nil && !mine {
		// fail closed: the token belongs to another client, or to none
		return refuse(lineUnknown)
	}
	if err == nil {
		err = json.Unmarshal(l.Outcome, &o)
	}
	if err != nil {
		d.log.Error("reading what came of a command", "error", err)
		return refuse(lineNotKnown)
	}
	in, receipt, err := d.store.Intent(l.Call)
	switch {
	case errors.Is(err, store.ErrNotFound) && l.Ended && l.Refused == "": // it changes nothing
	case errors.Is(err, store.ErrNotFound) && l.Refused != "":
		return refuse("mcpguard: " + l.Refused)
	case errors.Is(err, store.ErrNotFound):
		return refuse(lineNothing) // without an intent nothing was changed
	case err != nil || receipt == nil || receipt.Outcome == guard.OutcomeUnknown || in.Record != l.Record:
		return refuse(lineNotKnown)
	case receipt.Outcome != guard.OutcomeOK && l.Refused != "":
		return refuse("mcpguard: " + l.Refused)
	case receipt.Outcome != guard.OutcomeOK:
		return refuse(lineFailed)
	}
	return o, func() { d.store.LinePrintedAsync(token) }
}

// unsaid returns sentences about what earlier sessions of a run have landed
// without printing it, as far as is known.
func (d *daemon) unsaid(s *session) []string {
	lines, err := d.store.UnprintedLines(s.Tenant, s.RunID)
	if err != nil {
		d.log.Error("reading what a client was not told", "error", err)
		return nil
	}
	var out []string
	for _, l := range lines {
		_, receipt, err := d.store.Intent(l.Call)
		if errors.Is(err, store.ErrNotFound) || err == nil && receipt != nil && receipt.Outcome != guard.OutcomeOK {
			continue // nothing was changed
		}
		d.store.LinePrintedAsync(l.Token)
		if err != nil || receipt == nil {
			out = append(out, "whether what an earlier command of this session changes has happened is not known yet")
			continue
		}
		out = append(out, clienttools.UnsaidLanding)
	}
	return out
}
