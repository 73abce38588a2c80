package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/store"
)

// RecoveryConfig configures a Recovery; all fields but Log are required.
type RecoveryConfig struct {
	Store *store.Store // has the intents that an earlier daemon left without a receipt
	Locks *Locks
	Clock Clock
	// Alive reports whether an upstream of an earlier daemon still runs. It
	// returns true when in doubt.
	Alive func(guard.UpstreamRef) bool
	// Resume finishes the landing of a command's changes that was left half
	// done, or leaves it as it was. Nil if there can be none.
	Resume func(record string) error
	Log    *slog.Logger
}

// Recovery settles executions that an earlier daemon left without a receipt.
type Recovery struct {
	cfg  RecoveryConfig
	open []recovering
}

type recovering struct {
	intent guard.Intent
	held   *Lock
}

// Recover locks the targets of every intent without a receipt, and reads back
// those whose upstream has ended. It is called before any session is served.
// Run settles the rest, whose upstreams still run.
func Recover(ctx context.Context, cfg RecoveryConfig) (*Recovery, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	intents, err := cfg.Store.OpenIntents()
	if err != nil {
		return nil, fmt.Errorf("loading the open intents: %w", err)
	}
	r := &Recovery{cfg: cfg}
	for _, in := range intents {
		r.open = append(r.open, recovering{intent: in, held: cfg.Locks.LockUnknown(in)})
	}
	r.sweep(ctx)
	return r, nil
}

// Run settles the rest as their upstreams end. It returns when nothing is left
// or ctx ends.
func (r *Recovery) Run(ctx context.Context) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for len(r.open) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.sweep(ctx)
		}
	}
}

func (r *Recovery) sweep(ctx context.Context) {
	kept := r.open[:0]
	for _, o := range r.open {
		// An intent with a record was landed by the earlier daemon itself,
		// whoever asked for it.
		if o.intent.Record == "" && r.cfg.Alive(o.intent.Upstream) {
			kept = append(kept, o)
			continue
		}
		if o.intent.Record != "" && r.cfg.Resume != nil {
			if err := r.cfg.Resume(o.intent.Record); err != nil {
				// The state of the target is read back below, and a human
				// decides on it.
				r.cfg.Log.Error("finishing what a command was to change", "call", o.intent.CallID, "err", err)
			}
		}
		rec, cancel := durably(ctx)
		settle(rec, r.cfg.Store, r.cfg.Log, o.intent, reconciled(rec, nil, o.intent, "", r.cfg.Clock.Now().Wall))
		cancel()
		o.held.Release()
	}
	r.open = kept
}
