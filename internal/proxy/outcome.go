package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/store"
)

// execution is one call from its intent to its receipt.
type execution struct {
	call    *call
	intent  guard.Intent
	started time.Time
	end     ending
}

// ending is what the upstream's answer, or the lack of one, says.
type ending struct {
	outcome guard.Outcome
	final   bool   // the upstream has answered: it will change nothing more for this call
	detail  string // a sentence
	note    string // for the record: anything else about the answer
	frame   []byte // for the client
	raw     []byte // the upstream's result or error
	clean   []byte // the same without secrets
}

// run sends a call and waits for its end. If a task answers the call, that is
// the end of the task.
func (s *session) run(c *call, b *prepared) ending {
	if err := s.send(c, b.preview); err != nil {
		s.cfg.Log.Warn("sending a call", "call", c.tc.ID, "err", err)
	}
	limit := s.timeout(b.tool)
	a := s.await(context.Background(), c.req, limit)
	end := s.ending(c, b, a, limit)
	if a.task == nil {
		return end
	}
	s.reply(c.req, end.frame)  // the client goes on with the task
	switch (<-a.task).status { // when the upstream ends, every task ends
	case "completed":
		end.outcome, end.final = guard.OutcomeOK, true
	case "failed":
		end.outcome, end.final, end.detail = guard.OutcomeError, true, "the task failed"
	case "cancelled":
		end.outcome, end.final, end.detail = guard.OutcomeUnknown, true, "the task was cancelled"
	default:
		end.outcome, end.final, end.detail = guard.OutcomeUnknown, false, "the server ended before the task did"
	}
	return end
}

// errTimeout means that the upstream did not answer in time.
var errTimeout = errors.New("the server did not answer in time")

// noAnswer says that no answer came in time, and what came instead. The ID is
// text of the server, so it is cut and written in ASCII.
func (s *session) noAnswer(limit time.Duration) string {
	stray := ""
	s.update(func(in *inflight) { stray = in.stray })
	text := fmt.Sprintf("the server did not answer within %s", limit)
	if stray == "" {
		return text
	}
	if words, isText := strings.CutPrefix(stray, `"`); isText {
		words = strings.TrimSuffix(words, `"`)
		stray = strconv.QuoteToASCII(words[:min(len(words), maxStray)])
	}
	return text + " (it sent an answer to the id " + stray + ", which no open request has)"
}

// maxStray is how many bytes of an unknown ID are quoted.
const maxStray = 40

// await waits for the upstream's answer. The time that the upstream waits for
// the client does not count.
func (s *session) await(ctx context.Context, r *request, limit time.Duration) answer {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case a := <-r.answer:
			return a
		case <-ctx.Done():
			select {
			case a := <-r.answer: // it came at the same moment
				return a
			default:
				return answer{err: context.Cause(ctx)}
			}
		case <-timer.C:
			asking := false
			s.update(func(in *inflight) { asking = len(in.server) > 0 })
			if !asking {
				return answer{err: errTimeout}
			}
			timer.Reset(limit)
		}
	}
}

// ending interprets the upstream's answer.
func (s *session) ending(c *call, b *prepared, a answer, limit time.Duration) ending {
	var refused *jsonrpc.Refusal
	unknown := reply{Status: replyUnknown, ApprovalID: c.approval,
		Repair: "Read the target to see whether the change was made. Do not repeat the call blindly."}
	switch {
	case errors.As(a.err, &refused):
		unknown.Reason = "the " + answerRefused(refused.Reason) + ", so whether it made the change is not known from it"
		return ending{outcome: guard.OutcomeUnknown, final: true, detail: unknown.Reason, frame: ownResult(c, unknown)}
	case errors.Is(a.err, errTimeout):
		unknown.Reason = s.noAnswer(limit) + "; whether it made the change is not known yet"
		return ending{outcome: guard.OutcomeUnknown, detail: unknown.Reason, frame: ownResult(c, unknown)}
	case a.err != nil:
		unknown.Reason = "the server ended before it answered; whether it made the change is not known yet"
		return ending{outcome: guard.OutcomeUnknown, detail: unknown.Reason, frame: ownResult(c, unknown)}
	}
	if s.conn.Unreported(c.req.id) {
		unknown.Reason = "the client did not report how the tool ended, so whether it made the change is not known from it"
		return ending{outcome: guard.OutcomeUnknown, final: true, detail: unknown.Reason, frame: ownResult(c, unknown)}
	}
	end := ending{outcome: outcomeOf(&a.msg), final: a.task == nil, raw: payload(&a.msg), note: mendedNote(a.mended)}
	if end.outcome == guard.OutcomeIncomplete {
		end.detail = "the server asks for more input before it goes on"
	}
	end.frame, end.clean = s.release(c, &a.msg, outputLimit(b.verdict), "The call was executed; only its answer is held back. ")
	return end
}

// outcomeOf returns the outcome that an answer of the upstream reports.
func outcomeOf(m *jsonrpc.Message) guard.Outcome {
	if !m.Error.IsZero() {
		return guard.OutcomeError
	}
	if at, ok := jsonrpc.Member(m.Raw, m.Result, "isError"); ok {
		if failed, plain := jsonrpc.Bool(m.Raw, at); failed || !plain {
			return guard.OutcomeError
		}
	}
	if at, ok := jsonrpc.Member(m.Raw, m.Result, "resultType"); ok {
		if kind, _ := jsonrpc.String(m.Raw, at); kind == "input_required" {
			return guard.OutcomeIncomplete
		}
	}
	return guard.OutcomeOK
}

func payload(m *jsonrpc.Message) []byte {
	if !m.Error.IsZero() {
		return m.ErrorRaw()
	}
	return m.ResultRaw()
}

// receipt determines what became of an execution from the upstream's answer
// and the current state of the target.
func (s *session) receipt(e *execution) guard.Receipt {
	r := guard.Receipt{
		CallID: e.intent.CallID, Outcome: e.end.outcome, Detail: e.end.detail,
		StartedAt: e.started, ResultSize: len(e.end.raw), ReadBack: guard.Unverifiable,
	}
	if e.end.raw != nil {
		r.Result = digest.Sum(e.end.raw)
	}
	if e.end.final {
		found := readBack(s.ctx, s.reader(e.call), e.intent.Effects)
		r.ReadBack, r.After = found.Result, found.After
		if found.Result == guard.Untouched && r.Outcome == guard.OutcomeOK && holdsRecord(e.intent.Effects) {
			r.ReadBack, found.Detail = guard.Diverged, "the server says that it is done, but "+found.Detail
		}
		if r.ReadBack == guard.Diverged {
			r.Difference = found.Difference
		}
		if r.Detail == "" {
			r.Detail = found.Detail
		}
	}
	r.EndedAt = s.now()
	return r
}

// readBack reads the targets of effects. It reads records with reader, which
// may be nil.
func readBack(ctx context.Context, reader effect.Reader, effects []guard.Effect) effect.Found {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readBackTimeout)
	defer cancel()
	return effect.Verify(ctx, reader, effects)
}

// settleLate waits until the upstream has answered after all, or is gone, and
// then reconciles.
func (s *session) settleLate(e *execution, held *Lock) {
	a := answer{err: errUpstreamGone}
	select {
	case a = <-e.call.req.answer:
	case <-s.over: // not the server's end: its last answer may not have been read by then
		select {
		case a = <-e.call.req.answer:
		default:
		}
	}
	switch {
	case a.err != nil:
		<-s.conn.Done()
	case s.conn.Unreported(e.call.req.id):
		e.end.outcome, e.end.final, e.end.raw = guard.OutcomeUnknown, true, nil
	default:
		e.end.outcome, e.end.final, e.end.raw = outcomeOf(&a.msg), true, payload(&a.msg)
	}
	s.reconcile(e, held)
}

// reconcile determines by read-back what became of an execution whose upstream
// will change nothing more, and frees its targets.
func (s *session) reconcile(e *execution, held *Lock) {
	defer held.Release()
	ctx, cancel := durably(s.ctx)
	defer cancel()
	said := guard.Outcome("")
	if e.end.final {
		said = e.end.outcome
	}
	r := reconciled(s.ctx, s.reader(e.call), e.intent, said, s.now())
	r.StartedAt = e.started
	if e.end.raw != nil {
		r.Result, r.ResultSize = digest.Sum(e.end.raw), len(e.end.raw)
	}
	settle(ctx, s.cfg.Store, s.cfg.Log, e.intent, r)
}

// reconciled returns the receipt for an execution after the fact. said is what
// the upstream answered, "" if it did not.
func reconciled(ctx context.Context, reader effect.Reader, in guard.Intent, said guard.Outcome, now time.Time) guard.Receipt {
	r := guard.Receipt{CallID: in.CallID, Reconciled: true, StartedAt: in.At, EndedAt: now}
	found := readBack(ctx, reader, in.Effects)
	r.ReadBack, r.After, r.Detail = found.Result, found.After, found.Detail
	if found.Result == guard.Diverged {
		r.Difference = found.Difference
	}
	switch r.ReadBack {
	case guard.Verified:
		r.Outcome = guard.OutcomeOK
	case guard.Untouched:
		r.Outcome = guard.OutcomeError
		r.Detail = "not executed: the target is as it was before"
	default:
		r.Outcome = guard.OutcomeUnknown
		if said == guard.OutcomeOK || said == guard.OutcomeError {
			r.Outcome = said
		}
	}
	return r
}

// reconciler stores late outcomes.
type reconciler interface {
	Reconcile(ctx context.Context, id guard.CallID, r guard.Receipt) (guard.Approval, error)
	RaiseAlert(ctx context.Context, a store.Alert) error
}

// settle stores a late outcome. It leaves the outcome to a human if the target
// is neither as before nor as approved, or cannot be read back.
func settle(ctx context.Context, st reconciler, log *slog.Logger, in guard.Intent, r guard.Receipt) {
	if r.Outcome != guard.OutcomeUnknown {
		if _, err := st.Reconcile(ctx, in.CallID, r); err != nil {
			log.Error("reconciling a call", "call", in.CallID, "err", err)
		}
		if r.ReadBack == guard.Diverged {
			if err := st.RaiseAlert(ctx, divergedAlert(in, r, false)); err != nil {
				log.Error("raising an alert", "call", in.CallID, "err", err)
			}
		}
		return
	}
	what := "is neither as before nor as approved"
	if r.ReadBack == guard.Unverifiable {
		what = "could not be read back"
	}
	if err := st.RaiseAlert(ctx, store.Alert{
		Tenant: in.Tenant, Kind: "outcome_unknown", Key: string(in.CallID), Subject: in.ApprovalID,
		Text: "A call of " + in.Server + "/" + in.Tool + " has no known outcome: its target " + what + ". Look at it.",
	}); err != nil {
		log.Error("raising an alert", "call", in.CallID, "err", err)
	}
}

// diverged alerts a human that a target is not as approved.
func (s *session) diverged(e *execution, r guard.Receipt) {
	s.alert(divergedAlert(e.intent, r, e.call.decision.Rule == guard.RulePost))
}

// divergedAlert returns the alert about one execution. unasked means that no
// one had approved its change.
func divergedAlert(in guard.Intent, r guard.Receipt, unasked bool) store.Alert {
	text := "After a call of " + in.Server + "/" + in.Tool + " the target is not what was approved."
	if unasked {
		text = "A call of " + in.Server + "/" + in.Tool + " ran without asking, and the target is not what it should be afterwards."
	}
	return store.Alert{Tenant: in.Tenant, Kind: "diverged", Key: string(in.CallID), Subject: in.ApprovalID, Text: text, Detail: r.Detail}
}

// ruleOutput refuses an answer that is too long; repairOutput tells the agent
// what to do.
const ruleOutput guard.Rule = "limit_output"

const repairOutput = "Ask for less, for example for a part of the file or for fewer results."

// release returns what the client gets of an upstream's answer: the same
// bytes, but without secrets, with text in the guard's form marked, and only
// up to limit. executed is the text for an answer that is held back. clean is
// the payload without secrets, or nil if it is not known.
func (s *session) release(c *call, m *jsonrpc.Message, limit int, executed string) (frame, clean []byte) {
	if why := s.foreignInput(m); why != "" {
		return ownResult(c, reply{Status: replyError, Rule: guard.RuleMethod, Reason: executed + why}), nil
	}
	if size := len(payload(m)); size > limit {
		return ownResult(c, reply{Status: replyError, Rule: ruleOutput,
			Reason: fmt.Sprintf("%sThe answer of %s has %d bytes; the policy lets %d through.", executed, c.tc.Tool, size, limit),
			Repair: repairOutput}), nil
	}
	plain := s.plainVoice(*m, false)
	if plain.Raw == nil {
		return ownResult(c, reply{Status: replyError, Rule: guard.RuleMethod, Reason: executed + "The answer imitates the guard's and is not passed on."}), nil
	}
	frame, clean = s.redacted(&plain)
	if clean == nil {
		return ownResult(c, reply{Status: replyError, Rule: guard.RuleRedactionMarker,
			Reason: executed + "The answer could not be searched for secrets completely, so it is not passed on.",
			Repair: repairOutput}), nil
	}
	return frame, clean
}

// redacted removes secrets from an answer. If there are none, it returns the
// upstream's own bytes. If the search was not complete, clean is nil and the
// frame an error.
func (s *session) redacted(m *jsonrpc.Message) (frame, clean []byte) {
	at := m.Result
	if !m.Error.IsZero() {
		at = m.Error
	}
	value := at.Of(m.Raw)
	clean, _, err := s.cfg.Redactor.JSON(value)
	switch {
	case err != nil || clean == nil:
		// fail closed: what was not searched may hold secrets
		return jsonrpc.ErrorReply(m.ID, jsonrpc.CodeInternalError, "mcpguard: the answer could not be searched for secrets completely", nil), nil
	case len(clean) == len(value) && len(value) > 0 && &clean[0] == &value[0]:
		return m.Raw, clean
	}
	frame = jsonrpc.ReplaceSpans(m.Raw, []jsonrpc.Edit{{Span: at, With: clean}})
	if frame == nil {
		return jsonrpc.ErrorReply(m.ID, jsonrpc.CodeInternalError, "mcpguard: the answer could not be redacted", nil), nil
	}
	return frame, clean
}

// timeout returns how long the upstream may take.
func (s *session) timeout(tool *policy.Tool) time.Duration {
	if tool != nil && tool.Limits.Timeout > 0 {
		return tool.Limits.Timeout
	}
	if server, ok := s.cfg.Policy().Server(s.cfg.Session.Server); ok && server.Config.Timeout > 0 {
		return time.Duration(server.Config.Timeout)
	}
	return defaultTimeout
}
