//go:build linux

package tui

import (
	"syscall"
	"testing"
	"time"
)

// BenchmarkIdle measures what a console costs while nothing happens but time.
func BenchmarkIdle(b *testing.B) {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	s := open(b, crowd(10, 20), 80, 24)
	s.until(0, "big.go")
	<-time.After(2 * time.Second) // past the start
	cpu, at := used(), time.Now()
	for b.Loop() {
		<-time.After(10 * time.Second)
	}
	b.ReportMetric(100*float64(used()-cpu)/float64(time.Since(at)), "%cpu")
	s.leave(func() { s.typed("q") })
}
