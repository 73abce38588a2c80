package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	bolt "go.etcd.io/bbolt"
)

// callRow is a stored open call. If a crash left the call without a
// completion, the record of its request is the template for one.
type callRow struct {
	Call
	Requested int64 `json:"requested"` // index of its tool_call_requested, -1 if there is none
}

// counters counts the calls of each tool in each run. A call is counted before
// it is durable, so that a limit also holds for concurrent calls.
type counters struct {
	mu    sync.Mutex // the writer takes it, so never wait for the writer while holding it
	known map[counterKey]int
	gone  int // how often a run was forgotten
	read  func(counterKey) int
}

// unreadable is the count used when the stored one cannot be read.
const unreadable = 1 << 40

type counterKey struct {
	tenant       string
	run          guard.RunID
	server, tool string
}

func (k counterKey) key() []byte {
	return key(k.tenant, string(k.run), short(k.server), short(k.tool))
}

func (c *counters) init(s *Store) {
	c.known = map[counterKey]int{}
	c.read = func(k counterKey) (n int) {
		err := s.view(func(tx *bolt.Tx) error {
			n = counted(tx.Bucket([]byte(bucketCounters)).Get(k.key()))
			return nil
		})
		if err != nil {
			s.log.Error("a counter could not be read", slog.Any("error", err))
			return unreadable // fail closed: a limit that cannot be checked is reached
		}
		return n
	}
}

func counted(v []byte) int {
	n := parseNumber(v)
	return int(max(0, n))
}

func (c *counters) count(k counterKey) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.countLocked(k)
}

// countLocked returns the count of k, and reads it first if it is not known.
// c.mu is held on entry and return, but released while reading.
func (c *counters) countLocked(k counterKey) int {
	for {
		if n, ok := c.known[k]; ok {
			return n
		}
		gone := c.gone
		c.mu.Unlock()
		n := c.read(k)
		c.mu.Lock()
		if n >= unreadable {
			return n
		}
		if _, ok := c.known[k]; !ok && gone == c.gone {
			c.known[k] = n
		}
	}
}

// reserve counts one call unless the limit is reached. A limit of 0 means
// none.
func (c *counters) reserve(k counterKey, limit int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.countLocked(k)
	if limit > 0 && n >= limit {
		return false
	}
	if n < unreadable {
		c.known[k] = n + 1
	}
	return true
}

// release undoes a reservation.
func (c *counters) release(k counterKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n, ok := c.known[k]; ok && n > 0 {
		c.known[k] = n - 1
	}
}

// forget drops the counts of a run from memory.
func (c *counters) forget(run guard.RunID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone++
	for k := range c.known {
		if k.run == run {
			delete(c.known, k)
		}
	}
}

// CallsInRun returns how many calls of a tool a run has made, including calls
// that are not durable yet.
func (s *Store) CallsInRun(tenant string, run guard.RunID, server, tool string) int {
	return s.counters.count(counterKey{tenant, run, server, tool})
}

// OpenCall records that a call came in and counts it against the limit of its
// run, unless it continues a call that was counted already. If the limit is
// reached the error is ErrLimit. The call is then open and recorded but not
// counted; it must be completed, as denied, like every other call.
func (s *Store) OpenCall(_ context.Context, c Call, events ...audit.Event) error {
	list, err := s.encode(events)
	if err != nil {
		return err
	}
	run, limit, err := s.openCall(c, events, list)
	if err != nil {
		return fmt.Errorf("opening a call: %w", err)
	}
	if err := s.do("opening a call", run); err != nil {
		if limit == nil && !c.Continues && !errors.Is(err, ErrIndeterminate) {
			s.counters.release(c.counter())
		}
		return err
	}
	return limit
}

// OpenCallAsync is OpenCall for calls whose record may follow within 50 ms. The
// limit is checked at once.
func (s *Store) OpenCallAsync(c Call, events ...audit.Event) error {
	var list encoded
	for _, e := range events {
		list = append(list, s.mustEncode(e))
	}
	run, limit, err := s.openCall(c, events, list)
	if err != nil {
		return fmt.Errorf("opening a call: %w", err)
	}
	if err := s.async(s.logged("opening a call", run)); err != nil {
		return fmt.Errorf("opening a call: %w", err)
	}
	return limit
}

// logged logs the error of an operation that no one waits for.
func (s *Store) logged(what string, run func(*batch) error) func(*batch) error {
	return func(b *batch) error {
		err := run(b)
		if err != nil {
			s.log.Error(what, "error", err)
		}
		return err
	}
}

func (c Call) counter() counterKey { return counterKey{c.Tenant, c.RunID, c.Server, c.Tool} }

func (s *Store) openCall(c Call, events []audit.Event, list encoded) (run func(*batch) error, limit, err error) {
	if c.ID == "" {
		return nil, nil, errors.New("it has no id")
	}
	if err := errors.Join(checkTenant("the call", c.Tenant), checkParts("the call", string(c.ID), string(c.RunID), string(c.SessionID))); err != nil {
		return nil, nil, err
	}
	requested := -1
	for i, e := range events {
		if e.Event == audit.ToolCallRequested {
			requested = i
			break
		}
	}
	counts := !c.Continues && s.counters.reserve(c.counter(), c.Limit)
	if !counts && !c.Continues {
		limit = ErrLimit
	}
	return func(b *batch) error {
		k := key(c.Tenant, string(c.ID))
		if b.calls[c.ID] != nil || b.get(bucketCalls, k) != nil || b.get(bucketCallsClosed, k) != nil {
			return fmt.Errorf("the id %s is taken", c.ID)
		}
		if err := b.tenant(c.Tenant); err != nil {
			return err
		}
		first, err := b.append(list...)
		if err != nil {
			return err
		}
		r := callRow{Call: c, Requested: -1}
		if requested >= 0 {
			r.Requested = first + int64(requested)
		}
		b.calls[c.ID] = &r
		if counts {
			b.counts[c.counter()]++
		}
		return nil
	}, limit, nil
}

// CloseCall records the one completion of a call. A second completion returns
// ErrClosed. ErrIntentOpen means that the call is executing; use Finish to end
// it. A call that ends as blocked_pending_approval releases the approval that
// it held open.
func (s *Store) CloseCall(_ context.Context, id guard.CallID, completed audit.Event) error {
	return s.do("closing a call", func(b *batch) error { return b.closeCall(id, completed, false) })
}

// CloseCallAsync is CloseCall for a call whose record may follow within 50 ms.
func (s *Store) CloseCallAsync(id guard.CallID, completed audit.Event) {
	completed = s.complete(completed)
	err := s.async(s.logged("closing a call", func(b *batch) error { return b.closeCall(id, completed, false) }))
	if err != nil {
		s.log.Error("a call ended after the store was closed", "call", id, "error", err)
	}
}

// call returns an open call.
func (b *batch) call(id guard.CallID) (*callRow, error) {
	if c := b.calls[id]; c != nil {
		return c, nil
	}
	tenant, ok := b.find(bucketCalls, string(id))
	if !ok {
		if _, closed := b.find(bucketCallsClosed, string(id)); closed {
			return nil, ErrClosed
		}
		return nil, ErrNotOpen
	}
	var c callRow
	_, err := getJSON(b.bucket(bucketCalls), key(tenant, string(id)), &c)
	return &c, err
}

// closeCall writes the completion of a call. executed means that its intent
// was dealt with.
func (b *batch) closeCall(id guard.CallID, completed audit.Event, executed bool) error {
	c, err := b.call(id)
	if err != nil {
		return err
	}
	k := key(c.Tenant, string(id))
	if !executed && b.get(bucketIntentsOpen, k) != nil {
		var in guard.Intent
		if _, err := getJSON(b.bucket(bucketIntents), k, &in); err != nil {
			return err
		}
		if !in.Unknown {
			// fail closed: a completion without a receipt would be a false report.
			return ErrIntentOpen
		}
	}
	data, err := b.completion(c, completed).Encode()
	if err != nil {
		return err
	}
	index, err := b.append(data)
	if err != nil {
		return err
	}
	if b.calls[id] != nil {
		delete(b.calls, id)
	} else if err := b.delete(bucketCalls, k); err != nil {
		return err
	}
	marker := binary.BigEndian.AppendUint64(number(index), uint64(b.now.Wall.UnixMilli()))
	if err := b.put(bucketCallsClosed, k, marker); err != nil {
		return err
	}
	if completed.Status == audit.StatusBlocked && completed.Gates.ApprovalID != "" {
		r, err := b.row(completed.Gates.ApprovalID)
		if err != nil {
			return err
		}
		return b.release(r, id)
	}
	return nil
}

// completion makes e the completion of c: empty fields are taken from the
// record of the request.
func (b *batch) completion(c *callRow, e audit.Event) audit.Event {
	t := audit.Event{RunID: c.RunID, SessionID: c.SessionID}
	if !whole(e) {
		t = b.template(c) // reads and decodes a record; completions from proxy do not need it
	}
	e.Event = audit.ToolCallCompleted
	if e.EventID == "" {
		e.EventID = guard.NewEventID()
	}
	if e.Timestamp.IsZero() {
		e.Timestamp = b.now.Wall
	}
	e.CallID, e.TenantID, e.RunID, e.SessionID = c.ID, c.Tenant, t.RunID, t.SessionID
	if e.CorrelationID == "" {
		e.CorrelationID = t.CorrelationID
	}
	if e.Environment == "" {
		e.Environment = t.Environment
	}
	if e.Workflow == "" {
		e.Workflow = t.Workflow
	}
	if e.Actor == (audit.Actor{}) {
		e.Actor = t.Actor
	}
	if e.Origin == (audit.Origin{}) {
		e.Origin = t.Origin
	}
	if e.Tool == (audit.Tool{}) {
		e.Tool = t.Tool
	}
	if e.ArgsSHA256.IsZero() {
		e.ArgsSHA256 = t.ArgsSHA256
	}
	if e.Input.SHA256.IsZero() {
		e.Input.SHA256 = t.Input.SHA256
	}
	if e.DurationMS == 0 && !t.Timestamp.IsZero() {
		e.DurationMS = max(0, e.Timestamp.Sub(t.Timestamp).Milliseconds())
	}
	return e
}

// whole reports whether a completion already has every field that the record
// of the request could supply.
func whole(e audit.Event) bool {
	return e.CorrelationID != "" && e.Environment != "" && e.Actor != audit.Actor{} && e.Origin != audit.Origin{} && e.Tool != audit.Tool{} &&
		!e.ArgsSHA256.IsZero() && !e.Input.SHA256.IsZero()
}

// template returns what is known of a call as an event: the record of its
// request, or else its row.
func (b *batch) template(c *callRow) audit.Event {
	if c.Requested >= 0 {
		if e, err := audit.Decode(b.get(bucketLeaves, number(c.Requested))); err == nil && e.CallID == c.ID {
			return e
		}
	}
	e := audit.New(audit.ToolCallRequested, b.now.Wall)
	if sess, ok := b.session(c.Tenant, c.SessionID); ok {
		e = audit.ForSession(audit.ToolCallRequested, sess, b.now.Wall)
	}
	e.CallID, e.TenantID, e.RunID, e.SessionID = c.ID, c.Tenant, c.RunID, c.SessionID
	e.CorrelationID = c.CorrelationID
	if e.CorrelationID == "" {
		e.CorrelationID = string(c.ID)
	}
	e.Tool.Server, e.Tool.Name = c.Server, c.Tool
	return e
}
