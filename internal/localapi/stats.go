package localapi

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/store"
)

// Limits of statistics.
const (
	statsSpan   = 24 * time.Hour // if nothing else is asked for
	statsBins   = 24
	statsEvents = 200000 // records counted at most
	minBin      = time.Minute
)

// stats is GET /v1/stats: what has happened since a given time, counted from
// the approvals and the audit log.
func (a *API) stats(r *http.Request) (any, error) {
	q := query(r, "since")
	since := q.time("since")
	if q.err != nil {
		return nil, q.err
	}
	now := a.cfg.Clock.Now().Wall.UTC()
	if since.IsZero() {
		since = now.Add(-statsSpan)
	}
	if since.After(now) {
		return nil, badRequest("the time to count from lies in the future")
	}
	s := client.Stats{
		Since: since.UTC(), Until: now,
		ByStatus: map[string]int{}, ByTier: map[string]int{}, ByServer: map[string]int{}, Outcomes: map[string]int{}, ByRule: map[string]int{},
		Over: bins(since.UTC(), now),
	}
	if err := a.countApprovals(&s); err != nil {
		return nil, err
	}
	if err := a.countCalls(&s); err != nil {
		return nil, err
	}
	return s, nil
}

// bins divides the time from since to now into intervals of whole minutes.
func bins(since, now time.Time) []client.Bin {
	width := max(minBin, (now.Sub(since) / statsBins).Round(minBin))
	var out []client.Bin
	for at := since; at.Before(now); at = at.Add(width) {
		out = append(out, client.Bin{From: at})
	}
	if len(out) == 0 {
		out = append(out, client.Bin{From: since})
	}
	return out
}

func (a *API) countApprovals(s *client.Stats) error {
	n, err := a.cfg.Store.Count(store.Filter{Status: []guard.Status{guard.Pending}})
	if err != nil {
		return fmt.Errorf("counting approvals: %w", err)
	}
	s.Pending = n
	list, err := a.cfg.Store.Approvals(store.Filter{Since: s.Since})
	if err != nil {
		return fmt.Errorf("counting approvals: %w", err)
	}
	var waits []time.Duration
	for _, v := range list {
		s.ByStatus[string(v.Status)]++
		s.ByTier[v.Tier.String()]++
		s.ByServer[v.Server]++
		if len(v.Signoffs) > 0 {
			waits = append(waits, max(0, v.Signoffs[0].At.Sub(v.RequestedAt)))
		}
	}
	s.Waiting = waiting(waits)
	return nil
}

func waiting(waits []time.Duration) client.Waiting {
	out := client.Waiting{Decided: len(waits)}
	if len(waits) == 0 {
		return out
	}
	slices.Sort(waits)
	at := func(percent int) int64 { // nearest rank
		return waits[max(0, (len(waits)*percent+99)/100-1)].Milliseconds()
	}
	out.MedianMS, out.P90MS, out.MaxMS = at(50), at(90), at(100)
	return out
}

func (a *API) countCalls(s *client.Stats) error {
	q := auditQuery{
		since: s.Since, limit: statsEvents,
		store: store.EventFilter{Types: []audit.Type{audit.ToolCallCompleted, audit.ToolCallDenied}},
	}
	for looked := 0; ; {
		next, err := a.scan(q, func(v store.Record) bool {
			looked++
			count(s, v.Event)
			return looked < statsEvents
		})
		if err != nil {
			return err
		}
		if next < 0 {
			return nil
		}
		if looked >= statsEvents {
			s.Truncated = true
			return nil
		}
		q.from = next
	}
}

// count adds one record. A refused call has two: the refusal, with its rule,
// and the completion that every call has.
func count(s *client.Stats, e audit.Event) {
	if e.Origin.Client == audit.Own {
		return // a read of the guard for a call; that call is counted itself
	}
	if e.Event == audit.ToolCallDenied {
		if e.CallID != "" { // other methods can be refused too
			s.ByRule[string(e.Rule)]++
		}
		return
	}
	s.Calls++
	s.Outcomes[string(e.Status)]++
	i, found := slices.BinarySearchFunc(s.Over, e.Timestamp, func(b client.Bin, t time.Time) int { return b.From.Compare(t) })
	if !found {
		i-- // the interval that began before it
	}
	bin := &s.Over[max(0, i)]
	bin.Calls++
	if e.Status == audit.StatusDenied {
		s.Denials++
		bin.Denials++
	}
}
