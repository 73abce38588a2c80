package proxy

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// slowCommands takes its time, and then cannot contain the command.
type slowCommands struct{ took time.Duration }

func (x slowCommands) Preview(ctx context.Context, _ effect.CommandLine, _ string) (guard.Preview, error) {
	select {
	case <-time.After(x.took): // of the bubble's clock
	case <-ctx.Done():
		return guard.Preview{}, ctx.Err()
	}
	return guard.Preview{}, &effect.Uncontained{Why: "there is no sandbox in this test"}
}

func (slowCommands) Reverse(context.Context, guard.CallID, string) (guard.Preview, error) {
	return guard.Preview{}, &effect.Uncontained{}
}

func (slowCommands) Done(guard.CallID) {}

// TestProgressWhileACommandRuns: a client hears of its call while the command runs in
// the sandbox, then while it waits, and again while the command is looked at anew;
// progress rises all the way.
func TestProgressWhileACommandRuns(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.elsewhere = func(c *Config) { c.Commands = slowCommands{20 * time.Second} }
		p := r.withWorkspace(func() {})
		defer p.end()
		last := -2.0
		next := func() string {
			t.Helper()
			var got struct {
				Method string
				Params struct {
					ProgressToken, Message string
					Progress               float64
				}
			}
			if f := p.frame(); json.Unmarshal([]byte(f), &got) != nil || got.Method != "notifications/progress" || got.Params.ProgressToken != "tok" {
				t.Fatalf("got %s", f)
			}
			if got.Params.Progress <= last || got.Params.Progress >= 0 {
				t.Errorf("progress went from %v to %v", last, got.Params.Progress)
			}
			last = got.Params.Progress
			return got.Params.Message
		}
		p.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"progressToken":"tok"},"name":"run_command","arguments":{"command":"make"}}}`)
		for _, want := range []string{"computing what it changes, 0:08 so far", "computing what it changes, 0:16 so far", "waiting for approval "} {
			if got := next(); !strings.HasPrefix(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		r.decide(r.one(guard.Pending), true)
		if got, want := next(), "computing what it changes, 0:08 so far"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		p.answer(1)
	})
	inBubble(t, func(r *rig) {
		r.elsewhere = func(c *Config) { c.Commands = slowCommands{time.Hour} }
		p := r.withWorkspace(func() {})
		defer p.end()
		p.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"progressToken":"tok"},"name":"run_command","arguments":{"command":"make"}}}`)
		p.frame()
		p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
		p.quiet()
		time.Sleep(time.Minute) // of the bubble's clock
		p.quiet()
	})
}
