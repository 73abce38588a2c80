package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/upstream"
)

// readUpstream handles what the upstream sends until it ends.
func (s *session) readUpstream() {
	var end error
	defer func() { s.upstreamEnded(end) }()
	for {
		frame, err := s.conn.Next()
		var refusal *jsonrpc.Refusal
		if errors.As(err, &refusal) {
			s.refuseUpstream(refusal)
			continue
		}
		var lines *upstream.LinesError
		if errors.As(err, &lines) {
			s.refuseAll(s.refuseUpstream, lines.Refusals, &jsonrpc.Refusal{Reason: jsonrpc.SeveralLines, Detail: fmt.Sprintf("%d bytes", lines.Size)})
			continue
		}
		var garbage *upstream.GarbageError
		if errors.As(err, &garbage) {
			s.refuseUpstream(&jsonrpc.Refusal{Reason: jsonrpc.NotAnObject, Detail: fmt.Sprintf("a line of %d bytes that is no message", garbage.Size)})
			continue
		}
		if err != nil {
			end = err
			return
		}
		m, err := jsonrpc.Admit(frame, s.cfg.Limits)
		mended := 0
		if errors.As(err, &refusal) {
			if refusal.Reason == jsonrpc.Batch {
				s.refuseAll(s.refuseUpstream, jsonrpc.Refused(frame, jsonrpc.Batch), refusal)
				continue
			}
			if m, mended = s.mended(frame, refusal); mended == 0 {
				s.refuseUpstream(refusal)
				continue
			}
			err = nil
		}
		if err != nil {
			return // fail closed: an error that is not a refusal admits nothing
		}
		s.fromUpstream(m, mended)
	}
}

// mended reads an answer that was refused only for invalid characters, with
// U+FFFD in their place, and returns how many there were. It returns 0 if the
// frame is not an answer or was refused for another reason too.
func (s *session) mended(frame []byte, r *jsonrpc.Refusal) (jsonrpc.Message, int) {
	if r.Kind != jsonrpc.Response || r.Reason != jsonrpc.InvalidUTF8 && r.Reason != jsonrpc.LoneSurrogate {
		return jsonrpc.Message{}, 0
	}
	frame, places := jsonrpc.Mend(frame)
	m, err := jsonrpc.Admit(frame, s.cfg.Limits)
	if err != nil {
		return jsonrpc.Message{}, 0
	}
	s.cfg.Log.Warn("an answer of the server holds what is no character", "session", s.cfg.Session.ID, "id", m.ID.String(), "places", places)
	return m, places
}

// mendedNote is the note about such an answer in the record of the call.
func mendedNote(places int) string {
	switch places {
	case 0:
		return ""
	case 1:
		return "the server's answer had a byte or a surrogate that is no character; U+FFFD stands in its place"
	}
	return fmt.Sprintf("the server's answer had %d bytes or surrogates that are no characters; U+FFFD stands in their places", places)
}

// refuseUpstream drops a frame that is ambiguous or malformed. If a request
// waits for it as an answer, that request is told.
func (s *session) refuseUpstream(r *jsonrpc.Refusal) {
	s.stopped(jsonrpc.FromServer, "", guard.Decision{Rule: guard.RuleAdmission, Reason: r.Error()})
	if r.ID.IsZero() && r.Kind == jsonrpc.Response {
		r.ID = s.onlyAsked()
	}
	if r.ID.IsZero() {
		return
	}
	switch r.Kind {
	case jsonrpc.Request:
		_ = s.toUpstream(jsonrpc.ErrorReply(r.ID, r.Reason.Code(), "the guard refused this message: "+r.Reason.String(), nil))
	case jsonrpc.Response:
		s.deliver(r.ID, answer{err: r}, func(req *request) []byte {
			return jsonrpc.ErrorReply(req.id, jsonrpc.CodeInternalError,
				"mcp"+answerRefused(r.Reason), nil)
		})
	default:
		// not an answer to anybody
	}
}

// answerRefused says why an answer of the server does not reach the client.
func answerRefused(r jsonrpc.Reason) string {
	why := ""
	switch r {
	case jsonrpc.SeveralLines:
		why = ": it takes several lines, which the protocol does not allow"
	case jsonrpc.Batch:
		why = ": it came in a batch, which the protocol does not allow"
	}
	return "guard refused the server's answer" + why + " (" + r.String() + ")"
}

// refuseAll refuses each of the messages that were told apart in what was
// refused as a whole, or that as one if there are none.
func (s *session) refuseAll(refuse func(*jsonrpc.Refusal), each []*jsonrpc.Refusal, whole *jsonrpc.Refusal) {
	if len(each) == 0 {
		refuse(whole)
	}
	for _, r := range each {
		refuse(r)
	}
}

func (s *session) fromUpstream(m jsonrpc.Message, mended int) {
	switch m.Kind {
	case jsonrpc.Response:
		s.upstreamResponse(m, mended)
	case jsonrpc.Request:
		s.upstreamRequest(m)
	case jsonrpc.Notification:
		s.upstreamNotification(m)
	default:
		// fail closed: a message of an unknown kind is dropped
	}
}

// upstreamResponse delivers an answer to what waits for it: the guard itself,
// a goroutine that follows a call, or the client.
func (s *session) upstreamResponse(m jsonrpc.Message, mended int) {
	m = s.asAsked(m)
	a := answer{msg: m, mended: mended}
	s.deliver(m.ID, a, func(r *request) []byte { return s.passing(r, m) })
}

// asAsked restores the ID of the request if a server has turned a number into
// a string and only that request can be meant.
func (s *session) asAsked(m jsonrpc.Message) jsonrpc.Message {
	number, ok := m.ID.AsInteger()
	if !ok {
		return m
	}
	meant := false
	s.update(func(in *inflight) {
		_, text := in.client[m.ID]
		_, own := in.own[m.ID]
		r := in.client[number]
		meant = !text && !own && r != nil && !r.received && r.stage != stageHeld
	})
	if !meant {
		return m
	}
	out, err := jsonrpc.Admit(jsonrpc.ReplaceSpans(m.Raw, []jsonrpc.Edit{{Span: m.IDSpan, With: number.Raw()}}), s.cfg.Limits)
	if err != nil {
		return m // fail closed: it then answers nothing
	}
	return out
}

// deliver finds what waits for the answer to an ID. If no goroutine follows
// the request, pass makes the client's answer; it runs without the session's
// state locked.
func (s *session) deliver(id jsonrpc.ID, a answer, pass func(*request) []byte) {
	var own chan answer
	var r *request
	wanted := false
	s.update(func(in *inflight) {
		if own = in.own[id]; own != nil {
			delete(in.own, id)
			return
		}
		r = in.client[id]
		if r == nil || r.received || r.stage == stageHeld {
			r = nil // the upstream cannot answer what it was not asked
			return
		}
		r.received = true
		wanted = !r.answered
		if r.answer != nil && a.err == nil {
			if task := taskOf(&a.msg); task != "" {
				in.began.add(task, taskLimit{tool: r.tool, output: r.output})
				if _, open := in.tasks[task]; !open {
					a.task = make(chan taskEnd, 1)
					in.tasks[task] = openTask{a.task, r}
				}
			}
		}
		in.settle(r)
	})
	if r != nil && a.err == nil && a.msg.Error.IsZero() {
		s.stands(r)
	}
	switch {
	case own != nil:
		own <- a // has room for one, and is in the map once
	case r == nil:
		s.update(func(in *inflight) { in.stray = id.String() })
		s.cfg.Log.Debug("dropped an answer to a request that is not open", "session", s.cfg.Session.ID, "id", id.String())
	case r.answer != nil:
		r.answer <- a // as above
	case wanted:
		s.reply(r, pass(r))
	}
}

// passing makes the client's answer to a request that no goroutine follows.
func (s *session) passing(r *request, m jsonrpc.Message) []byte {
	switch r.method {
	case "tools/list":
		return s.filterList(&m)
	case "initialize", "server/discover":
		s.serverInfo(&m)
	case "tasks/get", "tasks/result", "tasks/cancel", "tasks/update":
		s.taskAnswer(r, &m)
	}
	if why := s.foreignInput(&m); why != "" {
		return jsonrpc.ErrorReply(m.ID, jsonrpc.CodeMethodNotFound, why, nil)
	}
	id := m.ID
	if m = s.plainVoice(m, false); m.Raw == nil {
		return jsonrpc.ErrorReply(id, jsonrpc.CodeInternalError, "mcpguard: the server's answer imitates the guard's and was refused", nil)
	}
	if r.method == "initialize" {
		s.agreed(&m)
	}
	if r.method == "initialize" || r.method == "server/discover" {
		return m.Raw // it describes the server and holds no data
	}
	if strings.HasPrefix(r.method, "tasks/") {
		return s.releaseTask(r, m)
	}
	frame, _ := s.redacted(&m)
	return frame
}

// foreignInput returns why a message of the modern era that asks the client
// for something may not pass: the policy does not let the server ask for it.
// The questions are in an answer, or in a task that an answer or a
// notification reports.
func (s *session) foreignInput(m *jsonrpc.Message) string {
	for _, obj := range []jsonrpc.Span{m.Result, m.Params} {
		if obj.IsZero() {
			continue
		}
		if why := s.foreignQuestions(m, obj); why != "" {
			return why
		}
		if task, ok := jsonrpc.Member(m.Raw, obj, "task"); ok {
			if why := s.foreignQuestions(m, task); why != "" {
				return why
			}
		}
	}
	return ""
}

func (s *session) foreignQuestions(m *jsonrpc.Message, obj jsonrpc.Span) string {
	for f := range jsonrpc.Members(m.Raw, obj) {
		if !strings.EqualFold(f.Name, "inputRequests") {
			continue
		}
		if f.Name != "inputRequests" {
			return "mcpguard refused the server's answer: a member's name is ambiguous"
		}
		for q := range jsonrpc.Members(m.Raw, f.Value) {
			method := textAt(m.Raw, q.Value, "method")
			if method == "roots/list" {
				continue // whatever the client answers, the guard sends its own roots
			}
			if d := s.method(false, method); method == "" || d.Verdict != guard.Allow {
				s.stopped(jsonrpc.FromServer, method, d)
				return "mcpguard: the policy does not allow the server to ask this of the client"
			}
		}
	}
	return ""
}

// upstreamRequest forwards a request of the server to the client if the policy
// allows it. It answers roots/list itself.
func (s *session) upstreamRequest(m jsonrpc.Message) {
	if m.Method == "roots/list" {
		_ = s.toUpstream(s.rootsReply(m.ID))
		return
	}
	d := s.method(false, m.Method)
	if strings.HasPrefix(m.Method, notificationPrefix) {
		d = notRequest()
	}
	if d.Verdict != guard.Allow {
		s.stopped(jsonrpc.FromServer, m.Method, d)
		code, why := jsonrpc.CodeMethodNotFound, "the guard's policy does not allow this method"
		if d.Rule == guard.RuleSwitch {
			code, why = jsonrpc.CodeInternalError, "a person has paused this server"
		}
		_ = s.toUpstream(jsonrpc.ErrorReply(m.ID, code, why, nil))
		return
	}
	id := m.ID
	if m = s.plainVoice(m, false); m.Raw == nil {
		_ = s.toUpstream(jsonrpc.ErrorReply(id, jsonrpc.CodeInvalidRequest, "the request imitates the guard", nil))
		return
	}
	why := ""
	s.update(func(in *inflight) {
		_, open := in.server[m.ID]
		switch {
		case open:
			why = "a request with this id is in flight already"
		case len(in.server) >= maxAsked:
			why = "too many requests are in flight"
		default:
			in.server[m.ID] = m.Method
		}
	})
	if why != "" {
		_ = s.toUpstream(jsonrpc.ErrorReply(m.ID, jsonrpc.CodeInvalidRequest, why, nil))
		return
	}
	s.toClient(m.Raw)
}

func (s *session) upstreamNotification(m jsonrpc.Message) {
	d := s.method(false, m.Method)
	if !strings.HasPrefix(m.Method, notificationPrefix) {
		d = notRequest()
	}
	if strings.HasPrefix(m.Method, "notifications/tasks") {
		s.taskStatus(&m) // a call waits for it, whoever else may see it
	}
	if d.Verdict != guard.Allow {
		if d.Rule != guard.RuleSwitch { // messages of a paused server are not recorded
			s.stopped(jsonrpc.FromServer, m.Method, d)
		}
		return
	}
	if m = s.plainVoice(m, false); m.Raw == nil {
		return
	}
	switch m.Method {
	case "notifications/tools/list_changed":
		s.defs.invalidate()
	case "notifications/cancelled":
		if at, ok := m.Param("requestId"); ok {
			if id, ok := jsonrpc.IDFrom(m.Raw, at); ok {
				s.update(func(in *inflight) { delete(in.server, id) })
			}
		}
	case "notifications/progress":
		if s.forged(&m) {
			return
		}
	case "notifications/message":
		if m = s.cleanLog(m); m.Raw == nil {
			return
		}
	default:
		if strings.HasPrefix(m.Method, "notifications/tasks") {
			if s.foreignInput(&m) != "" {
				return // recorded there
			}
			if m = s.cleanTask(m); m.Raw == nil {
				return
			}
		}
	}
	s.toClient(m.Raw)
}

// cleanLog removes secrets from a log message of the server. A message that
// could not be searched completely is dropped.
func (s *session) cleanLog(m jsonrpc.Message) jsonrpc.Message {
	if m.Params.IsZero() {
		return m
	}
	params := m.ParamsRaw()
	clean, _, err := s.cfg.Redactor.JSON(params)
	switch {
	case err != nil || clean == nil:
		// fail closed: unsearched text may hold secrets
		m.Raw = nil
	case !bytes.Equal(clean, params):
		m.Raw = jsonrpc.ReplaceSpans(m.Raw, []jsonrpc.Edit{{Span: m.Params, With: clean}})
	}
	return m
}

// forged reports whether a progress notification is about a call that was not
// sent to the upstream: the client could take it for the guard's own.
func (s *session) forged(m *jsonrpc.Message) (yes bool) {
	at, ok := m.Param("progressToken")
	if !ok {
		return false
	}
	token, ok := jsonrpc.IDFrom(m.Raw, at)
	if !ok {
		return true
	}
	s.update(func(in *inflight) { yes = in.tokens[token] != nil })
	return yes
}

// upstreamEnded tells everything that waits for the upstream that no answer
// will come. end is the reason, if known.
func (s *session) upstreamEnded(end error) {
	var passing []*request
	var following []*request
	var own []chan answer
	var tasks []chan taskEnd
	early := false
	s.update(func(in *inflight) {
		in.gone, early = true, !in.closing
		for _, r := range in.client {
			switch {
			case r.received || r.stage == stageHeld:
			case r.answer != nil:
				r.received = true
				following = append(following, r)
			case !r.answered:
				passing = append(passing, r)
			}
		}
		for id, c := range in.own {
			own = append(own, c)
			delete(in.own, id)
		}
		for id, t := range in.tasks {
			tasks = append(tasks, t.end)
			delete(in.tasks, id)
		}
	})
	if early {
		s.sayEnded(end)
	}
	for _, r := range following {
		r.answer <- answer{err: errUpstreamGone}
	}
	for _, r := range passing {
		s.reply(r, s.goneReply(r.id))
	}
	for _, c := range own {
		c <- answer{err: errUpstreamGone}
	}
	for _, c := range tasks {
		c <- taskEnd{}
	}
	close(s.over)
	s.end(errUpstreamGone)
}

// sayEnded tells the developer how the server ended and what it last printed,
// in the client's log and in the guard's, without the secrets that a server
// may print.
func (s *session) sayEnded(end error) {
	how := fmt.Sprintf("server %q has ended", s.cfg.Session.Server)
	var exit *upstream.ExitError
	if errors.As(end, &exit) {
		text, _ := json.Marshal(exit.Error()) // text always encodes
		clean, _, err := s.cfg.Redactor.JSON(text)
		if err != nil || json.Unmarshal(clean, &how) != nil {
			// fail closed: unsearched text may hold secrets
			how = fmt.Sprintf("server %q has ended", s.cfg.Session.Server)
		}
	}
	s.cfg.Log.Warn("the server ended", "session", s.cfg.Session.ID, "server", s.cfg.Session.Server, "how", how)
	s.notice("the %s", how)
}
