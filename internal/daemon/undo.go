package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
	"github.com/mcpguard/mcpguard/internal/onboard"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/proxy"
	"github.com/mcpguard/mcpguard/internal/redact"
	"github.com/mcpguard/mcpguard/internal/store"
	"github.com/mcpguard/mcpguard/internal/upstream"
	"github.com/mcpguard/mcpguard/internal/workspace"
)

// undoClient is the client name of the developer's own sessions; undoName is
// the server of those that restore files: the built-in one, with its own
// policy.
const (
	undoName   = "undo"
	undoClient = "approve undo"
)

// undoStart is how long an undo may take to reach its approval.
const undoStart = 20 * time.Second

// Undo implements localapi.Live. It proposes the inverse of an executed change
// as a call in a session of the developer's own, which is handled like every
// call and always waits for its own approval. The built-in server undoes
// changes to files; changes to a record are undone by its own server. The
// returned id is that of the new approval, or of the one that already waits
// for the same change. The error is an *effect.Refusal if the change cannot be
// undone.
func (l live) Undo(ctx context.Context, id guard.ApprovalID, by guard.Approver) (guard.ApprovalID, error) {
	d := l.daemon
	a, err := d.store.Approval(id)
	if err != nil {
		return "", err
	}
	d.undoing.Lock() // two concurrent undos must not both propose
	defer d.undoing.Unlock()
	open, err := d.store.Open()
	if err != nil {
		return "", err
	}
	for _, o := range open {
		if o.Undoes == id {
			return o.ID, nil
		}
	}
	u := &undo{
		daemon: d, of: a, refused: make(chan string, 1),
		session: guard.Session{
			ID: guard.NewSessionID(), RunID: guard.NewRunID(), Tenant: a.Tenant, Environment: a.Environment, Workflow: a.Workflow,
			OpenedAt: d.now(),
			Origin:   guard.Origin{Client: undoClient, Version: d.cfg.Version, PID: by.PID, Executable: by.Executable, User: by.User},
		},
	}
	if effect.ChangesRecord(a) {
		err = u.ofRecord()
	} else {
		err = u.ofFiles(ctx)
	}
	if err != nil {
		return "", err
	}
	changes := d.store.Watch()
	defer changes.Close()
	if err := d.store.OpenSession(ctx, u.session, audit.ForSession(audit.SessionOpened, u.session, d.now())); err != nil {
		return "", fmt.Errorf("recording the session that undoes %s: %w", id, err)
	}
	d.serving.Go(u.run) // ends with the call's answer, or with the daemon
	return u.waits(ctx, changes)
}

// undo is a session of the developer's own with one call that changes
// something.
type undo struct {
	*daemon
	of      guard.Approval
	session guard.Session
	config  proxy.Config // of the session: its server, policy and folders
	// inverse returns the call that undoes the change. It may read through the
	// server of the session.
	inverse func(ctx context.Context, reader effect.Reader) (effect.Inverse, error)
	refused chan string // an answer that came without an approval
}

// ofFiles prepares a session with the built-in server.
func (u *undo) ofFiles(ctx context.Context) error {
	in, err := effect.InverseOf(ctx, u.of)
	if err != nil {
		return err
	}
	set, err := undoPolicy(ctx, u.of, in.Roots, u.cfg.Version, u.now())
	if err != nil {
		return fmt.Errorf("preparing to undo %s: %w", u.of.ID, err)
	}
	u.session.Profile, u.session.Server, u.session.Origin.Folder = undoName, undoName, in.Roots[0]
	u.inverse = func(context.Context, effect.Reader) (effect.Inverse, error) { return in, nil }
	own := u.commandsOf(u.session, in.Roots, 0)
	u.config = proxy.Config{
		Upstream: func(context.Context) (upstream.Conn, error) {
			return workspace.Open(workspace.Config{Roots: in.Roots, Version: u.cfg.Version, Commands: own.orNil(), Own: true})
		},
		Commands: own.effects(),
		Policy:   func() *policy.Set { return set }, Roots: in.Roots, Note: in.Note,
	}
	return nil
}

// ofRecord prepares a session with the server of the change itself, in the
// folder of the client that made it, under the policy in force.
func (u *undo) ofRecord() error {
	const byHand = "take it back by hand"
	no := func(format string, args ...any) error {
		return &effect.Refusal{Rule: guard.RulePreviewFailed, Reason: fmt.Sprintf(format, args...), Repair: byHand}
	}
	set, folder := u.policy.Load(), u.of.RequestedBy.Folder
	server, ok := set.Server(u.of.Server)
	if !ok || u.of.Server == config.NativeServer {
		return no("the server %q is not configured any more", u.of.Server)
	}
	profile, ok := set.ProfileFor(folder)
	if !ok || profile.Tenant != u.of.Tenant || profile.Environment != u.of.Environment {
		// fail closed: the undo would apply to another tenant, or elsewhere
		return no("the folder %s does not belong to the tenant and environment of the change any more", folder)
	}
	roots, err := Workspaces(server.Config, folder)
	if err != nil {
		return no("%v", err)
	}
	u.session.Profile, u.session.Server, u.session.Origin.Folder = profile.Name, u.of.Server, folder
	s := &session{Session: u.session, server: server, folder: folder, roots: roots}
	u.config = proxy.Config{
		Upstream: func(ctx context.Context) (upstream.Conn, error) { return u.startUpstream(ctx, s, folder) },
		Policy:   func() *policy.Set { return s.policy(u.daemon.policy.Load()) },
		Roots:    roots, ServerRoots: FolderArgs(server.Config), Home: u.home(server.Config),
	}
	u.inverse = func(ctx context.Context, reader effect.Reader) (effect.Inverse, error) {
		before, now, err := effect.RecordBefore(ctx, reader, u.of)
		if err != nil {
			return effect.Inverse{}, err
		}
		server, ok := u.config.Policy().Server(u.of.Server)
		if !ok {
			return effect.Inverse{}, no("the server %q is not configured any more", u.of.Server)
		}
		tool, ok := server.Tool(u.of.Tool)
		if !ok {
			return effect.Inverse{}, no("the policy does not name %s any more", u.of.Tool)
		}
		in := effect.Inverse{Tool: u.of.Tool}
		name, args, err := tool.Undo(u.session, u.of.Args, before)
		switch {
		case errors.Is(err, policy.ErrNoUndo):
			return in, no("%v", err)
		case err != nil:
			return in, no("its way back cannot be computed: %v", err)
		case name != "":
			in.Tool, in.Args = name, args
			return in, nil
		}
		in.Args, err = tool.Binding.InverseArgs(u.of, before, now)
		return in, err
	}
	return nil
}

// undoPolicy returns the policy of the built-in server in such a session: its
// preset for the tenant and environment of the change, with the definitions of
// this program.
func undoPolicy(ctx context.Context, a guard.Approval, roots []string, version string, now time.Time) (*policy.Set, error) {
	text, err := json.Marshal(map[string]any{ // JSON is YAML, too
		"version":  1,
		"profiles": map[string]any{undoName: map[string]any{"roots": roots, "tenant": a.Tenant, "environment": a.Environment, "workflow": a.Workflow}},
		"hold":     map[string]any{"clients": map[string]string{undoClient: "wait"}},
		"servers": map[string]any{undoName: map[string]any{
			"builtin": "workspace", "preset": "workspace", "workspaces": roots,
			"tenants": []string{a.Tenant}, "environments": []string{a.Environment},
			"tools": map[string]any{effect.UndoCommand: map[string]any{"tier": "T1_REVERSIBLE_WRITE", "effect": map[string]any{effect.ExecUndo: map[string]string{"record": "args.record"}}}},
		}},
	})
	if err != nil {
		return nil, err
	}
	cfg, err := config.Parse("undo.yaml", text)
	if err != nil {
		return nil, err
	}
	conn, err := workspace.Open(workspace.Config{Roots: roots, Version: version, Own: true})
	if err != nil {
		return nil, err
	}
	listing, err := onboard.Probe(ctx, conn)
	if err = errors.Join(err, conn.Stop(ctx)); err != nil {
		return nil, err
	}
	lock := new(config.Lock)
	if err := onboard.Accept(lock, undoName, listing.Tools, undoName, now); err != nil {
		return nil, err
	}
	return policy.Compile(cfg, lock)
}

// run serves the session until its call is answered or the daemon ends.
func (u *undo) run() {
	ctx, cancel := context.WithCancel(u.base)
	defer cancel()
	toGuard, fromUs := io.Pipe()
	toUs, fromGuard := io.Pipe()
	done := make(chan struct{})
	go func() { // ends with the answer, or when Serve has closed its end
		defer close(done)
		defer cancel()
		defer fromUs.Close()
		u.speak(ctx, &rpcClient{w: fromUs, lines: bufio.NewReader(toUs)})
	}()
	c := u.config
	c.Session, c.Client, c.Undoes = u.session, pipeEnds{toGuard, fromGuard}, u.of.ID
	c.Store, c.Approvals, c.Locks, c.Meter, c.Redactor, c.Clock = u.store, u.approvals, u.locks, u.meter, u.secrets, u.clock
	c.Log = u.log.With("session", u.session.ID, "server", u.session.Server)
	err := proxy.Serve(ctx, c)
	_ = toUs.Close()
	<-done
	if err != nil && u.base.Err() == nil {
		u.log.Warn("an undo ended", "undoes", u.of.ID, "error", err)
		u.refuse("the server did not start: " + err.Error())
	}
	end, cancelEnd := context.WithTimeout(context.WithoutCancel(u.base), 10*time.Second)
	defer cancelEnd()
	if err := u.store.CloseSession(end, u.session.ID, u.now(), audit.ForSession(audit.SessionClosed, u.session, u.now())); err != nil {
		u.log.Error("recording the end of an undo", "session", u.session.ID, "error", err)
	}
}

// refuse keeps the first reason why no approval came.
func (u *undo) refuse(why string) {
	select {
	case u.refused <- why:
	default:
	}
}

// pipeEnds is the guard's side of the session.
type pipeEnds struct {
	*io.PipeReader
	w *io.PipeWriter
}

func (p pipeEnds) Write(b []byte) (int, error) { return p.w.Write(b) }
func (p pipeEnds) Close() error                { return errors.Join(p.PipeReader.Close(), p.w.Close()) }

// speak is the client's side: it initializes the session, determines the call
// that undoes the change, makes it and reads up to its answer.
func (u *undo) speak(ctx context.Context, s *rpcClient) {
	if _, err := s.ask("initialize", map[string]any{
		"protocolVersion": "2025-11-25", "capabilities": struct{}{}, "clientInfo": map[string]string{"name": undoClient, "version": u.cfg.Version},
	}); err != nil {
		return
	}
	if err := s.say(map[string]any{"jsonrpc": "2.0", "method": "notifications/initialized"}); err != nil {
		return
	}
	in, err := u.inverse(ctx, s)
	if err != nil {
		var no *effect.Refusal
		if !errors.As(err, &no) {
			u.log.Warn("an undo was not computed", "undoes", u.of.ID, "error", err)
			no = &effect.Refusal{Reason: "its way back could not be computed"}
		}
		u.refuse(no.Reason)
		return
	}
	line, err := s.ask("tools/call", map[string]any{"name": in.Tool, "arguments": in.Args})
	if err != nil {
		return
	}
	u.refuse("the way back is refused: " + sentenceOf(line))
}

// rpcClient is a client that makes one request at a time.
type rpcClient struct {
	w     io.Writer
	lines *bufio.Reader
	id    int
}

func (s *rpcClient) say(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = s.w.Write(append(data, '\n'))
	return err
}

// ask returns the response to a request and skips the frames before it.
func (s *rpcClient) ask(method string, params any) ([]byte, error) {
	s.id++
	if err := s.say(map[string]any{"jsonrpc": "2.0", "id": s.id, "method": method, "params": params}); err != nil {
		return nil, err
	}
	for {
		line, err := s.lines.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		var head struct {
			ID     int    `json:"id"`
			Method string `json:"method"`
		}
		if jsonvalue.DecodeKnown(line, &head) == nil && head.ID == s.id && head.Method == "" {
			return line, nil
		}
	}
}

// ReadTool implements effect.Reader by an ordinary call, which is checked by
// the policy and recorded.
func (s *rpcClient) ReadTool(_ context.Context, tool string, args []byte) ([]byte, error) {
	no := func(why string) error {
		return &effect.Refusal{Rule: guard.RulePreviewFailed, Reason: "the record could not be read with " + tool + ": " + why, Repair: "take it back by hand"}
	}
	line, err := s.ask("tools/call", map[string]any{"name": tool, "arguments": json.RawMessage(args)})
	if err != nil {
		return nil, no("the server has ended")
	}
	var frame struct {
		Result json.RawMessage `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	var result struct {
		IsError bool `json:"isError"`
	}
	switch {
	case jsonvalue.DecodeKnown(line, &frame) != nil, frame.Error != nil, jsonvalue.DecodeKnown(frame.Result, &result) != nil, result.IsError:
		return nil, no(sentenceOf(line))
	case redact.ContainsMarker(frame.Result):
		// fail closed: the redacted part is not known here and must not be
		// written
		return nil, no("it holds a secret, which the guard takes out of what it reads")
	}
	return frame.Result, nil
}

// sentenceOf returns the reason given in the answer to a refused call.
func sentenceOf(line []byte) string {
	var frame struct {
		Error  struct{ Message string }
		Result struct {
			Content []struct{ Text string }
		}
	}
	if err := json.Unmarshal(line, &frame); err != nil {
		return ""
	}
	if frame.Error.Message != "" || len(frame.Result.Content) == 0 {
		return frame.Error.Message
	}
	var word struct{ Reason string }
	text := frame.Result.Content[0].Text
	if json.Unmarshal([]byte(text), &word) == nil && word.Reason != "" {
		return word.Reason
	}
	return text
}

// waits returns the approval that the call waits for.
func (u *undo) waits(ctx context.Context, changes *store.Watcher) (guard.ApprovalID, error) {
	ctx, cancel := context.WithTimeout(ctx, undoStart)
	defer cancel()
	found := make(chan guard.ApprovalID, 1)
	go func() { // ends with ctx, or when the approval is there
		for {
			list, err := u.store.Approvals(store.Filter{Run: u.session.RunID})
			if err == nil && len(list) > 0 {
				found <- list[0].ID
				return
			}
			if _, err := changes.Next(ctx); err != nil {
				return
			}
		}
	}()
	select {
	case id := <-found:
		return id, nil
	case why := <-u.refused:
		select {
		case id := <-found: // it was already decided
			return id, nil
		default:
		}
		return "", &effect.Refusal{Rule: guard.RulePreviewFailed, Reason: why, Repair: "take it back by hand"}
	case <-ctx.Done():
		return "", fmt.Errorf("undoing %s: no approval came to wait: %w", u.of.ID, ctx.Err())
	}
}
