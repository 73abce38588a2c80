package tui

import (
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
)

// TestCommandsThatRunAreEnded ends the command under the cursor, and no other one
// where that has ended by itself.
func TestCommandsThatRunAreEnded(t *testing.T) {
	f := full()
	d := newDesk(t, f)
	d.size(100, 30)
	d.press("8")
	d.sees("go test ./...", "1:16", "npm run build", "0:05", "p end it")
	f.mu.Lock()
	f.running = f.running[1:]
	f.mu.Unlock()
	d.send(tickMsg{})
	d.wait(2 * time.Second)
	d.press("p")
	d.sees("has ended; look again", "npm run build")
	f.mu.Lock()
	n := len(f.running)
	f.mu.Unlock()
	if n != 1 {
		t.Fatalf("%d run", n)
	}
	d.wait(2 * time.Second)
	d.press("p")
	d.sees("No command runs.", "ended; it is now asked about by its text")
	f.mu.Lock()
	f.running = []client.RunningCommand{{ID: "call_3", Command: "make again", StartedAt: f.now}}
	f.mu.Unlock()
	d.send(tickMsg{})
	d.sees("make again")
}
