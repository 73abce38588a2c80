package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	bolt "go.etcd.io/bbolt"
)

// The alerts that the store itself raises.
const (
	AlertRolledBack  = "log_rolled_back"
	AlertHeadMissing = "log_head_missing"
	AlertKeyChanged  = "log_key_changed"
	AlertWriteFailed = "store_write_failed"
	// AlertApproversWait says that the configuration lets more people or
	// processes decide than the rule in force does. The wider setting waits
	// for a decision under the rule in force.
	AlertApproversWait = "approvers_wait"
	// AlertDamaged names the damaged pages and records.
	AlertDamaged = "store_damaged"
	// AlertJournalMissing says that the last writes of an earlier daemon may
	// be lost.
	AlertJournalMissing = "store_journal_missing"
	// AlertRanUnasked is raised once per run. It lists what the run changed
	// without an approval. The only action on it is to acknowledge it.
	AlertRanUnasked = "ran_unasked"
)

// RaiseAlert stores an alert that a human must see. It does nothing while an
// alert with the same tenant, kind and key is unacknowledged.
func (s *Store) RaiseAlert(_ context.Context, a Alert) error {
	if a.Kind == "" || a.Text == "" {
		return errors.New("raising an alert: it has no kind or no text")
	}
	if err := checkParts("the alert", a.Tenant, a.Kind); err != nil {
		return fmt.Errorf("raising an alert: %w", err)
	}
	return s.do("raising an alert", func(b *batch) error {
		_, err := b.raise(a)
		return err
	})
}

func alertKey(a Alert) []byte { return key(a.Tenant, a.Kind, short(a.Key)) }

func (b *batch) raise(a Alert) (Alert, error) {
	if id := b.get(bucketAlertsOpen, alertKey(a)); id != nil {
		_, err := getJSON(b.bucket(bucketAlerts), key(a.Tenant, string(id)), &a)
		return a, err
	}
	if a.Tenant != "" {
		if err := b.tenant(a.Tenant); err != nil {
			return a, err
		}
	}
	a.ID, a.Status, a.At = guard.NewEventID(), AlertRaised, b.now.Wall
	if err := b.put(bucketAlertsOpen, alertKey(a), []byte(a.ID)); err != nil {
		return a, err
	}
	return a, b.alerted(a, audit.AlertRaised, a.ID)
}

// keepAlert stores the current state of an alert.
func (b *batch) keepAlert(a Alert) error {
	if err := b.putJSON(bucketAlerts, key(a.Tenant, string(a.ID)), a); err != nil {
		return err
	}
	b.then(func(m *memory) {
		if a.Status == AlertResolved {
			delete(m.alerts, a.ID)
		} else {
			m.alerts[a.ID] = a
		}
	})
	b.changed(Change{Kind: ChangeAlert, Tenant: a.Tenant, AlertID: a.ID, ApprovalID: a.Subject})
	return nil
}

// alerted stores the current state of an alert and records its event.
func (b *batch) alerted(a Alert, t audit.Type, id guard.EventID) error {
	if err := b.keepAlert(a); err != nil {
		return err
	}
	e := audit.New(t, b.now.Wall)
	e.EventID, e.CorrelationID, e.TenantID = id, string(a.ID), a.Tenant
	e.Rule, e.Reason, e.Status = guard.Rule(a.Kind), a.Text, audit.Status(a.Status)
	e.Gates.ApprovalID = a.Subject
	if a.Detail != "" {
		e.Reason += "\n" + a.Detail
	}
	if a.By != (guard.Approver{}) {
		e = audit.ByApprover(e, a.By)
	}
	return b.event(e)
}

// AcknowledgeAlert records who has seen an alert.
func (s *Store) AcknowledgeAlert(_ context.Context, id guard.EventID, by guard.Approver) (Alert, error) {
	return s.follow("acknowledging an alert", id, func(a *Alert) (audit.Type, error) {
		if a.Status != AlertRaised {
			return "", fmt.Errorf("the alert is %s already", a.Status)
		}
		a.Status, a.By = AlertAcknowledged, by
		if a.Kind == AlertRanUnasked {
			a.Status = AlertResolved
		}
		return audit.AlertAcknowledged, nil
	})
}

// ResolveAlert records that the cause of an alert is gone, and why.
func (s *Store) ResolveAlert(_ context.Context, id guard.EventID, why string) (Alert, error) {
	return s.follow("resolving an alert", id, func(a *Alert) (audit.Type, error) {
		if a.Status == AlertResolved {
			return "", errors.New("the alert is resolved already")
		}
		a.Status, a.Detail = AlertResolved, why
		return audit.AlertResolved, nil
	})
}

func (s *Store) follow(what string, id guard.EventID, change func(*Alert) (audit.Type, error)) (Alert, error) {
	return ask(s, what, func(b *batch) (a Alert, late, err error) {
		tenant, ok := findTenant(b.bucket(bucketAlerts), append([]string{""}, b.tenants...), string(id))
		if !ok {
			return a, nil, ErrNotFound
		}
		if _, err := getJSON(b.bucket(bucketAlerts), key(tenant, string(id)), &a); err != nil {
			return a, nil, err
		}
		waited := a.Status == AlertRaised
		t, err := change(&a)
		if err != nil {
			return a, nil, err
		}
		if a.Status == AlertResolved {
			a.EndedAt = b.now.Wall
		}
		if waited {
			if err := b.delete(bucketAlertsOpen, alertKey(a)); err != nil {
				return a, nil, err
			}
		}
		return a, nil, b.alerted(a, t, guard.NewEventID())
	})
}

// Alerts returns the unacknowledged alerts, or every alert if all is set,
// newest first.
func (s *Store) Alerts(all bool) ([]Alert, error) {
	var out []Alert
	if !all {
		s.mu.RLock()
		for _, a := range s.mem.alerts {
			if a.Status == AlertRaised {
				out = append(out, a)
			}
		}
		s.mu.RUnlock()
	} else if err := s.glance(func(tx *bolt.Tx) error {
		return eachJSON(tx.Bucket([]byte(bucketAlerts)), nil, func(a Alert) { out = append(out, a) })
	}); err != nil {
		return nil, fmt.Errorf("reading the alerts: %w", err)
	}
	slices.SortFunc(out, func(a, b Alert) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(b.ID, a.ID)) })
	return out, nil
}

func loadAlerts(tx *bolt.Tx, m *memory) error {
	return eachJSON(tx.Bucket([]byte(bucketAlerts)), nil, func(a Alert) {
		if a.Status != AlertResolved {
			m.alerts[a.ID] = a
		}
	})
}
