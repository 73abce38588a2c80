package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/store"
)

// RecoveryConfig is what a Recovery needs; all fields but Log are required.
type RecoveryConfig struct {
	Store *store.Store // holds the intents that an earlier daemon left without a receipt
	Locks *Locks
	Clock Clock
	// Alive reports whether an upstream of an earlier daemon still lives. When in
	// doubt it says true.
	Alive func(guard.UpstreamRef) bool
	// Resume finishes what a landing of a command's changes left half done, or
	// leaves it as it was; it may be nil where there can be none.
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

// Recover locks the targets of every intent without a receipt, and reads those
// back whose upstream is dead. It is called before any session is served. What
// is left, because an upstream still lives, is settled by Run.
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

// Run settles the rest as their upstreams end, and returns when nothing is left
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
		// What has a record an earlier daemon has landed itself, whoever had asked.
		if o.intent.Record == "" && r.cfg.Alive(o.intent.Upstream) {
			kept = append(kept, o)
			continue
		}
		if o.intent.Record != "" && r.cfg.Resume != nil {
			if err := r.cfg.Resume(o.intent.Record); err != nil {
				// What is there is read back below, and a human decides about it.
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
