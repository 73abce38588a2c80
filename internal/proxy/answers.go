package proxy

import (
	"errors"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// metaAnswer is the member of _meta that holds the guard's own answer.
const metaAnswer = "mcpguard/answer"

// reply is the guard's own answer to a call, as the agent reads it.
type reply struct {
	Status     string           `json:"status"`
	Rule       guard.Rule       `json:"rule,omitempty"`
	Reason     string           `json:"reason,omitempty"`
	Repair     string           `json:"repair,omitempty"`
	ApprovalID guard.ApprovalID `json:"approvalId,omitempty"`
	ExpiresAt  string           `json:"expiresAt,omitempty"`
	Next       string           `json:"next,omitempty"`
}

// The statuses of the guard's own answers.
const (
	replyBlocked    = "blocked_pending_approval"
	replyDenied     = "denied"
	replyExpired    = "expired"
	replyLapsed     = "lapsed"
	replyStale      = "stale"
	replyCancelled  = "cancelled"
	replySuperseded = "superseded"
	replyUnknown    = "unknown"
	replyError      = "error"
)

// ownResult encodes the guard's own reply to a call.
func ownResult(c *call, w reply) []byte {
	if c.req.method != "tools/call" {
		// Only tools have results with isError.
		return jsonrpc.ErrorReply(c.req.id, jsonrpc.CodeInternalError, "mcpguard: "+w.Reason, w)
	}
	return jsonrpc.Result(c.req.id, ownAnswer(w, c.modern))
}

// ownAnswer returns a tool result made by the guard. It has no
// structuredContent: clients check that against the tool's outputSchema even
// if isError is set, and would hide the answer from the model.
func ownAnswer(w reply, modern bool) any {
	type block struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	result := struct {
		Content    []block          `json:"content"`
		IsError    bool             `json:"isError"`
		Meta       map[string]reply `json:"_meta"`
		ResultType string           `json:"resultType,omitempty"`
	}{
		Content: []block{{Type: "text", Text: string(rawJSON(w))}},
		IsError: true,
		Meta:    map[string]reply{metaAnswer: w},
	}
	if modern {
		result.ResultType = "complete"
	}
	return result
}

// refusal ends a call without an answer from the upstream. It implements
// error, so the steps of a call can return it.
type refusal struct {
	status audit.Status // how the call is completed
	reply  reply
	silent bool // the client wants no answer, or is gone
}

func (r *refusal) Error() string { return r.reply.Status + ": " + r.reply.Reason }

// denied returns the refusal for a decision that denies the call.
func denied(d guard.Decision) *refusal {
	return &refusal{status: audit.StatusDenied, reply: reply{Status: replyDenied, Rule: d.Rule, Reason: d.Reason, Repair: d.Repair}}
}

// broken refuses a call because a step failed. The agent reads reason and
// repair; the cause goes to the log.
func broken(rule guard.Rule, reason, repair string) *refusal {
	return &refusal{status: audit.StatusDenied, reply: reply{Status: replyDenied, Rule: rule, Reason: reason, Repair: repair}}
}

// againIfWanted tells the agent what to do after a call that ended before it
// ran.
const againIfWanted = "Make the call again if it is still wanted."

// gaveUp refuses a call whose context ended before anything ran.
func gaveUp(cause error) *refusal {
	r := &refusal{status: audit.StatusCancelled, reply: reply{Status: replyCancelled, Reason: "the call ended before it ran; nothing was changed", Next: againIfWanted}}
	switch {
	case errors.Is(cause, errCancelled):
		r.silent = true
	case errors.Is(cause, errPaused):
		r.reply = pausedReply()
	case errors.Is(cause, errUpstreamGone):
		r.reply.Reason = "the server ended before the call ran; nothing was changed"
	}
	return r
}

// early answers a call that is still held before its client gives up.
func early(a guard.Approval) *refusal {
	return &refusal{status: audit.StatusBlocked, reply: reply{
		Status: replyBlocked, ApprovalID: a.ID, ExpiresAt: a.Expires.Wall.UTC().Format(time.RFC3339),
		Reason: "a human has to approve this call; nothing was changed yet",
		Next: "Tell the user that approval " + string(a.ID) + " is waiting. Then make exactly the same call again: it continues to wait, " +
			"and runs at once when the approval is given.",
	}}
}
