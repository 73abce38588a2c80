package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	bolt "go.etcd.io/bbolt"
)

// faults makes named points fail.
type faults struct {
	mu sync.Mutex
	on map[Point]error
	n  map[Point]int
}

func (f *faults) set(p Point, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.on == nil {
		f.on = map[Point]error{}
	}
	f.on[p] = err
}

func (f *faults) hook(p Point) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n == nil {
		f.n = map[Point]int{}
	}
	f.n[p]++
	return f.on[p]
}

var errDisk = errors.New("the disk failed")

func note(n int) audit.Event {
	e := audit.New(audit.PolicyLoaded, newClock().Now().Wall)
	e.Reason = fmt.Sprint(n)
	return e
}

// stalled opens a store, starts its first commit and blocks it until the gate
// is closed.
func stalled(t *testing.T, o Options) (s *Store, gate chan struct{}, commits *atomic.Int32) {
	t.Helper()
	gate, commits = make(chan struct{}), new(atomic.Int32)
	entered := make(chan struct{})
	o.Hook = func(p Point) error {
		if p == PointBeforeCommit && commits.Add(1) == 1 {
			close(entered)
			<-gate
		}
		return nil
	}
	s = open(t, o)
	s.RecordAsync(note(0))
	<-entered
	return s, gate, commits
}

// queued waits until n operations are queued.
func queued(s *Store, n int) {
	for s.queue.len() < n {
		runtime.Gosched()
	}
}

func TestWritersShareCommits(t *testing.T) {
	s, gate, commits := stalled(t, options(t))
	errs := make(chan error)
	const writers = 50
	for i := range writers {
		go func() { errs <- s.Record(ctx, note(i)) }() // owned by the test, which reads each result
	}
	queued(s, writers)
	close(gate)
	for range writers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := commits.Load(); n != 2 {
		t.Errorf("%d commits for %d writers", n, writers)
	}
	if s.Size() != writers+1 {
		t.Errorf("%d records", s.Size())
	}
}

// TestFailedOperationDoesNotAffectOthers runs operations that fail, halfway or
// by panic, in one transaction with good ones.
func TestFailedOperationDoesNotAffectOthers(t *testing.T) {
	s, gate, _ := stalled(t, options(t))
	var wg sync.WaitGroup
	halfway := errors.New("failed halfway")
	refused := errors.New("refused")
	results := map[string]error{}
	var mu sync.Mutex
	for name, run := range map[string]func(*batch) error{
		"good":    func(b *batch) error { return b.event(note(1)) },
		"refused": func(*batch) error { return refused },
		"halfway": func(b *batch) error { return errors.Join(b.event(note(2)), halfway) },
		"panic":   func(b *batch) error { _ = b.event(note(3)); panic("at the disco") },
		"early":   func(*batch) error { panic("before anything was written") },
		"too big": func(b *batch) error { return b.put(bucketMeta, make([]byte, 1<<16), nil) },
	} {
		wg.Go(func() {
			err := s.do(name, run)
			mu.Lock()
			defer mu.Unlock()
			results[name] = err
		})
	}
	queued(s, 6)
	close(gate)
	wg.Wait()
	if results["good"] != nil || !errors.Is(results["refused"], refused) || !errors.Is(results["halfway"], halfway) ||
		!errors.Is(results["halfway"], ErrNotRecorded) || results["panic"] == nil || results["early"] == nil || results["too big"] == nil {
		t.Errorf("results: %v", results)
	}
	var got []string
	for _, e := range events(t, s) {
		got = append(got, e.Reason)
	}
	if !slices.Equal(got, []string{"0", "1"}) {
		t.Errorf("recorded %q", got)
	}
}

// TestPromise4_FailedCommit makes commits fail before and after they happen.
// Each caller gets a definite answer once the state was read again.
func TestPromise4_FailedCommit(t *testing.T) {
	for _, p := range []Point{PointBeforeCommit, PointAfterCommit} {
		o := options(t)
		var f faults
		o.Hook = f.hook
		s := open(t, o)
		v := session(t, s)
		a := approved(t, s, v, "x")
		w := s.Watch()
		defer w.Close()
		f.set(p, errDisk)
		// The proof that the state can be trusted is a write of its own, which does not pass the hook.
		err := s.Begin(ctx, intentFor(a))
		f.set(p, nil)
		if s.Indeterminate() {
			t.Fatalf("%s: still indeterminate", p)
		}
		intents := must(s.OpenIntents())(t)
		switch p {
		case PointBeforeCommit:
			if !errors.Is(err, ErrNotRecorded) || len(intents) != 0 || status(t, s, a.ID) != guard.Approved {
				t.Errorf("%s: %v, intents %v", p, err, intents)
			}
			if err := s.Begin(ctx, intentFor(a)); err != nil {
				t.Errorf("%s: again: %v", p, err)
			}
		case PointAfterCommit:
			if err != nil || len(intents) != 1 || status(t, s, a.ID) != guard.Executing {
				t.Errorf("%s: %v, intents %v", p, err, intents)
			}
		}
		if c := must(w.Next(ctx))(t); c.Kind != ChangeResync {
			t.Errorf("%s: watchers see %+v", p, c)
		}
		if got := must(s.Alerts(false))(t); len(got) != 1 || got[0].Kind != AlertWriteFailed {
			t.Errorf("%s: alerts %+v", p, got)
		}
	}
}

// TestPromise4_Indeterminate keeps the state unreadable: nothing executes,
// denials work, relaxed records survive.
func TestPromise4_Indeterminate(t *testing.T) {
	o := options(t)
	var f faults
	o.Hook = f.hook
	s := open(t, o)
	v := session(t, s)
	a, b, c, d := approved(t, s, v, "a"), pending(t, s, v, "b"), pending(t, s, v, "c"), pending(t, s, v, "d")
	spare := call(t, s, v)

	f.set(PointBeforeCommit, errDisk)
	f.set(PointRecover, errDisk)
	if err := s.Record(ctx, note(1)); !errors.Is(err, ErrIndeterminate) || !errors.Is(err, errDisk) {
		t.Errorf("the failed write: %v", err)
	}
	if !s.Indeterminate() {
		t.Fatal("the state is known")
	}
	for name, err := range map[string]error{
		"begin":   s.Begin(ctx, intentFor(a)),
		"submit":  s.Submit(ctx, approval(v, spare, "e")),
		"call":    s.OpenCall(ctx, callOf(toolCall(v))),
		"record":  s.Record(ctx, note(2)),
		"approve": second(s.Decide(ctx, b.ID, yes(b))),
		"find":    third(s.FindOpen(tenant, v.RunID, "files", "write_file", b.Digest)),
		"join":    second(s.Join(ctx, b.ID, v.ID, spare)),
		"recover": s.Recover(ctx),
	} {
		if !errors.Is(err, ErrIndeterminate) {
			t.Errorf("%s: %v", name, err)
		}
	}
	denied := must(s.Decide(ctx, b.ID, no(b)))(t)
	if denied.Status != guard.Denied || status(t, s, b.ID) != guard.Denied || denied.Why != "wrong file" {
		t.Errorf("denied: %+v", denied)
	}
	if _, err := s.Decide(ctx, b.ID, no(b)); state(err) != guard.Denied {
		t.Errorf("denied twice: %v", err)
	}
	wrong := no(c)
	wrong.Digest[0]++
	if _, err := s.Decide(ctx, c.ID, wrong); !errors.Is(err, ErrDigest) {
		t.Errorf("denied with another digest: %v", err)
	}
	must(s.End(ctx, c.ID, guard.Cancelled, "the client went away"))(t)
	if got := must(s.Open())(t); len(got) != 2 {
		t.Errorf("open: %+v", got)
	}
	if _, err := s.Decide(ctx, guard.NewApprovalID(), no(b)); !errors.Is(err, ErrNotFound) {
		t.Errorf("denying what is not there: %v", err)
	}
	s.RecordAsync(note(3))

	f.set(PointBeforeCommit, nil)
	f.set(PointRecover, nil)
	if err := s.Recover(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Record(ctx, note(4)); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[guard.ApprovalID]guard.Status{a.ID: guard.Approved, b.ID: guard.Denied, c.ID: guard.Cancelled, d.ID: guard.Pending} {
		if got := status(t, s, id); got != want {
			t.Errorf("%s is %s, want %s", id, got, want)
		}
	}
	var got []string
	for _, e := range events(t, s, audit.PolicyLoaded) {
		got = append(got, e.Reason)
	}
	if !slices.Equal(got, []string{"3", "4"}) {
		t.Errorf("recorded %q", got)
	}
	if n := len(events(t, s, audit.ApprovalDecided)); n != 2 {
		t.Errorf("%d decisions in the log", n)
	}
	if err := s.Begin(ctx, intentFor(a)); err != nil {
		t.Error(err)
	}
	if s.mem.refused[b.ID].ID != "" {
		t.Error("the refusal is still kept in memory alone")
	}
}

func second[T any](_ T, err error) error        { return err }
func third[T, U any](_ T, _ U, err error) error { return err }

// TestRelaxedRecordsOfAFailedCommitAreKeptOnce.
func TestRelaxedRecordsOfAFailedCommitAreKeptOnce(t *testing.T) {
	for _, p := range []Point{PointBeforeCommit, PointAfterCommit} {
		for _, late := range []bool{false, true} {
			o := options(t)
			var f faults
			o.Hook = f.hook
			s := open(t, o)
			f.set(p, errDisk)
			if late { // the state can be read again only later
				f.set(PointRecover, errDisk)
			}
			s.RecordAsync(note(1))
			s.RecordAsync(note(2))
			err := s.Record(ctx, note(3))
			if late != errors.Is(err, ErrIndeterminate) {
				t.Errorf("%s %v: %v", p, late, err)
			}
			f.set(p, nil)
			f.set(PointRecover, nil)
			if err := s.Recover(ctx); err != nil {
				t.Fatal(err)
			}
			if err := s.Record(ctx, note(4)); err != nil {
				t.Fatal(err)
			}
			want := []string{"1", "2", "4"}
			if p == PointAfterCommit {
				want = []string{"1", "2", "3", "4"}
			}
			var got []string
			for _, e := range events(t, s, audit.PolicyLoaded) {
				got = append(got, e.Reason)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, late %v: recorded %q, want %q", p, late, got, want)
			}
		}
	}
}

func TestRecordAsyncIsPrompt(t *testing.T) {
	o := options(t)
	written := make(chan struct{}, 10)
	o.Hook = func(p Point) error {
		if p == PointAfterCommit {
			written <- struct{}{}
		}
		return nil
	}
	s := open(t, o)
	for range 3 {
		start := time.Now()
		s.RecordAsync(note(1))
		<-written
		if d := time.Since(start); d > 50*time.Millisecond {
			t.Logf("a relaxed record took %v", d) // a busy machine may take longer; the benchmark says what is usual
		}
	}
	// A durable record takes along what is relaxed and keeps the order.
	s.RecordAsync(note(2))
	if err := s.Record(ctx, note(3)); err != nil {
		t.Fatal(err)
	}
	if e := events(t, s); len(e) != 5 || e[3].Reason != "2" || e[4].Reason != "3" {
		t.Errorf("events: %+v", e)
	}
}

func TestRecordAsyncDropsNothing(t *testing.T) {
	o := options(t)
	s := open(t, o)
	const n = 3 * maxSoon
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range n / 4 {
				s.RecordAsync(note(i))
			}
		})
	}
	wg.Wait()
	s = reopen(t, s, o)
	if s.Size() != n {
		t.Errorf("%d records, want %d", s.Size(), n)
	}
	s.RecordAsync(audit.Event{Event: "nonsense", CallID: "call_1"})
	if err := s.Record(ctx, audit.Event{Event: "nonsense"}); err == nil {
		t.Error("an event of no type was recorded")
	}
	if err := s.Record(ctx, note(1)); err != nil {
		t.Fatal(err)
	}
	if e := events(t, s, audit.AlertRaised); len(e) != 1 || e[0].CallID != "call_1" {
		t.Errorf("the event that could not be encoded left %+v", e)
	}
}

func TestWriteThatTakesTooLong(t *testing.T) {
	o := options(t)
	o.WriteTimeout = 20 * time.Millisecond
	gate := make(chan struct{})
	var once sync.Once
	o.Hook = func(p Point) error {
		if p == PointBeforeCommit {
			once.Do(func() { <-gate })
		}
		return nil
	}
	s := open(t, o)
	if err := s.Record(ctx, note(1)); !errors.Is(err, ErrIndeterminate) {
		t.Errorf("a write that is under way: %v", err)
	}
	if err := s.Record(ctx, note(2)); !errors.Is(err, ErrNotRecorded) {
		t.Errorf("a write that was not begun: %v", err)
	}
	close(gate)
	s = reopen(t, s, o)
	if e := events(t, s); len(e) != 1 || e[0].Reason != "1" {
		t.Errorf("recorded %+v", e)
	}
}

func TestWatch(t *testing.T) {
	s := open(t, options(t))
	w, slow := s.Watch(), s.Watch()
	v := session(t, s)
	a := pending(t, s, v, "x")
	must(s.Decide(ctx, a.ID, no(a)))(t)
	var seq uint64
	for i, want := range []Change{
		{Kind: ChangeSession, SessionID: v.ID}, {Kind: ChangeApproval, ApprovalID: a.ID, Status: guard.Pending},
		{Kind: ChangeApproval, ApprovalID: a.ID, Status: guard.Denied},
	} {
		c := must(w.Next(ctx))(t)
		if c.Kind != want.Kind || c.ApprovalID != want.ApprovalID || c.Status != want.Status || c.Seq <= seq || c.Tenant != tenant {
			t.Errorf("change %d: %+v, want %+v", i, c, want)
		}
		seq = c.Seq
	}
	if s.Seq() != seq {
		t.Errorf("the feed is at %d, the last change has %d", s.Seq(), seq)
	}
	for i := range backlog + 1 {
		if err := s.SetSwitch(ctx, guard.Switch{Scope: fmt.Sprint(i % 3)}); err != nil {
			t.Fatal(err)
		}
	}
	if c := must(slow.Next(ctx))(t); c.Kind != ChangeResync || c.Seq != s.Seq() {
		t.Errorf("the slow watcher got %+v", c)
	}
	if err := s.ClearSwitch(ctx, "0", guard.Approver{}); err != nil {
		t.Fatal(err)
	}
	if c := must(slow.Next(ctx))(t); c.Kind != ChangeSwitch || c.Scope != "0" {
		t.Errorf("after the resync: %+v", c)
	}
	short, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := slow.Next(short); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	slow.Close()
	if _, err := slow.Next(ctx); !errors.Is(err, ErrShut) {
		t.Errorf("a closed watcher: %v", err)
	}
	waiting := s.Watch()
	done := make(chan error)
	go func() { // ends when the store closes; the test waits for it
		_, err := waiting.Next(ctx)
		done <- err
	}()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, ErrShut) {
		t.Errorf("a watcher of a closed store: %v", err)
	}
}

func TestMethodsFailAfterClose(t *testing.T) {
	s := open(t, options(t))
	v := session(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Record(ctx, note(1)); !errors.Is(err, ErrShut) {
		t.Errorf("recording: %v", err)
	}
	if _, err := s.Approval("appr_1"); !errors.Is(err, ErrShut) {
		t.Errorf("reading: %v", err)
	}
	if err := s.OpenCallAsync(callOf(toolCall(v))); !errors.Is(err, ErrShut) {
		t.Errorf("a relaxed call: %v", err)
	}
	s.RecordAsync(note(1)) // only logged
}

// TestNoBytesEscape changes the file after values were read; the values must
// not change.
func TestNoBytesEscape(t *testing.T) {
	s := open(t, options(t))
	v := session(t, s)
	a := pending(t, s, v, "x")
	before := must(s.Approval(a.ID))(t)
	recs := must(s.Events(EventFilter{}))(t)
	raw := string(recs[0].Raw)
	for i := range 200 {
		must(s.Decide(ctx, pending(t, s, v, fmt.Sprint(i)).ID, no(a)))
		if err := s.Record(ctx, note(i)); err != nil {
			t.Fatal(err)
		}
	}
	if string(before.Args) != string(a.Args) || string(before.Preview.Change.Patch) != string(a.Preview.Change.Patch) || string(recs[0].Raw) != raw {
		t.Error("a value changed after its transaction")
	}
	err := s.view(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
