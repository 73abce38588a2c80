package proxy

import (
	"fmt"
	"io"
	"testing"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// BenchmarkRead compares a T0 read through a session with the same frames
// through two pipes and no guard. The server answers in this process and
// relaxed reads do not wait for the disk, so the difference is the guard's own
// work.
func BenchmarkRead(b *testing.B) {
	b.Run("direct", func(b *testing.B) {
		server := newFakeServer()
		fromClient, toServer := io.Pipe()
		fromServer, toClient := io.Pipe()
		go func() { // ends with the pipe
			r := jsonrpc.NewReader(fromClient, jsonrpc.Limits{})
			for {
				frame, err := r.Next()
				if err != nil {
					toClient.Close()
					return
				}
				_ = server.Write(frame)
				answer, _ := server.Next()
				fmt.Fprintf(toClient, "%s\n", answer)
			}
		}()
		answers := jsonrpc.NewReader(fromServer, jsonrpc.Limits{})
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			fmt.Fprintf(toServer, `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"look","arguments":{}}}`+"\n", i)
			if _, err := answers.Next(); err != nil {
				b.Fatal(err)
			}
		}
		toServer.Close()
	})
	for _, reads := range []string{"relaxed", "strict"} {
		b.Run(reads, func(b *testing.B) {
			r := newRig(b)
			defer r.stop()
			r.setPolicy(testConfig + "audit: {reads: " + reads + "}\n")
			p := r.session("patient")
			b.ReportAllocs()
			for b.Loop() {
				p.next++
				fmt.Fprintf(p.in, `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"look","arguments":{}}}`+"\n", p.next)
				<-p.frames
			}
			b.StopTimer()
			p.end()
		})
	}
}
