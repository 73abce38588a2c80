package localapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/store"
)

// sentinels maps the errors that callers branch on, one to one. If an error
// wraps several, the first entry wins.
var sentinels = [...]struct {
	err    error
	status int
	code   string
	title  string
	remedy string
}{
	{store.ErrNotFound, http.StatusNotFound, client.CodeNotFound, "Not found", "`approve --list --status all` shows what there is"},
	{store.ErrDigest, http.StatusConflict, client.CodeDigest, "Another digest", "review it again with `approve show`, and decide with the digest shown there"},
	{store.ErrIndeterminate, http.StatusServiceUnavailable, client.CodeIndeterminate, "State not known", "denying still works; look at the disk that holds the database, and run `mcpguardd doctor`"},
	{store.ErrNotRecorded, http.StatusServiceUnavailable, client.CodeNotRecorded, "Not recorded", "nothing was changed; look at the disk that holds the database, and try again"},
	{store.ErrShut, http.StatusServiceUnavailable, client.CodeStopping, "Stopping", "try again; the next call starts the daemon"},
	{guard.ErrTransition, http.StatusConflict, client.CodeTransition, "Not possible now", "review it again with `approve show`"},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, client.CodeTooLate, "Timed out", "look at what became of it before trying again"},
}

// remedies tell an approver that a rule refused what to do.
var remedies = map[ipc.ApproverRule]string{
	ipc.RuleOtherUser:  "decide as the user who runs the daemon",
	ipc.RuleUnseen:     "decide in a terminal of the machine and container in which the daemon runs",
	ipc.RuleClient:     "decide in a terminal that the client did not start",
	ipc.RuleDescends:   "open another terminal window, outside the agent, and decide there",
	ipc.RuleUpstream:   "decide in a terminal of your own",
	ipc.RuleNoTerminal: "decide in a terminal; only a closed test set-up should set `approvers: {unsigned: any}`",
	ipc.RuleOrphaned:   "run approve directly in a terminal, not in the background of a shell that has ended",
}

// problem is the only place where errors become answers. Unknown errors are
// logged and answered without detail.
func (a *API) problem(err error) *client.Problem {
	var p *client.Problem
	if errors.As(err, &p) {
		return p
	}
	var refusal *ipc.ApproverRefusal
	if errors.As(err, &refusal) {
		return &client.Problem{
			Status: http.StatusForbidden, Code: string(refusal.Rule), Title: "Not permitted to decide",
			Detail: refusal.Text, Remedy: remedies[refusal.Rule],
		}
	}
	var state *store.StateError
	if errors.As(err, &state) {
		return stateProblem(state)
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return &client.Problem{
			Status: http.StatusRequestEntityTooLarge, Code: client.CodeTooLarge, Title: "Body too large",
			Detail: fmt.Sprintf("the body has more than %d bytes", large.Limit),
		}
	}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return &client.Problem{Status: s.status, Code: s.code, Title: s.title, Detail: err.Error(), Remedy: s.remedy}
		}
	}
	if errors.Is(err, context.Canceled) {
		return &client.Problem{Status: http.StatusServiceUnavailable, Code: client.CodeStopping, Title: "Stopping", Detail: "the request ended before it was done"}
	}
	a.log.Error("answering a request of the control API", "error", err)
	return &client.Problem{
		Status: http.StatusInternalServerError, Code: client.CodeInternal, Title: "Internal error",
		Detail: "the daemon could not do this", Remedy: "the cause is in the daemon's log; `mcpguardd doctor` names the file",
	}
}

// stateProblem says that an approval can no longer be decided.
func stateProblem(s *store.StateError) *client.Problem {
	p := &client.Problem{
		Status: http.StatusConflict, Title: "Not pending", Code: client.CodeEnded,
		Detail: s.Error(), State: string(s.Status), Remedy: "nothing is left to decide here",
	}
	switch s.Status {
	case guard.Approved, guard.Denied, guard.Executing, guard.Executed, guard.Failed, guard.Unknown:
		p.Code, p.Title = client.CodeDecided, "Already decided"
		p.Detail = fmt.Sprintf("approval %s is already %s", s.ID, s.Status)
		if s.Why != "" {
			p.Detail += ": " + s.Why
		}
		p.Remedy = fmt.Sprintf("see who decided, and what became of it, with `approve show %s`", s.ID)
	case guard.Stale:
		p.Remedy = "its target changed; if the call still waits, a fresh approval took its place"
	case guard.Expired, guard.Lapsed:
		p.Remedy = "if it is still wanted, the agent makes the call again"
	}
	return p
}

func badRequest(format string, args ...any) *client.Problem {
	return &client.Problem{Status: http.StatusBadRequest, Code: client.CodeBadRequest, Title: "Bad request", Detail: fmt.Sprintf(format, args...)}
}

func writeProblem(w http.ResponseWriter, p *client.Problem) {
	p.Type = "urn:mcpguard:problem:" + p.Code
	b, err := json.Marshal(p)
	if err != nil {
		p.Approval = nil // the only member that comes from outside
		b, _ = json.Marshal(p)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_, _ = w.Write(b) // the reader is gone and needs no answer
}
