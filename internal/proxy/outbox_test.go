package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// deaf opens a session whose client does not read until the returned function
// is called. That function returns everything that was sent.
func (r *rig) deaf(log io.Writer) (*peer, func() string) {
	r.Helper()
	var ear *io.PipeReader
	r.elsewhere = func(c *Config) {
		in := c.Client.(duplex)
		var mouth *io.PipeWriter
		ear, mouth = io.Pipe()
		c.Client = duplex{in.Reader, mouth, func() { in.close(); mouth.Close(); ear.Close() }}
		c.Log = slog.New(slog.NewTextHandler(log, nil))
	}
	p := r.session("patient")
	r.elsewhere = nil
	return p, func() string {
		var heard strings.Builder
		_, _ = io.Copy(&heard, ear) // ends with the session
		return heard.String()
	}
}

func TestClientThatDoesNotReadHoldsNoLocks(t *testing.T) {
	inBubble(t, func(r *rig) {
		var log bytes.Buffer
		p, hear := r.deaf(&log)
		began := time.Now()
		// The server sends frames before and after its answer; none is read.
		p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
			for range 100 {
				f.send(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}`)
			}
			return false
		})
		p.write("scratch", "a.txt", "first\n")
		synctest.Wait()
		p.write("write", "a.txt", "second\n")
		r.decide(r.one(guard.Pending), true)
		if a := r.one(guard.Executed); a.Receipt.ReadBack != guard.Verified {
			t.Errorf("the receipt is %+v", a.Receipt)
		}
		r.wantContent("a.txt", "second\n")

		other := r.session("patient")
		other.wantDid(other.write("scratch", "a.txt", "third\n"), "scratch")
		r.wantContent("a.txt", "third\n")
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("it took %s", waited)
		}
		other.end()
		p.in.Close()
		go func() { <-time.After(time.Second); hear() }() // ends with the session
		if err := <-p.served; err != nil {
			t.Error(err)
		}
	})
}

func TestTaskOfAClientThatDoesNotReadEnds(t *testing.T) {
	inBubble(t, func(r *rig) {
		p, _ := r.deaf(io.Discard)
		p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
			if m.Method != "tools/call" {
				return false
			}
			doTool(m)
			f.send(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID.Raw(), modernTask)
			f.send(`{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"t1","status":"completed"}}`)
			return true
		})
		p.write("scratch", "a.txt", "new\n")
		synctest.Wait()
		if len(r.locks.claims) != 0 {
			t.Errorf("%d locks are held for a client that does not read", len(r.locks.claims))
		}
		p.in.Close()
		<-p.served
	})
}

func TestClientThatDoesNotReadIsDropped(t *testing.T) {
	inBubble(t, func(r *rig) {
		var log bytes.Buffer
		p, _ := r.deaf(&log)
		began := time.Now()
		p.call("look", `{}`)
		if err := <-p.served; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < clientPatience || took > clientPatience+10*time.Second {
			t.Errorf("the session ended after %s", took)
		}
		if got := log.String(); !strings.Contains(got, "the client does not read what it is sent, so its session ends") {
			t.Errorf("the log says %q", got)
		}
	})
}

// A client that reads slowly is not dropped.
func TestSlowClientIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear, mouth := io.Pipe()
		o := newOutbox(mouth, time.Minute, func() { t.Error("it was given up") })
		var want strings.Builder
		for i := range 20 {
			frame := fmt.Sprintf("%d%s", i, strings.Repeat("x", writeAtOnce/2))
			o.put([]byte(frame))
			want.WriteString(frame + "\n")
		}
		o.close()
		var got bytes.Buffer
		buf := make([]byte, writeAtOnce)
		for got.Len() < want.Len() {
			time.Sleep(50 * time.Second)
			n, err := ear.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got.Write(buf[:n])
		}
		<-o.done
		if got.String() != want.String() {
			t.Error("the frames do not arrive as they were sent")
		}
	})
}

func TestOutboxIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear, mouth := io.Pipe()
		o := newOutbox(mouth, time.Minute, func() { mouth.CloseWithError(errors.New("given up")); ear.Close() })
		frame := bytes.Repeat([]byte("x"), 1<<20)
		var sent atomic.Int32
		var all sync.WaitGroup
		all.Go(func() {
			for range 100 {
				o.put(frame)
				sent.Add(1)
			}
		})
		synctest.Wait()
		o.mu.Lock()
		waiting := len(o.unsent)
		o.mu.Unlock()
		if waiting > maxUnsent+2<<20 || sent.Load() == 100 {
			t.Errorf("%d bytes wait after %d frames", waiting, sent.Load())
		}
		all.Wait() // no one reads: the client is dropped, and so are the remaining frames
		<-o.done
		if o.failure() == nil {
			t.Error("the write has not failed")
		}
	})
}

func TestCutFrames(t *testing.T) {
	line := func(n int) string { return strings.Repeat("x", n-1) + "\n" }
	for _, c := range []struct {
		frames string
		want   int
	}{
		{line(10), 10},
		{line(writeAtOnce), writeAtOnce},
		{line(writeAtOnce) + line(10), writeAtOnce},
		{line(10) + line(writeAtOnce), 10},
		{line(3*writeAtOnce) + line(10), 3 * writeAtOnce},
	} {
		if got := cutFrames([]byte(c.frames)); got != c.want {
			t.Errorf("of %d bytes %d go in one write, want %d", len(c.frames), got, c.want)
		}
	}
}
