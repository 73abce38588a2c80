package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	bolt "go.etcd.io/bbolt"
)

// Switches returns the switches that are on, from memory.
func (s *Store) Switches() []guard.Switch {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.mem.switches)
}

// SetSwitch stops the calls of a scope. Switches survive restarts and apply to
// every tenant.
func (s *Store) SetSwitch(_ context.Context, sw guard.Switch) error {
	if err := checkParts("the switch", sw.Scope); err != nil {
		return fmt.Errorf("setting a switch: %w", err)
	}
	return s.do("setting a switch", func(b *batch) error {
		sw := sw
		sw.At = b.now.Wall
		if err := b.putJSON(bucketSwitches, key("", sw.Scope), sw); err != nil {
			return err
		}
		return b.switched(sw, true)
	})
}

// ClearSwitch lets the calls of a scope run again. It returns ErrNotFound if
// no switch is set.
func (s *Store) ClearSwitch(_ context.Context, scope string, by guard.Approver) error {
	if err := checkParts("the switch", scope); err != nil {
		return fmt.Errorf("clearing a switch: %w", err)
	}
	return s.do("clearing a switch", func(b *batch) error {
		var sw guard.Switch
		ok, err := getJSON(b.bucket(bucketSwitches), key("", scope), &sw)
		if err != nil {
			return err
		}
		if !ok {
			return ErrNotFound
		}
		if err := b.delete(bucketSwitches, key("", scope)); err != nil {
			return err
		}
		sw.By = by
		return b.switched(sw, false)
	})
}

func (b *batch) switched(sw guard.Switch, on bool) error {
	list := readSwitches(b.tx)
	b.then(func(m *memory) { m.switches = list })
	b.changed(Change{Kind: ChangeSwitch, Scope: sw.Scope})
	return b.event(audit.Switched(sw, on, b.now.Wall))
}

func loadSwitches(tx *bolt.Tx, m *memory) error {
	m.switches = readSwitches(tx)
	return nil
}

func readSwitches(tx *bolt.Tx) []guard.Switch {
	var out []guard.Switch
	each(tx.Bucket([]byte(bucketSwitches)), nil, func(k, v []byte) bool {
		var sw guard.Switch
		if err := json.Unmarshal(v, &sw); err != nil {
			// fail closed: an unreadable switch stops everything in its scope.
			sw = guard.Switch{Scope: last(k), Reason: "the stored switch cannot be read"}
		}
		out = append(out, sw)
		return true
	})
	slices.SortFunc(out, func(a, b guard.Switch) int { return cmp.Compare(a.Scope, b.Scope) })
	return out
}
