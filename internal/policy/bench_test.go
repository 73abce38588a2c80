package policy

import (
	"runtime"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/guard"
)

func BenchmarkAdmit(b *testing.B) {
	sv, tools := packageServer(b, "filesystem", "2026.8.31")
	x, _ := sv.Tool("edit_file")
	req := localRequest("edit_file", `{"path":"src/a.go","edits":[{"oldText":"one","newText":"two"},{"oldText":"three","newText":"four"}]}`, tools["edit_file"], file("src/a.go"))
	b.ReportAllocs()
	for b.Loop() {
		if d := x.Admit(req); d.Verdict != guard.Allow {
			b.Fatal(d)
		}
	}
}

func BenchmarkAdmitRead(b *testing.B) {
	sv, tools := packageServer(b, "everything", "2026.8.31")
	x, _ := sv.Tool("echo")
	req := localRequest("echo", `{"message":"hello"}`, tools["echo"])
	b.ReportAllocs()
	for b.Loop() {
		if d := x.Admit(req); d.Verdict != guard.Allow {
			b.Fatal(d)
		}
	}
}

func BenchmarkAdmitLarge(b *testing.B) {
	sv, tools := packageServer(b, "filesystem", "2026.8.31")
	x, _ := sv.Tool("write_file")
	req := localRequest("write_file", `{"path":"src/a.go","content":"`+strings.Repeat("x", 1<<20)+`"}`, tools["write_file"], file("src/a.go"))
	b.SetBytes(1 << 20)
	for b.Loop() {
		if d := x.Admit(req); d.Verdict != guard.Allow {
			b.Fatal(d)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	sv, tools := packageServer(b, "filesystem", "2026.8.31")
	x, _ := sv.Tool("write_file")
	req := localRequest("write_file", `{"path":"src/a.go","content":"x"}`, tools["write_file"], file("src/a.go"))
	p := preview("file.write", req.Targets...)
	b.ReportAllocs()
	for b.Loop() {
		if v := x.Decide(req, p); v.Verdict != guard.Ask {
			b.Fatal(v)
		}
	}
}

// BenchmarkCompile compiles the filesystem preset with its definitions and
// reports what stays in memory.
func BenchmarkCompile(b *testing.B) {
	sv, tools := packageServer(b, "filesystem", "2026.8.31")
	var keep []*Set
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		cfg := compile(b, "version: 1\nroots: [/w]\nservers:\n  s: {preset: filesystem, command: /bin/x}\n")
		if len(keep) < 20 {
			keep = append(keep, cfg)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(keep)), "B-kept/op")
	runtime.KeepAlive(keep)
	runtime.KeepAlive(sv)
	runtime.KeepAlive(tools)
}
