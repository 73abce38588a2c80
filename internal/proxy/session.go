package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/upstream"
)

// session is one session while it is served.
type session struct {
	cfg  Config
	conn upstream.Conn
	ctx  context.Context // ends what the session holds; the cause is errSessionEnded or errUpstreamGone
	end  context.CancelCauseFunc

	reads    context.Context // ends reads, a little later
	endReads context.CancelCauseFunc

	halted chan struct{} // closed when a pause ends the server

	over chan struct{} // closed when all that the upstream has sent was delivered

	out *outbox // towards the client

	mu     sync.Mutex
	flight inflight // only through update

	defs tools // what the upstream listed

	who     sync.Mutex
	origin  guard.Origin // with the client's own labels, once known
	version string       // the server's version, as the server reports it
	opening opening
	lasting lasting

	leaving  atomic.Bool // another daemon may go on with the session
	rest     handover    // of the client's reader; read after that has ended
	reopened bool        // a kept session was continued; read after that too

	followers followers

	calls    sync.WaitGroup // of requests that are followed
	settling sync.WaitGroup // goroutines that wait for late outcomes
}

// Serve runs one session until the client or the upstream ends it, or ctx
// does. When it returns, everything that the session held is recorded, its
// upstream is stopped and its client closed. The error says why the session
// could not be served; after an ordinary end it is nil.
func Serve(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	s := &session{cfg: cfg, origin: cfg.Session.Origin}
	s.out = newOutbox(cfg.Client, clientPatience, s.stalled)
	defer s.hangUp()
	s.flight = inflight{
		client: map[jsonrpc.ID]*request{}, server: map[jsonrpc.ID]string{}, own: map[jsonrpc.ID]chan answer{},
		tokens: map[jsonrpc.ID]*request{}, tasks: map[string]openTask{},
	}
	s.followers.next, s.over, s.halted = make(chan func()), make(chan struct{}), make(chan struct{})
	s.ctx, s.end = context.WithCancelCause(context.WithoutCancel(ctx))
	defer s.end(errSessionEnded)
	s.reads, s.endReads = context.WithCancelCause(context.WithoutCancel(ctx))
	defer s.endReads(errSessionEnded)

	if d := s.startable(); d.Verdict != guard.Allow {
		return s.notStarted(ctx, denied(d))
	}
	starting, started := s.beforeLeave(ctx)
	defer started()
	conn, err := cfg.Upstream(starting)
	if err != nil && context.Cause(starting) == errLeaving {
		cfg.Left(cfg.notBegun())
		return nil
	}
	if err != nil {
		return s.notStarted(ctx, err)
	}
	s.conn = conn

	s.settling.Add(1)
	go func() { // ends with the session, when close begins
		defer s.settling.Done()
		s.watchPolicy()
	}()
	clientGone := make(chan struct{})
	go func() { // ends with the client's stream, which Serve closes
		defer close(clientGone)
		switch err := s.reopen(ctx); {
		case err != nil && s.leaves():
			return // the next daemon goes on with it
		case err != nil:
			s.notice("the session could not go on with a new process of the server %q: %v; connect again", cfg.Session.Server, err)
			return
		}
		s.reopened = true
		s.readClient()
	}()
	upstreamGone := make(chan struct{})
	go func() { // ends with the upstream's stream, which close stops
		defer close(upstreamGone)
		s.readUpstream()
	}()
	select {
	case <-ctx.Done():
	case <-clientGone:
		s.leaving.Store(s.leaves()) // repeating the handshake may have ended because of that
	case <-upstreamGone:
	case <-cfg.Leave:
		s.stopForNext(clientGone)
	case <-s.halted:
		s.notice("the server %q was paused and has ended; connect again once it is resumed", cfg.Session.Server)
	}
	s.close(ctx, upstreamGone)
	<-clientGone
	if s.leaving.Load() {
		if b, ok := s.handback(); ok {
			cfg.Left(b)
		}
	}
	return nil
}

// close ends the session in an order that loses nothing: calls that wait for a
// human are cancelled, reads get a moment and executions longer, the upstream
// is stopped, and what it left open is read back.
func (s *session) close(ctx context.Context, upstreamGone <-chan struct{}) {
	idle := make(chan struct{})
	s.update(func(in *inflight) { in.closing, in.idle = true, idle })
	durable, cancel := durably(ctx)
	if err := s.cfg.Approvals.EndSession(durable, s.cfg.Session.ID); err != nil {
		s.cfg.Log.Error("cancelling what the session held", "session", s.cfg.Session.ID, "err", err)
	}
	cancel()
	s.end(errSessionEnded)

	select {
	case <-s.halted: // nothing that must be finished runs, so do not wait for the rest
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		if err := s.conn.Stop(stop); err != nil {
			s.cfg.Log.Error("stopping a paused server", "session", s.cfg.Session.ID, "server", s.cfg.Session.Server, "err", err)
		}
		cancel()
	default:
	}
	done := make(chan struct{})
	go func() { // ends once no call is followed any more, which the stop below brings about
		s.calls.Wait()
		close(done)
	}()
	moment, grace := time.NewTimer(readGrace), time.NewTimer(s.cfg.Grace)
	defer moment.Stop()
	defer grace.Stop()
	for waiting := done; idle != nil || waiting != nil; {
		select {
		case <-idle:
			idle = nil
		case <-waiting:
			waiting = nil
		case <-moment.C:
			idle = nil
			s.endReads(errSessionEnded)
		case <-grace.C:
			waiting, idle = nil, nil
		}
	}
	s.hangUp()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := s.conn.Stop(stop); err != nil {
		s.cfg.Log.Error("stopping the server", "session", s.cfg.Session.ID, "server", s.cfg.Session.Server, "err", err)
	}
	<-upstreamGone
	<-done
	s.settling.Wait()
}

// hangUp gives the client a moment to read what is queued and closes its
// stream. Nothing is written afterwards.
func (s *session) hangUp() {
	s.out.close()
	moment := time.NewTimer(readGrace)
	defer moment.Stop()
	select {
	case <-s.out.done:
	case <-moment.C:
	}
	s.cfg.Client.Close()
	<-s.out.done
	if err := s.out.failure(); err != nil {
		s.cfg.Log.Debug("writing to the client", "session", s.cfg.Session.ID, "err", err)
	}
}

// stalled ends the session of a client that does not read by closing its
// stream, so that what the session holds is freed.
func (s *session) stalled() {
	s.cfg.Log.Warn("the client does not read what it is sent, so its session ends", "waited", clientPatience.String())
	s.cfg.Client.Close()
}

// startable asks the policy whether the server may be started for the session.
func (s *session) startable() guard.Decision {
	server, ok := s.cfg.Policy().Server(s.cfg.Session.Server)
	if !ok {
		// fail closed: a server that the policy does not name is not started
		return guard.Decision{Rule: guard.RuleNotListed, Reason: "the policy does not name this server"}
	}
	return server.Starts(s.cfg.Session, s.cfg.Store.Switches())
}

// notStarted answers the client's first request in place of the upstream.
func (s *session) notStarted(ctx context.Context, cause error) error {
	server := s.cfg.Session.Server
	answer := fmt.Sprintf("mcpguard could not start the server %q. Ask the user to look at this client's MCP log, or to run: mcpguardd status", server)
	var no *refusal
	if errors.As(cause, &no) {
		s.stopped(jsonrpc.FromClient, "initialize", guard.Decision{Verdict: guard.Deny, Rule: no.reply.Rule, Reason: no.reply.Reason})
		answer = fmt.Sprintf("mcpguard did not start the server %q: %s", server, no.reply.Reason)
		if no.reply.Repair != "" {
			answer += ". You can " + no.reply.Repair
		}
	}
	s.notice("the server %q could not be started: %v", server, cause)
	ctx, end := s.beforeLeave(ctx)
	defer end()
	stop := context.AfterFunc(ctx, func() { s.cfg.Client.Close() })
	defer stop()
	r := jsonrpc.NewReader(s.clientStream(), s.cfg.Limits)
	for {
		frame, err := r.Next()
		var over *jsonrpc.FrameError
		if errors.As(err, &over) {
			continue
		}
		if err != nil {
			break
		}
		if m, err := jsonrpc.Admit(frame, s.cfg.Limits); err == nil && m.Kind == jsonrpc.Request {
			s.toClient(jsonrpc.ErrorReply(m.ID, jsonrpc.CodeInternalError, answer, nil))
			break
		}
	}
	return fmt.Errorf("starting the server %q: %w", server, cause)
}

// notice shows the developer one line. The text may come from anywhere.
func (s *session) notice(format string, args ...any) {
	s.cfg.Notice(safetext.Text(fmt.Sprintf(format, args...)).String())
}

// toClient sends one frame. If the client is gone, its reader notices that.
func (s *session) toClient(frame []byte) { s.out.put(frame) }

// toUpstream writes one frame. An error means that the upstream is gone or
// does not read. If it is gone, its reader ends the session.
func (s *session) toUpstream(frame []byte) error { return s.conn.Write(frame) }

// requester returns what the client says about itself, added to what the
// daemon saw.
func (s *session) requester() guard.Origin {
	s.who.Lock()
	defer s.who.Unlock()
	return s.origin
}

// identify takes the client's name and version from the first message that has
// them: initialize, or any request of the modern era. They are labels only.
func (s *session) identify(m *jsonrpc.Message) {
	s.who.Lock()
	known := s.origin.Client != ""
	s.who.Unlock()
	if known {
		return
	}
	info, ok := jsonrpc.Lookup(m.Raw, m.Params, "_meta", metaClientInfo)
	if !ok {
		if m.Method != "initialize" {
			return
		}
		if info, ok = m.Param("clientInfo"); !ok {
			return
		}
	}
	name, version := textAt(m.Raw, info, "name"), textAt(m.Raw, info, "version")
	if name == "" {
		return
	}
	if name == audit.Own {
		name += " (a client)" // its calls are not the guard's own
	}
	s.who.Lock()
	s.origin.Client, s.origin.Version = name, version
	s.who.Unlock()
	s.cfg.Identified(name, version)
}

// maxLabel limits what is kept of a name that the other side chose.
const maxLabel = 200

func textAt(raw []byte, obj jsonrpc.Span, name string) string {
	at, ok := jsonrpc.Member(raw, obj, name)
	if !ok {
		return ""
	}
	v, ok := jsonrpc.String(raw, at)
	if !ok || len(v) > maxLabel {
		return ""
	}
	return v
}

// serverInfo takes the server's version from its answer to initialize or
// server/discover.
func (s *session) serverInfo(m *jsonrpc.Message) {
	info, ok := jsonrpc.Member(m.Raw, m.Result, "serverInfo")
	if !ok {
		if info, ok = jsonrpc.Lookup(m.Raw, m.Result, "_meta", metaServerInfo); !ok {
			return
		}
	}
	version := textAt(m.Raw, info, "version")
	s.who.Lock()
	s.version = version
	s.who.Unlock()
	s.cfg.ServerInfo(textAt(m.Raw, info, "name"), version)
}

func (s *session) serverVersion() string {
	s.who.Lock()
	defer s.who.Unlock()
	return s.version
}

// Members of _meta in each request of the modern era.
const (
	metaProtocolVersion = "io.modelcontextprotocol/protocolVersion"
	metaClientInfo      = "io.modelcontextprotocol/clientInfo"
	metaServerInfo      = "io.modelcontextprotocol/serverInfo"
	metaSubscription    = "io.modelcontextprotocol/subscriptionId"
	metaToolUse         = "claudecode/toolUseId"
)

// modern reports whether a request is of the era without initialize.
func modern(m *jsonrpc.Message) bool {
	_, ok := jsonrpc.Lookup(m.Raw, m.Params, "_meta", metaProtocolVersion)
	return ok
}

// durably returns a context with its own deadline: what happened is recorded
// even if no one waits for it any more.
func durably(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
}

// stopped records a frame that could not be admitted, or a message that the
// policy on its method stopped.
func (s *session) stopped(side jsonrpc.Side, method string, d guard.Decision) {
	if len(method) > maxLabel {
		method = strings.ToValidUTF8(method[:maxLabel], "") + "…"
	}
	e := s.event(audit.ToolCallDenied)
	e.Tool = audit.Tool{Server: s.cfg.Session.Server, Name: method, Version: s.serverVersion()}
	e.Verdict, e.Rule, e.Reason = d.Verdict.String(), d.Rule, d.Reason
	if side == jsonrpc.FromServer {
		e.Reason = "sent by the server: " + d.Reason
	}
	s.cfg.Store.RecordAsync(e)
}

// rawJSON encodes a value of the guard's own.
func rawJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage("null")
	}
	return b
}
