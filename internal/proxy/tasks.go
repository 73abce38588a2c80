package proxy

import (
	"fmt"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/policy"
)

// A server may answer a call with a task and deliver the result later: with
// tasks/result in the legacy era (2025-11-25), inside the task itself in the
// tasks extension of the modern era. Such results are held to the policy on
// the call that began the task.

// maxTasks is how many tasks of one session are remembered with their call.
const maxTasks = 4096

// taskLimit is what the policy lets through of a task: as much as of an answer
// to the call that began it.
type taskLimit struct {
	tool   string
	output int // bytes
}

// taskTable remembers which call began a task; the oldest is dropped first.
// The zero value is ready to use.
type taskTable struct {
	limits map[string]taskLimit
	order  []string
}

// add records a task. If two calls were answered with the same task, the
// tighter limit applies.
func (t *taskTable) add(id string, l taskLimit) {
	if known, ok := t.limits[id]; ok {
		if l.output < known.output {
			t.limits[id] = l
		}
		return
	}
	if t.limits == nil {
		t.limits = map[string]taskLimit{}
	}
	if len(t.order) >= maxTasks {
		delete(t.limits, t.order[0])
		t.order = t.order[1:]
	}
	t.limits[id] = l
	t.order = append(t.order, id)
}

// limitOf returns the limit of a task. A task that no known call of this
// session began gets the tightest limit of all tools of the server.
func (s *session) limitOf(id string) taskLimit {
	var l taskLimit
	known := false
	s.update(func(in *inflight) { l, known = in.began.limits[id] })
	if known {
		return l
	}
	v := policy.Verdict{}
	tighten := func(n int64) {
		if n > 0 && (v.Output == 0 || n < v.Output) {
			v.Output = n
		}
	}
	if server, ok := s.cfg.Policy().Server(s.cfg.Session.Server); ok {
		for _, t := range server.Tools() {
			tighten(t.Limits.Output)
			if t.Config != nil && (t.Config.Sensitive.Always || len(t.Config.Sensitive.When) > 0) {
				tighten(policy.SensitiveOutput)
			}
		}
	}
	return taskLimit{tool: "the task", output: outputLimit(&v)}
}

// releaseTask returns what the client gets of an answer about a task.
func (s *session) releaseTask(r *request, m jsonrpc.Message) []byte {
	if r.method == "tasks/list" {
		frame, _ := s.redacted(&m) // it holds no results
		return frame
	}
	limit := s.limitOf(r.task)
	if r.method == "tasks/result" || m.Result.IsZero() {
		if size := len(payload(&m)); size > limit.output {
			w := heldBack(limit, size)
			if r.method == "tasks/result" {
				return jsonrpc.Result(r.id, ownAnswer(w, r.modern))
			}
			return jsonrpc.ErrorReply(r.id, jsonrpc.CodeInternalError, "mcpguard: "+w.Reason, w)
		}
		frame, _ := s.redacted(&m)
		return frame
	}
	capped, ok := s.capTask(m, m.Result, limit)
	if !ok {
		w := heldBack(limit, len(payload(&m)))
		return jsonrpc.ErrorReply(r.id, jsonrpc.CodeInternalError, "mcpguard: "+w.Reason, w)
	}
	frame, _ := s.redacted(&capped)
	return frame
}

// cleanTask returns what the client gets of a notification about a task. One
// that cannot be passed on has no bytes; the client can still ask for the
// task.
func (s *session) cleanTask(m jsonrpc.Message) jsonrpc.Message {
	if m.Params.IsZero() {
		return m
	}
	id := taskID(m.Raw, taskIn(m.Raw, m.Params))
	capped, ok := s.capTask(m, m.Params, s.limitOf(id))
	if !ok {
		m.Raw = nil
		return m
	}
	return s.cleanLog(capped)
}

// capTask replaces a task's result and error by a reply of the guard if they
// are too long. It fails if the rest of the message is too long too.
func (s *session) capTask(m jsonrpc.Message, at jsonrpc.Span, limit taskLimit) (jsonrpc.Message, bool) {
	obj, rest := taskIn(m.Raw, at), at.Len()
	var edits []jsonrpc.Edit
	for f := range jsonrpc.Members(m.Raw, obj) {
		size := f.Value.Len()
		if size <= limit.output {
			continue
		}
		switch f.Name {
		case "result":
			edits = append(edits, jsonrpc.Edit{Span: f.Value, With: rawJSON(ownAnswer(heldBack(limit, size), true))})
		case "error":
			w := heldBack(limit, size)
			edits = append(edits, jsonrpc.Edit{Span: f.Value, With: rawJSON(map[string]any{
				"code": jsonrpc.CodeInternalError, "message": "mcpguard: " + w.Reason, "data": w,
			})})
		default:
			continue // part of the rest
		}
		rest -= size
	}
	if rest > max(limit.output, minTask) {
		return m, false
	}
	if len(edits) == 0 {
		return m, true
	}
	raw := jsonrpc.ReplaceSpans(m.Raw, edits)
	cut, err := jsonrpc.Admit(raw, s.cfg.Limits)
	if raw == nil || err != nil {
		return m, false // fail closed: the guard does not pass on what it cannot read back
	}
	return cut, true
}

// minTask is how long a task may be without its result, in bytes, however
// small the policy's limit is: it has an ID, a status and times.
const minTask = 4 << 10

// heldBack is the guard's reply in place of a result that is too long.
func heldBack(l taskLimit, size int) reply {
	return reply{Status: replyError, Rule: ruleOutput,
		Reason: fmt.Sprintf("The task has gone on; only its result is held back. The result of %s has %d bytes; the policy lets %d through.", l.tool, size, l.output),
		Repair: repairOutput}
}

// taskOf returns the ID of the task in an answer, or "" if the answer is the
// result itself. In the legacy era (2025-11-25) the task is a member of the
// result; in the tasks extension it is the result.
func taskOf(m *jsonrpc.Message) string {
	if m.Result.IsZero() {
		return ""
	}
	if at, ok := jsonrpc.Member(m.Raw, m.Result, "resultType"); ok {
		if kind, _ := jsonrpc.String(m.Raw, at); kind == "task" {
			return taskID(m.Raw, m.Result)
		}
	}
	if at, ok := jsonrpc.Member(m.Raw, m.Result, "task"); ok {
		return taskID(m.Raw, at)
	}
	return ""
}

// taskID returns the ID in a task or in a question about one, or "" if none
// can be remembered.
func taskID(raw []byte, obj jsonrpc.Span) string {
	at, ok := jsonrpc.Member(raw, obj, "taskId")
	if !ok {
		return ""
	}
	id, ok := jsonrpc.String(raw, at)
	if !ok || len(id) > 1024 {
		return ""
	}
	return id
}

// taskAnswer checks whether an answer to a question about a task shows that
// the task has ended.
func (s *session) taskAnswer(r *request, m *jsonrpc.Message) {
	if m.Result.IsZero() {
		return
	}
	if r.method == "tasks/result" {
		// The result itself has no status; its task has ended.
		if id := relatedTask(m); id != "" {
			s.taskEnded(id, statusIn(m.Raw, m.Result))
		}
		return
	}
	s.taskState(m, m.Result)
}

// taskStatus does the same for a notification about a task.
func (s *session) taskStatus(m *jsonrpc.Message) { s.taskState(m, m.Params) }

func (s *session) taskState(m *jsonrpc.Message, at jsonrpc.Span) {
	obj := taskIn(m.Raw, at)
	status := textAt(m.Raw, obj, "status")
	if result, ok := jsonrpc.Member(m.Raw, obj, "result"); ok && status == "completed" {
		status = statusIn(m.Raw, result)
	}
	s.taskEnded(taskID(m.Raw, obj), status)
}

// taskIn returns the task that an object is, or has as a member.
func taskIn(raw []byte, obj jsonrpc.Span) jsonrpc.Span {
	if at, ok := jsonrpc.Member(raw, obj, "task"); ok {
		return at
	}
	return obj
}

// statusIn returns the status of a task that has this result.
func statusIn(raw []byte, result jsonrpc.Span) string {
	if v, ok := jsonrpc.Member(raw, result, "isError"); ok {
		if failed, plain := jsonrpc.Bool(raw, v); failed || !plain {
			return "failed"
		}
	}
	return "completed"
}

// taskAsked returns the task that a request asks about, or "".
func taskAsked(m *jsonrpc.Message) string {
	switch m.Method {
	case "tasks/get", "tasks/result", "tasks/cancel", "tasks/update":
		return taskID(m.Raw, m.Params)
	}
	return ""
}

func relatedTask(m *jsonrpc.Message) string {
	at, ok := jsonrpc.Lookup(m.Raw, m.Result, "_meta", "io.modelcontextprotocol/related-task")
	if !ok {
		return ""
	}
	return taskID(m.Raw, at)
}

func (s *session) taskEnded(id, status string) {
	switch status {
	case "completed", "failed", "cancelled":
	default:
		return
	}
	var t openTask
	s.update(func(in *inflight) {
		t = in.tasks[id]
		delete(in.tasks, id)
	})
	if t.of != nil {
		t.of.slot.leave()        // the client is told of the end next and may call again at once
		t.end <- taskEnd{status} // has room for one, and is in the map once
	}
}
