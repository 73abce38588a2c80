package commands

import (
	"context"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// TestCommandIsListedAndEnded ends a command that runs in a sandbox: it is seen
// while it runs, and what came of it proves nothing.
func TestCommandIsListedAndEnded(t *testing.T) {
	x := newFixture(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := x.command("echo one > a.txt; exec sleep 300")
	type result struct {
		rec *Record
		err error
	}
	done := make(chan result, 1)
	go func() { // ends with Stop, or with ctx
		rec, err := x.r.Preview(ctx, c)
		done <- result{rec, err}
	}()
	for len(x.r.List()) == 0 && ctx.Err() == nil && len(done) == 0 {
		runtime.Gosched()
	}
	if list := x.r.List(); len(done) == 0 && (len(list) != 1 || list[0].Call != c.Call || list[0].Command.Argv[2] != c.Argv[2] || list[0].Since.IsZero()) {
		t.Errorf("listed: %+v", list)
	}
	if x.r.Stop(guard.NewCallID()) {
		t.Error("a call that runs nothing was ended")
	}
	stopped := x.r.Stop(c.Call)
	got := <-done
	if errors.Is(got.err, sandbox.ErrUnavailable) && os.Getenv("CI") == "" {
		t.Skip(got.err) // the kernel allows no sandbox here; in CI that fails
	}
	if !stopped || got.err != nil || got.rec.Stopped != "cancelled" || got.rec.Whole() {
		t.Fatalf("ended %v: %+v, %v", stopped, got.rec, got.err)
	}
	if len(x.r.List()) != 0 || x.r.Stop(c.Call) {
		t.Errorf("it is still there: %+v", x.r.List())
	}
}

// TestAbleRunsACommand tries what doctor says: where commands run in a sandbox,
// nothing forbids it, and a program that is none is said.
func TestAbleRunsACommand(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	can := Able(t.Context(), program, state)
	if errors.Is(can.Err, sandbox.ErrUnavailable) && os.Getenv("CI") == "" {
		if len(can.Lacks) == 0 {
			t.Errorf("nothing is said of %v", can.Err)
		}
		t.Skip(can.Err)
	}
	if can.Err != nil {
		t.Errorf("able: %+v", can)
	}
	if left, err := os.ReadDir(state); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if can := Able(t.Context(), "/bin/false", state); can.Err == nil || len(can.Lacks) == 0 {
		t.Errorf("with another program: %+v", can)
	}
	if can := Able(t.Context(), "", state); can.Err == nil || len(can.Lacks) != 1 {
		t.Errorf("without a program: %+v", can)
	}
}
