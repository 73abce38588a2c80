package approve

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mcpguard/mcpguard/internal/client"
)

// watching is the state of `approve --list --watch`.
type watching struct {
	app    *app
	client *client.Client
	o      listOptions
	// versions holds the printed version of each approval that has not ended,
	// so that nothing is printed twice or missed.
	versions map[string]uint64
}

// watch prints the list, then a line for each change, until ctx ends.
func (a *app) watch(ctx context.Context, c *client.Client, o listOptions) error {
	w := watching{app: a, client: c, o: o, versions: map[string]uint64{}}
	for e, err := range c.Watch(ctx) {
		if ctx.Err() != nil {
			return nil // interrupted by the user
		}
		if err != nil {
			return fmt.Errorf("watching approvals: %w", err)
		}
		switch e.Kind {
		case client.EventLost:
			a.note("the connection to the daemon is lost: "+e.Error, "trying again; Ctrl-C ends this")
		case client.EventResync:
			err = w.resync(ctx)
		case client.EventApproval:
			if e.Approval != nil {
				err = w.show(*e.Approval)
			}
		case client.EventAlert:
			a.notices(ctx, c)
		}
		if err != nil && !errors.Is(err, client.ErrUnreachable) { // ErrUnreachable is retried
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
	return nil
}

// resync prints what changed during a gap in the events: the present list, and
// the outcomes of everything printed before.
func (w *watching) resync(ctx context.Context) error {
	list, err := w.client.ListAll(ctx, w.o.filter())
	if err != nil {
		return fmt.Errorf("listing approvals: %w", err)
	}
	slices.Reverse(list)
	known := map[string]bool{}
	for _, v := range list {
		known[v.ID] = true
		if err := w.show(v); err != nil {
			return err
		}
	}
	for id := range w.versions {
		if known[id] {
			continue
		}
		d, err := w.client.Get(ctx, id)
		if errors.Is(err, client.ErrNotFound) {
			delete(w.versions, id)
			continue
		}
		if err != nil {
			return fmt.Errorf("reading approval %s: %w", id, err)
		}
		if err := w.show(d.Approval); err != nil {
			return err
		}
	}
	return nil
}

// show prints one approval if it has changed. Without --status it shows every
// change; otherwise only those into the given statuses.
func (w *watching) show(v client.Approval) error {
	if w.o.run != "" && v.RunID != w.o.run {
		return nil
	}
	if len(w.o.status) > 0 && !slices.Contains(w.o.status, allStatuses) && !slices.Contains(w.o.status, v.Status) {
		delete(w.versions, v.ID)
		return nil
	}
	if seen, ok := w.versions[v.ID]; ok && seen >= v.Version {
		return nil
	}
	w.versions[v.ID] = v.Version
	p := w.app.page()
	a := w.app
	switch {
	case w.o.json.on:
		one, err := w.o.json.encode(v)
		if err != nil {
			return err
		}
		p.buf.Write(append(one, '\n')) // one object per line, also on a terminal
	case a.terminal:
		line := a.text(plain, v.Summary)
		if len(v.Hazards) > 0 {
			line = a.text(red, hazardBadge(v.Hazards)+v.Summary)
		}
		status := a.name(statusLook(v.Status), v.Status)
		status.text = status.text.Pad(9)
		p.line(a.text(dim, a.now().In(a.zone).Format("15:04:05")), a.text(plain, "  "), a.name(bold, shortID(v.ID)), a.text(plain, "  "),
			status, a.text(plain, "  "), a.name(tierLook(v.Tier), tierWord(v.Tier)), a.text(plain, "  "), a.name(plain, v.Server+"/"+v.Tool), a.text(plain, "  "), line)
	default:
		a.tsv(p, v)
	}
	return p.flush()
}
