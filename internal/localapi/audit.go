package localapi

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/store"
)

// Limits of one part of the audit log.
const (
	recordLimit = 1000  // records in one answer
	scanLimit   = 50000 // records looked at for one answer
	scanBatch   = 500   // records read at once
)

// auditQuery is a read of the log: what the store filters, and what is
// filtered here.
type auditQuery struct {
	from                                  int64 // as client.AuditFilter.From
	oldest                                bool
	limit                                 int
	store                                 store.EventFilter
	server, tool, tenant, status, verdict string
	since, until                          time.Time
}

func (q auditQuery) matches(e audit.Event) bool {
	return (q.server == "" || e.Tool.Server == q.server) && (q.tool == "" || e.Tool.Name == q.tool) &&
		(q.tenant == "" || e.TenantID == q.tenant) && (q.status == "" || string(e.Status) == q.status) &&
		(q.verdict == "" || e.Verdict == q.verdict) &&
		(q.since.IsZero() || !e.Timestamp.Before(q.since)) && (q.until.IsZero() || e.Timestamp.Before(q.until))
}

func parseAudit(r *http.Request) (auditQuery, error) {
	p := query(r, "from", "limit", "order", "type", "run", "approval", "server", "tool", "tenant", "status", "verdict", "since", "until")
	q := auditQuery{
		from: p.number("from", 0, 0, math.MaxInt64-1), oldest: p.oldest(), limit: int(p.number("limit", 100, 1, recordLimit)),
		store:  store.EventFilter{Run: guard.RunID(p.text("run")), About: guard.ApprovalID(p.text("approval"))},
		server: p.text("server"), tool: p.text("tool"), tenant: p.text("tenant"), status: p.text("status"), verdict: p.text("verdict"),
		since: p.time("since"), until: p.time("until"),
	}
	if list := p.text("type"); list != "" {
		for word := range strings.SplitSeq(list, ",") {
			t := audit.Type(word)
			if !t.Valid() {
				p.fail(badRequest("%q is not a type of event; they are %s", word, typeList()))
			}
			q.store.Types = append(q.store.Types, t)
		}
	}
	if q.store.Run != "" {
		if err := guard.CheckID(guard.RunPrefix, string(q.store.Run)); err != nil {
			p.fail(badRequest("%v", err))
		}
	}
	if q.store.About != "" {
		if err := guard.CheckID(guard.ApprovalPrefix, string(q.store.About)); err != nil {
			p.fail(badRequest("%v", err))
		}
	}
	return q, p.err
}

func typeList() string {
	var words []string
	for _, t := range audit.Types {
		words = append(words, string(t))
	}
	return strings.Join(words, ", ")
}

func (a *API) audit(r *http.Request) (any, error) {
	q, err := parseAudit(r)
	if err != nil {
		return nil, err
	}
	out := client.Records{Records: []client.Record{}}
	out.Next, err = a.scan(q, func(v store.Record) bool {
		out.Records = append(out.Records, client.Record{Index: v.Index, Event: v.Raw})
		return len(out.Records) < q.limit
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// scan passes the records of q to take until take returns false. next is where
// to continue, as in client.Records.Next.
func (a *API) scan(q auditQuery, take func(store.Record) bool) (next int64, err error) {
	if q.oldest {
		return a.scanForward(q, take)
	}
	f := q.store
	f.Newest, f.Limit = true, scanBatch
	next = q.from
	for looked := 0; looked < scanLimit; {
		// The store includes its bound and takes 0 as the end, so the first
		// record is read forward.
		f.From = max(0, next-1)
		first := next == 1
		if first {
			f.Newest, f.Limit = false, 1
		}
		records, err := a.cfg.Store.Events(f)
		if err != nil {
			return 0, fmt.Errorf("reading the audit log: %w", err)
		}
		for _, v := range records {
			if first && v.Index != 0 {
				return -1, nil
			}
			looked++
			next = v.Index
			if q.matches(v.Event) && !take(v) {
				return end(next), nil
			}
			if !q.since.IsZero() && v.Event.Timestamp.Before(q.since.Add(-clockSlack)) {
				return -1, nil
			}
		}
		if first || next == 0 || len(records) < f.Limit {
			return -1, nil
		}
	}
	return end(next), nil
}

// end converts the index before which to continue into client.Records.Next.
func end(next int64) int64 {
	if next == 0 {
		return -1
	}
	return next
}

func (a *API) scanForward(q auditQuery, take func(store.Record) bool) (next int64, err error) {
	newest, err := a.cfg.Store.Events(store.EventFilter{Newest: true, Limit: 1})
	if err != nil {
		return 0, fmt.Errorf("reading the audit log: %w", err)
	}
	f := q.store
	f.Limit = scanBatch
	next = q.from
	for looked := 0; looked < scanLimit; {
		f.From = next
		records, err := a.cfg.Store.Events(f)
		if err != nil {
			return 0, fmt.Errorf("reading the audit log: %w", err)
		}
		for _, v := range records {
			looked++
			next = v.Index + 1
			if q.matches(v.Event) && !take(v) {
				return next, nil
			}
		}
		if len(records) < f.Limit {
			for _, v := range newest { // everything up to there was looked at
				next = max(next, v.Index+1)
			}
			return next, nil
		}
	}
	return next, nil
}

// clockSlack is how far the wall clock may have been set back while the log
// was written. Records are in the order of writing, which may not be the order
// of their times.
const clockSlack = time.Hour

// checkpoint is GET /v1/audit/checkpoint: a signed statement about the log,
// and the proof that it continues the checkpoint that the caller knows. If
// there is no such proof, the statement is sent without one for the caller to
// judge.
func (a *API) checkpoint(r *http.Request) (any, error) {
	q := query(r, "since")
	since := q.number("since", 0, 0, math.MaxInt64-1)
	if q.err != nil {
		return nil, q.err
	}
	signed, err := a.cfg.Store.Checkpoint()
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	verifier := a.cfg.Store.Verifier()
	now, err := audit.OpenCheckpoint(signed, verifier)
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	out := client.Proof{Checkpoint: string(signed), Verifier: verifier, Since: since, Hashes: [][]byte{}}
	if since == 0 || since > now.Size {
		return out, nil
	}
	proof, err := a.cfg.Store.ProveConsistency(now.Size, since)
	if err != nil {
		return nil, fmt.Errorf("proving that the log of %s records continues that of %d: %w", strconv.FormatInt(now.Size, 10), since, err)
	}
	for _, h := range proof {
		out.Hashes = append(out.Hashes, h[:])
	}
	return out, nil
}

// verification is GET /v1/audit/verification: what the daemon finds when it
// recomputes the log from its file, the same as without a daemon.
func (a *API) verification(r *http.Request) (any, error) {
	if q := query(r); q.err != nil {
		return nil, q.err
	}
	v, err := a.cfg.Store.Verify(r.Context())
	if err != nil {
		return nil, err
	}
	out := client.Verification{Records: v.Size, FirstBad: v.FirstBad, LastBad: v.LastBad, Problem: v.Problem, Twice: v.Twice}
	if out.Twice == nil {
		out.Twice = []string{}
	}
	return out, nil
}
