package shim

import (
	"io"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

// BenchmarkFirstByte measures from the start of the shim's process to the
// client's first byte at the daemon. The process is this test binary, which is
// larger than the program.
func BenchmarkFirstByte(b *testing.B) {
	d := newDaemon(b)
	var total time.Duration
	for b.Loop() {
		begin := time.Now()
		c := onPipes(b, d.paths, initialize+"\n", "files")
		h := d.welcome()
		if _, err := h.In.Read(make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		total += time.Since(begin)
		b.StopTimer()
		h.Close()
		c.exit(exitDone)
		b.StartTimer()
	}
	b.ReportMetric(float64(total.Microseconds())/float64(b.N)/1000, "ms/first-byte")
}

// BenchmarkRoundTrip compares a message there and back: client and daemon
// with nothing between them, handed over, and copied.
func BenchmarkRoundTrip(b *testing.B) {
	for _, c := range []struct {
		name string
		args []string
	}{{"handed over", []string{"files"}}, {"copied", []string{"files", flagCopy}}} {
		b.Run(c.name, func(b *testing.B) {
			d := newDaemon(b)
			cl := onSockets(b, d.paths, "", c.args...)
			h := d.welcome()
			echo(b, h)
			roundTrips(b, cl)
		})
	}
}

// echo runs the daemon's side until the session ends.
func echo(b *testing.B, h *ipc.Handover) {
	done := make(chan struct{})
	go func() { // ends with Close
		defer close(done)
		io.Copy(h.Out, h.In)
	}()
	b.Cleanup(func() { h.Close(); <-done })
}

func roundTrips(b *testing.B, c *client) {
	frame := initialize + "\n"
	for b.Loop() {
		if _, err := c.in.WriteString(frame); err != nil {
			b.Fatal(err)
		}
		if _, err := c.out.ReadSlice('\n'); err != nil {
			b.Fatal(err)
		}
	}
}
