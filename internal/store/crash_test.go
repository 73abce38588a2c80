package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
)

const crashFolder = "MCPGUARD_STORE_CRASH_TEST" // set in the child: where its database is

// TestPromise5_KilledAnywhere kills a process with SIGKILL while it writes,
// many times over one database. The file stays intact, the log verifies, no
// acknowledged write is lost and nothing executes twice.
func TestPromise5_KilledAnywhere(t *testing.T) {
	kills := 32
	if testing.Short() {
		kills = 8
	}
	var dir string
	var o Options
	var acked map[string]bool
	total := 0
	random := rand.New(rand.NewPCG(1, 2))
	for i := range kills {
		if i%8 == 0 { // a small database is quicker to check
			dir, acked = t.TempDir(), map[string]bool{}
			o = Options{Path: filepath.Join(dir, "guard.db"), Clock: newClock(), CreateNew: true}
		}
		for _, line := range runAndKill(t, dir, 1+random.IntN(150)) {
			acked[line] = true
			total++
		}
		checkWhole(t, o.Path)
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		checkAcknowledged(t, s, acked)
		if alerts := must(s.Alerts(true))(t); len(alerts) != 0 {
			t.Fatalf("alerts after a kill: %+v", alerts)
		}
		must(s.Startup(ctx))(t)
		checkSettled(t, s)
		shut(t, s)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d acknowledged writes over %d kills", total, kills)
}

// runAndKill starts a child and kills it after it acknowledged n writes. It
// returns every write that was acknowledged before the end.
func runAndKill(t *testing.T, dir string, n int) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
	cmd.Env = append(os.Environ(), crashFolder+"="+dir)
	cmd.Stderr = os.Stderr
	out := must(cmd.StdoutPipe())(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadString('\n')
		if err != nil { // a line that the kill cut off acknowledges nothing
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			break
		}
		lines = append(lines, strings.TrimSpace(line))
		if len(lines) == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	if len(lines) < n {
		t.Fatalf("the child ended by itself after %d writes: %v", len(lines), lines)
	}
	return lines
}

// TestCrashChild is the process that is killed. Run by itself it does nothing.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv(crashFolder)
	if dir == "" {
		return // it is not the child
	}
	s, err := Open(Options{Path: filepath.Join(dir, "guard.db"), Clock: newClock(), CreateNew: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Startup(ctx); err != nil {
		t.Fatal(err)
	}
	v := session(t, s)
	var mu sync.Mutex
	ack := func(what string, id any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(os.Stdout, what, id)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				crashStep(t, s, v, fmt.Sprint(w, "-", i), i%5, ack)
			}
		})
	}
	wg.Wait()
}

// crashStep advances one call as far as kind says and acknowledges each step.
func crashStep(t *testing.T, s *Store, v guard.Session, n string, kind int, ack func(string, any)) {
	e := note(0)
	if err := s.Record(ctx, e); err != nil {
		t.Error(err)
	}
	ack("event", e.EventID)
	s.RecordAsync(note(1))
	a := pending(t, s, v, n)
	ack("pending", a.ID)
	if kind == 0 {
		return
	}
	w := yes(a)
	w.Approve = kind > 1
	must(s.Decide(ctx, a.ID, w))(t)
	if kind == 1 {
		ack("denied", a.ID)
		return
	}
	ack("approved", a.ID)
	if kind == 2 {
		return
	}
	if err := s.Begin(ctx, intentFor(a)); err != nil {
		t.Error(err)
	}
	ack("begun", a.ID)
	if kind == 3 {
		return
	}
	must(s.Finish(ctx, receipt(a.CallID, guard.OutcomeOK), completed(audit.StatusOK)))(t)
	ack("done", a.ID)
}

// checkAcknowledged looks for everything that the child was told is durable.
func checkAcknowledged(t *testing.T, s *Store, acked map[string]bool) {
	t.Helper()
	r := must(s.Verify(ctx))(t)
	if !r.OK() {
		t.Fatalf("the log does not verify: %+v", r)
	}
	have := map[guard.EventID]bool{}
	for _, rec := range must(s.Events(EventFilter{Limit: 1 << 30}))(t) {
		if have[rec.Event.EventID] {
			t.Errorf("event %s is recorded twice", rec.Event.EventID)
		}
		have[rec.Event.EventID] = true
	}
	// What an approval may have become after each step, by later steps of the
	// child or by Startup.
	after := map[string][]guard.Status{
		"pending":  nil, // anything
		"denied":   {guard.Denied},
		"approved": {guard.Approved, guard.Executing, guard.Executed, guard.Unknown},
		"begun":    {guard.Executing, guard.Executed, guard.Unknown},
		"done":     {guard.Executed},
	}
	for line := range acked {
		what, id, _ := strings.Cut(line, " ")
		if what == "event" {
			if !have[guard.EventID(id)] {
				t.Errorf("the acknowledged event %s is lost", id)
			}
			continue
		}
		a, err := s.Approval(guard.ApprovalID(id))
		if err != nil {
			t.Errorf("the acknowledged approval %s is lost: %v", id, err)
			continue
		}
		ok := after[what] == nil
		for _, st := range after[what] {
			ok = ok || st == a.Status
		}
		if !ok {
			t.Errorf("%s was acknowledged as %s and is %s", id, what, a.Status)
		}
	}
}

// checkSettled checks the state after Startup: nothing executes, each call has
// ended once, each effect has an intent.
func checkSettled(t *testing.T, s *Store) {
	t.Helper()
	if got := must(s.Approvals(Filter{Status: []guard.Status{guard.Executing}}))(t); len(got) != 0 {
		t.Errorf("still executing: %d", len(got))
	}
	if got := must(s.Sessions(true))(t); len(got) != 0 {
		t.Errorf("still open: %+v", got)
	}
	requested, ended, begun := map[guard.CallID]int{}, map[guard.CallID]int{}, map[guard.ApprovalID]int{}
	for _, e := range events(t, s, audit.ToolCallRequested, audit.ToolCallCompleted, audit.ToolCallAuthorized) {
		switch e.Event {
		case audit.ToolCallRequested:
			requested[e.CallID]++
		case audit.ToolCallCompleted:
			ended[e.CallID]++
		case audit.ToolCallAuthorized:
			begun[e.Gates.ApprovalID]++
		}
	}
	for id := range requested {
		if ended[id] != 1 {
			t.Errorf("call %s was completed %d times", id, ended[id])
		}
	}
	for id, n := range begun {
		if n != 1 {
			t.Errorf("approval %s was used %d times", id, n)
		}
	}
	for _, a := range must(s.Approvals(Filter{Status: []guard.Status{guard.Executed, guard.Unknown}}))(t) {
		if _, _, err := s.Intent(a.CallID); err != nil || begun[a.ID] != 1 {
			t.Errorf("approval %s is %s without an intent: %v", a.ID, a.Status, err)
		}
	}
}
