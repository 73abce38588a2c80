package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// BenchmarkFsync is the baseline for the others: append a page and sync.
func BenchmarkFsync(b *testing.B) {
	f := must(os.Create(filepath.Join(b.TempDir(), "f")))(b)
	defer f.Close()
	page := make([]byte, 4096)
	for b.Loop() {
		if _, err := f.Write(page); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}

func benchEvent(s *Store) audit.Event {
	c := toolCall(guard.Session{ID: "sess_1", RunID: "run_1", Tenant: tenant, Server: "files", Environment: "dev", Profile: "acme-dev"})
	return audit.Requested(c, s.clock.Now().Wall)
}

func BenchmarkRecord(b *testing.B) {
	s := open(b, options(b))
	for b.Loop() {
		if err := s.Record(ctx, benchEvent(s)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRecord16 measures the time per record with 16 concurrent writers.
func BenchmarkRecord16(b *testing.B) {
	s := open(b, options(b))
	b.SetParallelism(8) // of two processors
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := s.Record(ctx, benchEvent(s)); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkRecordAsync(b *testing.B) {
	s := open(b, options(b))
	for b.Loop() {
		s.RecordAsync(benchEvent(s))
	}
}

// BenchmarkStrictRead measures what a strictly audited read costs the store:
// one durable open, one relaxed completion.
func BenchmarkStrictRead(b *testing.B) {
	s := open(b, options(b))
	v := session(b, s)
	for b.Loop() {
		c := toolCall(v)
		if err := s.OpenCall(ctx, callOf(c), audit.Requested(c, c.RequestedAt), audit.ForCall(audit.ToolCallAuthorized, c, c.RequestedAt)); err != nil {
			b.Fatal(err)
		}
		s.CloseCallAsync(c.ID, audit.Completed(c, audit.StatusOK, c.RequestedAt))
	}
}

// BenchmarkApprovedWrite measures everything that is stored for one approved
// write.
func BenchmarkApprovedWrite(b *testing.B) {
	s := open(b, options(b))
	v := session(b, s)
	n := 0
	for b.Loop() {
		a := approved(b, s, v, fmt.Sprint(n))
		n++
		if err := s.Begin(ctx, intentFor(a)); err != nil {
			b.Fatal(err)
		}
		must(s.Finish(ctx, receipt(a.CallID, guard.OutcomeOK), completed(audit.StatusOK)))(b)
	}
}

// thousand fills a store with 1,000 pending approvals of 20 KB each.
func thousand(b testing.TB, s *Store) {
	v := session(b, s)
	text := strings.Repeat("+ a line of a diff that somebody will read\n", 480)
	for i := range 1000 {
		a := approval(v, guard.NewCallID(), fmt.Sprint(i))
		a.Preview.Change.Text = fmt.Sprint(i) + text
		if err := s.Submit(ctx, a); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkApprovals1000(b *testing.B) {
	s := open(b, options(b))
	thousand(b, s)
	for b.Loop() {
		if n := len(must(s.Approvals(Filter{Status: []guard.Status{guard.Pending}}))(b)); n != 1000 {
			b.Fatal(n)
		}
	}
}

func BenchmarkApprovalFull(b *testing.B) {
	s := open(b, options(b))
	thousand(b, s)
	id := must(s.Open())(b)[500].ID
	for b.Loop() {
		must(s.Approval(id))(b)
	}
}

func BenchmarkVerify(b *testing.B) {
	s := open(b, options(b))
	for range 20_000 {
		s.RecordAsync(benchEvent(s))
	}
	if err := s.Record(ctx, benchEvent(s)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if r := must(s.Verify(ctx))(b); !r.OK() {
			b.Fatal(r)
		}
	}
	b.ReportMetric(float64(s.Size())*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkOpen opens a log of 100,000 records that was closed.
func BenchmarkOpen(b *testing.B) { benchOpen(b, func(string) {}) }

// BenchmarkOpenKilled opens one whose daemon was killed.
func BenchmarkOpenKilled(b *testing.B) {
	benchOpen(b, func(path string) { forgetFreelist(b, path) })
}

func benchOpen(b *testing.B, before func(path string)) {
	o := options(b)
	s := must(Open(o))(b)
	for range 100_000 {
		s.RecordAsync(benchEvent(s))
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.StopTimer()
		before(o.Path)
		b.StartTimer()
		s := must(Open(o))(b)
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
