package store

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/guard"
	"golang.org/x/mod/sumdb/tlog"
)

type Store struct{}
type Watcher struct{}

var errX = errors.New("not built yet")

func Open(o Options) (*Store, error)                                     { return nil, errX }
func (s *Store) Close() error                                            { return errX }
func (s *Store) Startup(ctx context.Context) (Recovered, error)          { return Recovered{}, errX }
func (s *Store) Recover(ctx context.Context) error                       { return errX }
func (s *Store) Indeterminate() bool                                     { return true }
func (s *Store) Record(ctx context.Context, events ...audit.Event) error { return errX }
func (s *Store) RecordSoon(events ...audit.Event)                        {}
func (s *Store) OpenRun(ctx context.Context, run guard.Run, key RunKey) (guard.Run, error) {
	return run, errX
}
func (s *Store) Run(tenant string, id guard.RunID) (guard.Run, error) { return guard.Run{}, errX }
func (s *Store) Runs() ([]guard.Run, error)                           { return nil, errX }
func (s *Store) OpenSession(ctx context.Context, v guard.Session, events ...audit.Event) error {
	return errX
}
func (s *Store) CloseSession(ctx context.Context, id guard.SessionID, at time.Time, events ...audit.Event) error {
	return errX
}
func (s *Store) Sessions(open bool) ([]guard.Session, error)                       { return nil, errX }
func (s *Store) OpenCall(ctx context.Context, c Call, events ...audit.Event) error { return errX }
func (s *Store) OpenCallSoon(c Call, events ...audit.Event) error                  { return errX }
func (s *Store) CloseCall(ctx context.Context, id guard.CallID, completed audit.Event) error {
	return errX
}
func (s *Store) CloseCallSoon(id guard.CallID, completed audit.Event)               {}
func (s *Store) CallsInRun(tenant string, run guard.RunID, server, tool string) int { return 0 }
func (s *Store) Submit(ctx context.Context, a guard.Approval, events ...audit.Event) (guard.Approval, error) {
	return a, errX
}
func (s *Store) FindOpen(tenant string, run guard.RunID, server, tool string, digest diff.Digest) (guard.Approval, bool, error) {
	return guard.Approval{}, false, errX
}
func (s *Store) Join(ctx context.Context, id guard.ApprovalID, session guard.SessionID, call guard.CallID) (guard.Approval, error) {
	return guard.Approval{}, errX
}
func (s *Store) Release(ctx context.Context, id guard.ApprovalID, call guard.CallID) (guard.Approval, error) {
	return guard.Approval{}, errX
}
func (s *Store) Decide(ctx context.Context, id guard.ApprovalID, w guard.Signoff) (guard.Approval, error) {
	return guard.Approval{}, errX
}
func (s *Store) End(ctx context.Context, id guard.ApprovalID, to guard.Status, why string) (guard.Approval, error) {
	return guard.Approval{}, errX
}
func (s *Store) Replace(ctx context.Context, old guard.ApprovalID, fresh guard.Approval) (guard.Approval, error) {
	return guard.Approval{}, errX
}
func (s *Store) Begin(ctx context.Context, in guard.Intent, events ...audit.Event) error { return errX }
func (s *Store) Finish(ctx context.Context, r guard.Receipt, completed audit.Event) (guard.Approval, error) {
	return guard.Approval{}, errX
}
func (s *Store) Reconcile(ctx context.Context, call guard.CallID, r guard.Receipt) (guard.Approval, error) {
	return guard.Approval{}, errX
}
func (s *Store) OpenIntents() ([]guard.Intent, error) { return nil, errX }
func (s *Store) Intent(call guard.CallID) (guard.Intent, *guard.Receipt, error) {
	return guard.Intent{}, nil, errX
}
func (s *Store) Approval(id guard.ApprovalID) (guard.Approval, error)                   { return guard.Approval{}, errX }
func (s *Store) Approvals(f Filter) ([]guard.Approval, error)                           { return nil, errX }
func (s *Store) Count(f Filter) (int, error)                                            { return 0, errX }
func (s *Store) Switches() []guard.Switch                                               { return nil }
func (s *Store) SetSwitch(ctx context.Context, sw guard.Switch) error                   { return errX }
func (s *Store) ClearSwitch(ctx context.Context, scope string, by guard.Approver) error { return errX }
func (s *Store) RaiseAlert(ctx context.Context, a Alert) (Alert, error)                 { return a, errX }
func (s *Store) AcknowledgeAlert(ctx context.Context, id guard.EventID, by guard.Approver) (Alert, error) {
	return Alert{}, errX
}
func (s *Store) ResolveAlert(ctx context.Context, id guard.EventID, why string) (Alert, error) {
	return Alert{}, errX
}
func (s *Store) Alerts(all bool) ([]Alert, error)           { return nil, errX }
func (s *Store) Watch() *Watcher                            { return &Watcher{} }
func (w *Watcher) Next(ctx context.Context) (Change, error) { return Change{}, errX }
func (w *Watcher) Close()                                   {}
func (s *Store) Prune(ctx context.Context, olderThan time.Time) (Pruned, error) {
	return Pruned{}, errX
}
func (s *Store) Size() int64                                                { return 0 }
func (s *Store) Events(f EventFilter) ([]Record, error)                     { return nil, errX }
func (s *Store) Checkpoint() ([]byte, error)                                { return nil, errX }
func (s *Store) Verifier() string                                           { return "" }
func (s *Store) ProveRecord(size, index int64) (tlog.RecordProof, error)    { return nil, errX }
func (s *Store) ProveConsistency(size, older int64) (tlog.TreeProof, error) { return nil, errX }
func (s *Store) Verify(ctx context.Context) (audit.Report, error)           { return audit.Report{}, errX }
func (s *Store) Export(ctx context.Context, w io.Writer, from int64) error  { return errX }

// OpenLog opens the audit log of a database that no daemon holds, read-only.
func OpenLog(o Options) (*Log, error) { return nil, errX }

type Log struct{}

func (l *Log) Close() error                                              { return errX }
func (l *Log) Events(f EventFilter) ([]Record, error)                    { return nil, errX }
func (l *Log) Verify(ctx context.Context) (audit.Report, error)          { return audit.Report{}, errX }
func (l *Log) Export(ctx context.Context, w io.Writer, from int64) error { return errX }
