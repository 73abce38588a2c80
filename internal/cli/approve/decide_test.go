package approve

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/approval"
	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// live makes an approval one that a call can use.
func (r *rig) live(a *guard.Approval) {
	a.Status, a.Expires = guard.Pending, r.clock.Now().After(a.Box.TTL)
}

// executes does what a session does with its waiter once it is approved: it
// begins the execution and ends it with the receipt. Without a receipt it
// never ends.
func (r *rig) executes(t *approval.Waiter, receipt *guard.Receipt) (done chan struct{}) {
	done = make(chan struct{})
	go func() { // ends once the waiter is decided and the execution recorded
		defer close(done)
		<-t.Decided()
		if err := t.Claim(); err != nil {
			r.t.Error(err)
			return
		}
		a := t.Approval()
		in := guard.Intent{
			CallID: a.CallID, ApprovalID: a.ID, SessionID: a.SessionID, RunID: a.RunID, Tenant: a.Tenant, Server: a.Server, Tool: a.Tool,
			Tier: a.Tier, Digest: a.Digest, ArgsRaw: a.ArgsRaw, Effects: a.Preview.Effects, At: r.clock.Now().Wall,
		}
		if err := r.store.Begin(ctx, in); err != nil {
			r.t.Error(err)
			return
		}
		t.Begun()
		if receipt == nil {
			return
		}
		receipt.CallID = a.CallID
		e := audit.New(audit.ToolCallCompleted, r.clock.Now().Wall)
		e.CallID, e.TenantID, e.Status = a.CallID, a.Tenant, audit.StatusOK
		if _, err := r.store.Finish(ctx, *receipt, e); err != nil {
			r.t.Error(err)
		}
	}()
	return done
}

// TestAllowReportsOutcome: allow reports the outcome if it is known within a
// moment.
func TestAllowReportsOutcome(t *testing.T) {
	ok := guard.Receipt{Outcome: guard.OutcomeOK, ReadBack: guard.Verified}
	diverged := guard.Receipt{Outcome: guard.OutcomeOK, ReadBack: guard.Diverged, Detail: "main.go is another"}
	failed := guard.Receipt{Outcome: guard.OutcomeError, ReadBack: guard.Untouched, Detail: "no space"}
	for name, c := range map[string]struct {
		receipt  *guard.Receipt
		patience time.Duration
		args     []string
		want     string // of the second line on a terminal
		piped    string // status and read-back in a pipe
	}{
		"executed": {&ok, 10 * time.Second, nil, "executed, verified", "executed verified"},
		"diverged": {&diverged, 10 * time.Second, nil, "executed, diverged: main.go is another", "executed diverged"},
		"failed":   {&failed, 10 * time.Second, nil, "failed, untouched: no space", "failed untouched"},
		"at work":  {nil, 100 * time.Millisecond, nil, "`approve show", ""},
		"no wait":  {nil, time.Hour, []string{"--no-wait"}, "`approve show", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, m := range []mode{terminal, pipe} {
				r := newRig(t)
				r.patience = c.patience
				ticket := r.submitted(r.session(), 1, r.live)
				a := ticket.Approval()
				done := r.executes(ticket, c.receipt)
				code, stdout, stderr := r.run(m, append([]string{"allow", string(a.ID), "--digest", a.Digest.String(), "--reason", "as discussed"}, c.args...)...)
				<-done
				if code != exitDone || stderr != "" {
					t.Fatalf("exit %d, %s", code, stderr)
				}
				if m.terminal {
					if lines(stdout) != 2 || !strings.HasPrefix(stdout, "allowed  ") || !strings.Contains(strings.Split(stdout, "\n")[1], c.want) {
						t.Errorf("got %q, want a second line with %q", stdout, c.want)
					}
					continue
				}
				columns := strings.Split(strings.TrimSuffix(stdout, "\n"), "\t")
				if lines(stdout) != 1 || len(columns) != 5 || columns[0] != string(a.ID) || columns[3] != a.Digest.String() {
					t.Fatalf("got %q", stdout)
				}
				if got := columns[1] + " " + columns[4]; c.piped != "" && got != c.piped {
					t.Errorf("got %q, want %q", got, c.piped)
				}
			}
		})
	}
}

// If the agent has to call again, allow does not wait for it.
func TestAllowDoesNotWaitWithoutCall(t *testing.T) {
	r := newRig(t)
	r.patience = time.Hour
	ticket := r.submitted(r.session(), 1, r.live)
	a := ticket.Approval()
	if err := ticket.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	code, stdout, _ := r.run(terminal, "allow", string(a.ID), "--digest", a.Digest.String(), "--reason", "as discussed")
	if code != exitDone || !strings.Contains(stdout, "it runs when the agent makes the call again") {
		t.Errorf("exit %d, %q", code, stdout)
	}
}

// If the change was replaced before it ran, allow says where the new one
// waits.
func TestAllowNamesSuccessorOfStaleApproval(t *testing.T) {
	r := newRig(t)
	r.patience = time.Minute
	s := r.session()
	ticket := r.submitted(s, 1, r.live)
	a := ticket.Approval()
	done := make(chan struct{})
	go func() { // ends once the waiter is decided
		defer close(done)
		<-ticket.Decided()
		if err := ticket.Claim(); err != nil {
			t.Error(err)
			return
		}
		fresh := a
		fresh.ID, fresh.Status, fresh.Digest, fresh.Signoffs = id(2), guard.Pending, digest.Sum([]byte("another")), nil
		if _, err := ticket.Replace(ctx, fresh); err != nil {
			t.Error(err)
		}
	}()
	code, stdout, _ := r.run(pipe, "allow", string(a.ID), "--digest", a.Digest.String(), "--reason", "as discussed", "--json=status,replacedBy")
	<-done
	var got struct{ Status, ReplacedBy string }
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != exitDone || got.Status != client.Stale || got.ReplacedBy != string(id(2)) {
		t.Errorf("exit %d, %s, %v", code, stdout, err)
	}
}
